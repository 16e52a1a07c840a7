"""Settings of a fit: defaults < TOML file < flags."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal

import click

from cli.flags import Flag, Section, shown_default
from embedstore.config import JoinConfig
from heads.config import MODEL_DEFAULTS, AugmentConfig, FitConfig, SplitConfig


def _by_model(field: str) -> str:
    """The defaults of a field whose default depends on the model."""
    tile, abmil = (shown_default(MODEL_DEFAULTS[kind][field]) for kind in ("tile", "abmil"))
    return f"{tile}; for abmil {abmil}"


FIT = Section(
    "fit",
    FitConfig,
    "model",
    Flag("level", default="tile for linear and mlp, slide for mean, max and abmil, and with --encoder"),
    Flag("encoder", metavar="NAME"),
    "multi_label",
    "classes",
    Flag("positive", metavar="CLASS"),
    "optimizer",
    Flag("learning_rates", "--learning-rate", default=_by_model("learning_rates")),
    Flag("weight_decays", "--weight-decay", default=_by_model("weight_decays")),
    "c",
    "seeds",
    "seed",
    Flag("steps", default=_by_model("steps")),
    Flag("batch", default=_by_model("batch")),
    "patience",
    "metric",
    "class_weights",
    "balanced_sampling",
    "focal",
    "hidden",
    Flag("calibrate", "--no-calibrate", help="Leave probabilities uncalibrated."),
    Flag("augmenter", metavar="NAME"),
)
JOIN = Section("join", JoinConfig, Flag("rule", "--join"), "min_overlap")
SPLIT = Section(
    "split",
    SplitConfig,
    Flag("kind", "--split"),
    "folds",
    Flag("column", "--split-column", metavar="COLUMN"),
    Flag("file", "--split-file", type=click.Path(exists=True, dir_okay=False)),
    Flag("group_by", metavar="COLUMN"),
)
AUGMENT = Section("augment", AugmentConfig)  # a table of the TOML file without flags of its own
AUGMENT_KINDS = [field.name for field in fields(AugmentConfig)]


def resolve_fit(options: Mapping[str, Any]) -> FitConfig:
    """Merge flags over the TOML file over defaults.

    The file has the tables [fit], [split], [join] and [augment]; [[augment]] several times makes several policies.

    Raises:
        ConfigError: the file has an unknown table or field, or a value is not valid.
    """
    from embedstore.api.settings import fit_config
    from embedstore.toml_tables import fields_of, read_tables

    kinds = {section.table: section.config for section in (FIT, SPLIT, JOIN, AUGMENT)}
    tables = read_tables(options.get("config_file"), fields_of(kinds), repeated=["augment"])
    policies = [*map(_policy, options.get("augment") or ())]
    policies = policies or [AUGMENT.build([table], options) for table in tables["augment"]]
    return FIT.build(
        tables["fit"],
        options,
        lambda **settings: fit_config(None, settings),
        split=resolve_split(tables, options),
        join=JOIN.build(tables["join"], options),
        augment=tuple(dict.fromkeys(policies)) or None,
    )


def resolve_split(tables: Mapping[str, Any], options: Mapping[str, Any]) -> SplitConfig:
    """The split of [split] and its flags; a column or a file implies the kind."""

    def make(**split: Any) -> SplitConfig:
        if implied := [kind for kind in ("column", "file") if kind in split]:
            split.setdefault("kind", implied[0])
        return SplitConfig(**split)

    return SPLIT.build(tables["split"], options, make)


def _policy(text: str) -> AugmentConfig | Literal["search"]:
    """The policy of one --augment; a search is resolved where the collection is known."""
    if text.strip() == "search":
        return "search"
    if text.strip() == "none":
        return AugmentConfig()
    return AugmentConfig(**dict(_strength(part, text) for part in text.split(",")))


def _strength(part: str, text: str) -> tuple[str, float]:
    name, equals, value = part.strip().partition("=")
    if not equals or name not in AUGMENT_KINDS:
        raise click.UsageError(
            f"--augment {text!r}: expected KIND=STRENGTH with a kind of {', '.join(AUGMENT_KINDS)}; or none, search"
        )
    try:
        return name, float(value)
    except ValueError as error:
        raise click.UsageError(f"--augment {text!r}: expected a number after '='") from error
