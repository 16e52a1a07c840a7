"""Settings of Python calls: an object of a configuration class, or its fields by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from embedstore.errors import ConfigError

Config = TypeVar("Config")


def build_config(kind: type[Config], value: Config | Mapping[str, Any] | None, **fields: Any) -> Config:
    """A configuration from an object or a mapping of its fields, and further fields that win over it.

    Raises:
        ConfigError: a field does not exist, or the configuration refuses a value.
    """
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    given = dict(value) if isinstance(value, Mapping) else {}
    unknown = [name for name in (*given, *fields) if name not in known]
    if unknown:
        raise ConfigError(f"{kind.__name__} has no setting {unknown[0]!r}; it has {', '.join(known)}")
    if value is None or isinstance(value, Mapping):
        return kind(**{**given, **fields})
    if not isinstance(value, kind):
        raise ConfigError(f"expected a {kind.__name__} or a dictionary of its fields, found a {type(value).__name__}")
    return dataclasses.replace(value, **fields) if fields else value  # type: ignore[type-var]
