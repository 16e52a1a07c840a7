"""Settings of an ingest: defaults < TOML file < flags."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cli.extractor_flags import extractors_from_flags
from cli.flags import Flag, Section
from embedstore.config import (
    ExecutionConfig,
    ReadingConfig,
    RunConfig,
    TilingConfig,
    TissueConfig,
    ViewConfig,
)

if TYPE_CHECKING:
    from embedstore.api.ingest import IngestOptions

TILING = Section(
    "tiling",
    TilingConfig,
    Flag("tile_px", default=f"the extractor's own, else {TilingConfig.tile_px}"),
    Flag("mpp", "--tile-mpp", default=f"the extractor's own, else {TilingConfig.mpp}"),
    "stride_px",
    "min_tissue",
    "downsample",
)
TISSUE = Section("tissue", TissueConfig, Flag("method", "--tissue"), "mask_origin")
READING = Section("reading", ReadingConfig, "reader", "max_unreadable")
VIEWS = Section("views", ViewConfig, Flag("count", "--views", default="none", metavar="K", type=click.IntRange(0)))
RUN = Section(
    "run",
    RunConfig,
    "batch_tiles",
    "readers",
    Flag("extractors", "--extractor-workers"),
    "min_extractors",
    "max_extractors",
    "slide_cache_gb",
)
EXECUTION = Section("execution", ExecutionConfig, "device", "in_process", "ray", Flag("address", metavar="ADDR"))


def resolve(options: Mapping[str, Any]) -> "IngestOptions":
    """Merge flags over the TOML file over defaults, to the options of `Store.ingest`.

    The file has the tables [tiling], [tissue], [reading], [views] and [run], and an [[extractor]] for each extractor,
    with the fields of ExtractorConfig and its `collection`. Views are made where [views] is there, even empty, unless
    their count is 0.

    Raises:
        ConfigError: the file has an unknown table or field, or a value is not valid.
    """
    from embedstore.extractors.extractor_tables import EXTRACTOR_FIELDS, extractors_from_tables
    from embedstore.toml_tables import fields_of, read_tables

    path = options["config_file"]
    fields = fields_of({section.table: section.config for section in (TILING, TISSUE, READING, VIEWS, RUN)})
    tables = read_tables(path, fields | {"extractor": EXTRACTOR_FIELDS}, repeated=["extractor"])
    views = VIEWS.merged(tables["views"], options)
    with_views = (tables["views"] or views) and views.get("count") != 0
    if options["extractors"] or not tables["extractor"]:
        extractors, names = extractors_from_flags(options), list(options["collections"])
    else:
        extractors, names = extractors_from_tables(tables["extractor"], path)
    tiling = TILING.merged(tables["tiling"], options)
    # Only a check: the extractor's own tile_px is not known yet, and the largest allows every stride.
    TILING.build(tables["tiling"], options, lambda **given: TilingConfig(**{"tile_px": 8192, **given}))
    return {
        "extractors": extractors,
        "collections": names,
        "mpp": options["mpp"],
        "views": VIEWS.build(tables["views"], options) if with_views else None,
        "tiling": tiling,
        "tissue": TISSUE.build(tables["tissue"], options),
        "reading": READING.build(tables["reading"], options),
        "run": RUN.build(tables["run"], options),
        "execution": ExecutionConfig(**EXECUTION.given(options)),
        "retry_failed": options["retry_failed"],
        "force": options["force"],
        "limit": options["limit"],
    }
