"""Settings of Python calls: an object of a configuration class, or its fields by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_type_hints

from embedstore.errors import ConfigError

Config = TypeVar("Config")


def build_config(kind: type[Config], value: Config | Mapping[str, Any] | None, **fields: Any) -> Config:
    """A configuration from an object or a mapping of its fields, and further fields that win over it.

    A field that is a configuration itself, such as `split` of a fit, may be a mapping of its fields too.

    Raises:
        ConfigError: a field does not exist, or the configuration refuses a value.
    """
    if value is not None and not isinstance(value, kind | Mapping):
        raise ConfigError(f"expected a {kind.__name__} or a dictionary of its fields, found a {type(value).__name__}")
    given = {**(value if isinstance(value, Mapping) else {}), **fields}
    types = get_type_hints(kind)
    for name, setting in given.items():
        if name not in types:
            raise ConfigError(f"{kind.__name__} has no setting {name!r}; it has {', '.join(types)}")
        if isinstance(setting, Mapping) and (nested := _configuration(types[name])) is not None:
            given[name] = build_config(nested, setting)
    if value is None or isinstance(value, Mapping):
        return kind(**given)
    return dataclasses.replace(value, **given) if given else value  # type: ignore[type-var]


def _configuration(annotation: Any) -> type | None:
    """The configuration class of a field's type, None where it has none."""
    candidates = (annotation, *get_args(annotation))
    return next((each for each in candidates if isinstance(each, type) and dataclasses.is_dataclass(each)), None)
