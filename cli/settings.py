"""From flags and a TOML file to the configuration of a run: defaults < file < flags."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cli.tables import merged
from embedstore.config import IngestConfig, ReadingConfig, RunConfig, TilingConfig, TissueConfig, ViewConfig
from embedstore.toml_tables import fields_of, read_tables

if TYPE_CHECKING:
    from actors.crew import ExecutionConfig
    from actors.ingest import Plan

DEFAULT_EXTRACTOR = "stain-texture"
_STAGES = {
    "tiling": TilingConfig, "tissue": TissueConfig, "reading": ReadingConfig, "views": ViewConfig, "run": RunConfig,
}  # fmt: skip
#: Flags that set a field of a stage, where its name is not the field's.
_FLAGS = {
    "tiling": {"tile_px": "tile_px", "tile_mpp": "mpp", "stride_px": "stride_px", "min_tissue": "min_tissue"},
    "tissue": {"tissue_method": "method"},
    "reading": {"reader": "reader", "max_unreadable": "max_unreadable"},
    "views": {"views": "count"},
    "run": {"readers": "readers", "extractor_workers": "extractors", "batch_tiles": "batch_tiles"},
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is told."""

    plans: "list[Plan]"
    ingest: IngestConfig
    run: RunConfig
    where: "ExecutionConfig"


def resolve(options: Mapping[str, Any]) -> Settings:
    """Merge flags over the TOML file over defaults.

    The file has the tables [tiling], [tissue], [reading], [views] and [run], with the fields of the configuration of
    that name, and [[extractor]] for each extractor, with the fields of ExtractorConfig and its `collection`. Views are
    made where [views] is there, even empty, unless their count is 0.

    Raises:
        ConfigError: the file has a table or field that does not exist, or a value that cannot be.
    """
    from actors.crew import ExecutionConfig
    from actors.ingest import plan_collections
    from embedstore.extractors.extractor_tables import EXTRACTOR_FIELDS, extractors_from_tables

    path = options.get("config_file")
    tables = read_tables(path, fields_of(_STAGES) | {"extractor": EXTRACTOR_FIELDS}, repeated=["extractor"])
    stages = {stage: merged(tables[stage], options, _FLAGS[stage]) for stage in _STAGES}
    wanted = (tables["views"] or stages["views"]) and stages["views"].get("count") != 0
    views = ViewConfig(**stages["views"]) if wanted else None
    ingest = IngestConfig(
        tissue=TissueConfig(**stages["tissue"]), reading=ReadingConfig(**stages["reading"]), views=views
    )
    if options["extractors"] or not tables["extractor"]:
        extractors, names = extractors_from_flags(options), list(options["collections"])
    else:
        extractors, names = extractors_from_tables(tables["extractor"], path)
    return Settings(
        plans=plan_collections(extractors, stages["tiling"], names),
        ingest=ingest,
        run=RunConfig(**stages["run"]),
        where=ExecutionConfig(in_process=options["in_process"], address=options["address"], device=options["device"]),
    )


def extractors_from_flags(options: Mapping[str, Any]) -> list[Any]:
    """Extractors of --extractor, --weights, --arch-arg, --mean and --std; `stain-texture` where none is named."""
    from embedstore.extractors import ExtractorConfig

    refs, weights = options["extractors"] or (DEFAULT_EXTRACTOR,), options["weights"]
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
