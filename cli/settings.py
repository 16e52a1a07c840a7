"""From flags and a TOML file to the configuration of a run: defaults < file < flags."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embedstore.config import IngestConfig, ReadingConfig, RunConfig, TilingConfig, TissueConfig
from embedstore.errors import ConfigError

if TYPE_CHECKING:
    from actors.crew import Where
    from actors.ingest import Plan

_STAGES = {"tiling": TilingConfig, "tissue": TissueConfig, "reading": ReadingConfig, "run": RunConfig}
#: Flags that set a field of a stage, where its name is not the field's.
_FLAGS = {
    "tiling": {"tile_px": "tile_px", "tile_mpp": "mpp", "stride_px": "stride_px", "min_tissue": "min_tissue"},
    "tissue": {"tissue_method": "method"},
    "reading": {"reader": "reader", "max_unreadable": "max_unreadable"},
    "run": {"readers": "readers", "extractor_workers": "extractors", "batch_tiles": "batch_tiles"},
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is told."""

    plans: "list[Plan]"
    ingest: IngestConfig
    run: RunConfig
    where: "Where"


def resolve(options: Mapping[str, Any]) -> Settings:
    """Merge flags over the TOML file over defaults.

    Raises:
        ConfigError: the file has a table or field that does not exist, or a value that cannot be.
    """
    from actors.crew import Where
    from actors.ingest import plan_collections

    stages = _stages(options)
    tiling = stages.pop("tiling")
    run = RunConfig(**stages.pop("run"))
    ingest = IngestConfig(tissue=TissueConfig(**stages["tissue"]), reading=ReadingConfig(**stages["reading"]))
    plans = plan_collections(_extractors(options), tiling, options["collections"])
    where = Where(in_process=options["in_process"], address=options["address"], device=options["device"])
    return Settings(plans=plans, ingest=ingest, run=run, where=where)


def _stages(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    stages: dict[str, dict[str, Any]] = {name: {} for name in _STAGES}
    path = options.get("config_file")
    if path:
        try:
            given = tomllib.loads(Path(path).read_text())
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path} is not TOML: {error}") from error
        for stage, values in given.items():
            known = sorted(field.name for field in fields(_STAGES[stage])) if stage in _STAGES else []
            unknown = sorted(set(values) - set(known)) if isinstance(values, dict) else [str(values)]
            if unknown or not known:
                expected = (
                    f"in [{stage}] the fields {', '.join(known)}" if known else f"the tables {', '.join(_STAGES)}"
                )
                raise ConfigError(
                    f"{path}: [{stage}] has {', '.join(unknown)}, which mean nothing; expected {expected}"
                )
            stages[stage] |= values
    for stage, flags in _FLAGS.items():
        stages[stage] |= {field: options[flag] for flag, field in flags.items() if options.get(flag) is not None}
    return stages


def _extractors(options: Mapping[str, Any]) -> list[Any]:
    from embedstore.extractors import ExtractorConfig

    refs, weights = options["extractors"], options["weights"]
    if weights and len(weights) != len(refs):
        raise click.UsageError(f"{len(weights)} --weights for {len(refs)} --extractor; give one each, '-' for none")
    arguments = dict(_argument(text) for text in options["arch_args"])
    mean, std = (_rgb(options[name], name) if options[name] else None for name in ("mean", "std"))
    return [
        ExtractorConfig(
            ref=ref,
            weights=None if not weights or weights[i] == "-" else weights[i],
            arch_args=arguments,
            mean=mean,
            std=std,
        )
        for i, ref in enumerate(refs)
    ]


def _argument(text: str) -> tuple[str, Any]:
    import ast

    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--arch-arg {text!r}: expected NAME=VALUE, such as pad_type=same")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _rgb(text: str, name: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.split(","))
        return red, green, blue
    except ValueError as error:
        raise click.UsageError(f"--{name} {text!r}: expected three numbers, such as 0.5,0.5,0.5") from error
