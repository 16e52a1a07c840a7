"""From flags and a TOML file to the configuration of a fit: defaults < file < flags."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embedstore.errors import ConfigError

if TYPE_CHECKING:
    from heads.config import AugmentConfig, FitConfig

#: Flags that set a field of the split or the join, where its name is not the field's.
_SPLIT = {"split": "kind", "folds": "folds", "split_column": "column", "split_file": "file", "group_by": "group_by"}
_JOIN = {"rule": "rule", "min_overlap": "min_overlap"}
_FIT = (
    "model", "level", "multi_label", "positive", "optimizer", "learning_rates", "weight_decays", "c", "seeds", "seed",
    "steps", "batch", "patience", "metric", "class_weights", "balanced_sampling", "focal", "hidden",
    "augmenter",
)  # fmt: skip


def resolve_fit(
    options: Mapping[str, Any], search: "Callable[[], tuple[AugmentConfig, ...]]" = lambda: ()
) -> "FitConfig":
    """Merge flags over the TOML file over defaults.

    The file has the tables [fit], [split], [join] and [augment], with the fields of the configuration of that name;
    [[augment]] several times makes several policies.

    Args:
        search: Gives the policies that `--augment search` stands for.

    Raises:
        ConfigError: the file has a table or field that does not exist, or a value that cannot be.
    """
    from embedstore.config import JoinConfig
    from heads.config import TILE_MODELS, AugmentConfig, FitConfig, SplitConfig

    kinds = {"fit": FitConfig, "split": SplitConfig, "join": JoinConfig, "augment": AugmentConfig}
    given = _read(options["config_file"], kinds) if options.get("config_file") else {}
    fit, split, join = ({**given.get(name, {})} for name in ("fit", "split", "join"))
    augment = given.get("augment", {})
    fit |= {name: options[name] for name in _FIT if options.get(name) is not None}
    if options.get("classes"):
        fit["classes"] = tuple(part.strip() for part in options["classes"].split(","))
    if options.get("no_calibrate"):
        fit["calibrate"] = False
    split |= {field: options[flag] for flag, field in _SPLIT.items() if options.get(flag) is not None}
    if "kind" not in split:
        split |= {"kind": "column"} if "column" in split else {"kind": "file"} if "file" in split else {}
    join |= {field: options[flag] for flag, field in _JOIN.items() if options.get(flag) is not None}
    policies = tuple(AugmentConfig(**one) for one in (augment if isinstance(augment, tuple) else (augment,)))
    if options.get("augment"):
        policies = tuple(one for text in options["augment"] for one in _policies(text, AugmentConfig, search))
    model = fit.get("model", "linear")
    fit.setdefault("level", "tile" if model in TILE_MODELS else "slide")
    fit |= {"split": SplitConfig(**split), "join": JoinConfig(**join), "augment": tuple(dict.fromkeys(policies))}
    return FitConfig(**fit)


def _read(path: str, kinds: Mapping[str, Any]) -> dict[str, Any]:
    try:
        given = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    read: dict[str, Any] = {}
    for table, values in given.items():
        several = values if table == "augment" and isinstance(values, list) else [values]
        if table not in kinds or not all(isinstance(one, dict) for one in several):
            raise ConfigError(f"{path} has {table!r}; expected the tables {', '.join(kinds)}")
        known = {field.name for field in fields(kinds[table])} - set(kinds)
        unknown = sorted({name for one in several for name in one} - known)
        if unknown:
            raise ConfigError(f"{path}: [{table}] has {', '.join(unknown)}; expected of {', '.join(sorted(known))}")
        made = tuple({name: tuple(v) if isinstance(v, list) else v for name, v in one.items()} for one in several)
        read[table] = made if isinstance(values, list) else made[0]
    return read


def _policies(text: str, config: Any, search: "Callable[[], tuple[AugmentConfig, ...]]") -> "tuple[AugmentConfig, ...]":
    """What one --augment asks for: a policy, or those of a search."""
    if text.strip() == "search":
        return search()
    if text.strip() == "none":
        return (config(),)
    return (config(**dict(_strength(part, config) for part in text.split(","))),)


def _strength(text: str, config: Any) -> tuple[str, float]:
    name, equals, value = text.strip().partition("=")
    known = [field.name for field in fields(config)]
    if not equals or name not in known:
        raise click.UsageError(
            f"--augment {text!r}: expected KIND=STRENGTH with a kind of {', '.join(known)}; or none, search"
        )
    try:
        return name, float(value)
    except ValueError as error:
        raise click.UsageError(f"--augment {text!r}: expected a number after '='") from error
