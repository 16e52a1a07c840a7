"""Settings of Python calls: an object of a configuration class, or its fields by name."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from embedstore.errors import ConfigError
from embedstore.typed_values import guess

Config = TypeVar("Config")


def build_config(kind: type[Config], value: Config | Mapping[str, Any] | None, **fields: Any) -> Config:
    """A configuration from an object or a mapping of its fields; further fields take precedence over it.

    A field that is a configuration itself, such as `split` of a fit, may be a mapping of its fields too, and a field
    of several names may be one name.

    Raises:
        ConfigError: a field does not exist, or the configuration refuses a value.
    """
    if value is not None and not isinstance(value, kind | Mapping):
        raise ConfigError(f"expected a {kind.__name__} or a dictionary of its fields, found a {type(value).__name__}")
    if value is None:
        try:
            return _of_fields(kind, **fields)  # type: ignore[no-any-return,arg-type]
        except TypeError:  # a list or dictionary among them
            pass
    return _built(kind, value, fields)


@functools.lru_cache(maxsize=64, typed=True)
def _of_fields(kind: type, **fields: Any) -> Any:
    """The same of fields alone, made once: a fast search would notice the checks."""
    return _built(kind, None, fields)


def _built(kind: type[Config], value: Config | Mapping[str, Any] | None, fields: Mapping[str, Any]) -> Config:
    given = {**(value if isinstance(value, Mapping) else {}), **fields}
    types = _types(kind)  # type: ignore[arg-type]
    check_settings(kind, given)
    for name, setting in given.items():
        if get_origin(types[name]) is tuple and isinstance(setting, str | list):
            given[name] = as_names(setting)
        if isinstance(setting, Mapping) and (nested := _configuration(types[name])) is not None:
            given[name] = build_config(nested, setting)
    if value is None or isinstance(value, Mapping):
        return kind(**given)
    return dataclasses.replace(value, **given) if given else value  # type: ignore[type-var]


@functools.cache
def _types(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)  # 40 µs, which a fast search would notice


def check_settings(kind: type, names: Iterable[str]) -> None:
    """Check that a configuration class has settings of these names.

    Raises:
        ConfigError: it lacks one.
    """
    known = [field.name for field in dataclasses.fields(kind)]
    for name in names:
        if name not in known:
            hint = guess([name], known)
            raise ConfigError(f"{kind.__name__} has no setting {name!r}; it has {', '.join(known)}{hint}")


def as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names as a tuple; one name may stand alone."""
    return (names,) if isinstance(names, str) else tuple(names)


def _configuration(annotation: Any) -> type | None:
    """The configuration class in a field's annotation; None where there is none."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and dataclasses.is_dataclass(kind)), None)
