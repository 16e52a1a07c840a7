"""From flags and a TOML file to the configuration of a fit: defaults < file < flags."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from cli.tables import merged, split_and_join
from embedstore.toml_tables import fields_of, read_tables

if TYPE_CHECKING:
    from heads.config import AugmentConfig, FitConfig

_FIT = (
    "model", "level", "multi_label", "positive", "optimizer", "learning_rates", "weight_decays", "c", "seeds", "seed",
    "steps", "batch", "patience", "metric", "class_weights", "balanced_sampling", "focal", "hidden",
    "augmenter",
)  # fmt: skip


def resolve_fit(
    options: Mapping[str, Any], search: "Callable[[str, str | None], tuple[AugmentConfig, ...]]" = lambda *_: ()
) -> "FitConfig":
    """Merge flags over the TOML file over defaults.

    The file has the tables [fit], [split], [join] and [augment], with the fields of the configuration of that name;
    [[augment]] several times makes several policies.

    Args:
        search: Gives the policies that `--augment search` stands for, of a model and the augmenter that was named.

    Raises:
        ConfigError: the file has a table or field that does not exist, or a value that cannot be.
    """
    from embedstore.config import JoinConfig
    from heads.config import TILE_MODELS, AugmentConfig, FitConfig, SplitConfig

    kinds = {"fit": FitConfig, "split": SplitConfig, "join": JoinConfig, "augment": AugmentConfig}
    tables = read_tables(options.get("config_file"), fields_of(kinds), repeated=["augment"])
    fit = merged(tables["fit"], options, {name: name for name in _FIT})
    if options.get("classes"):
        fit["classes"] = tuple(part.strip() for part in options["classes"].split(","))
    if options.get("no_calibrate"):
        fit["calibrate"] = False
    model = fit.get("model", FitConfig.model)
    policies = tuple(AugmentConfig(**table) for table in tables["augment"])
    if options.get("augment"):
        found = partial(search, model, fit.get("augmenter"))
        policies = tuple(one for text in options["augment"] for one in _policies(text, AugmentConfig, found))
    fit.setdefault("level", "tile" if model in TILE_MODELS else "slide")
    split, join = split_and_join(tables, options)
    return FitConfig(**fit, split=split, join=join, augment=tuple(dict.fromkeys(policies)) or None)


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
