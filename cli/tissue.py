"""`embedstore tissue`."""

from pathlib import Path
from typing import Any, Literal

import click

from cli.flags import Flag, Section
from cli.options import json_option, origin_option, print_json
from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.output_files import require_folder
from embedstore.quantities import rounded

TILING = Section("tiling", TilingConfig, "tile_px", Flag("mpp", "--tile-mpp"), "stride_px", "min_tissue")
TISSUE = Section(
    "tissue",
    TissueConfig,
    Flag("method", "--tissue"),
    Flag("mpp", "--tissue-mpp"),
    "min_area_um2",
    "max_hole_um2",
    "mask_origin",
    Flag("exclude_pen", "--keep-pen", help="Do not look for pen marks (stains like Alcian blue look like ink)."),
)
READING = Section("reading", ReadingConfig, "reader")


@click.command(epilog="Example:  embedstore tissue slides/case-1.svs --out overlays/")
@click.argument("slide", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    show_default="this folder",
    help="Folder for the two files.",
)
@click.option("--mpp", type=float, help="Resolution of the slide if it does not state its own, µm per level-0 pixel.")
@TILING
@TISSUE
@READING
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    help="Use this mask (GeoJSON edited in QuPath, or XML of ASAP) instead of detection.",
)
@origin_option
@click.option("--grid/--no-grid", default=True, show_default=True, help="Draw the tiles too.")
@json_option
def command(
    slide: Path, out: Path, grid: bool, origin: Literal["bounds", "level0"], as_json: bool, **options: Any
) -> None:
    """Show the tissue that ingest would find on SLIDE.

    Writes SLIDE.tissue.png, a picture with the outline of the tissue and the tiles, and SLIDE.tissue.geojson, the mask
    as QuPath opens it. Edit the mask in QuPath if needed; ingest takes it as the column `tissue` of a slide list, and
    this command as --mask.
    """
    from embedstore import api

    require_folder(out)  # fail before the work, not after it
    report = api.inspect_tissue(
        slide,
        mpp=options["mpp"],
        mask=options["mask"],
        tiling=TILING.given(options),
        tissue=TISSUE.given(options),
        reading=READING.given(options),
    )
    picture, mask = report.write(out, tiles=grid, origin=origin)
    record = {
        "slide": slide.name,
        "reader": report.reader,
        "passed_over": report.passed_over,
        "mpp": report.mpp,
        "size_l0": list(report.size_l0),
        "tissue_mm2": round(report.tissue.area_mm2, 4),
        "tiles": len(report.xy_l0),
        "edge_l0": report.edge_l0,
        "level": report.level,
        "no_tile": report.no_tile,
        "warnings": list(report.warnings),
        "picture": str(picture),
        "mask": str(mask),
    }
    if as_json:
        print_json(record)
        return
    width, height = report.size_l0
    click.echo(f"{slide.name}: {width}×{height} px at {report.mpp:.4g} µm/px, read by {report.reader}")
    click.echo(
        f"tissue {rounded(report.tissue.area_mm2, 3)} mm², {len(report.xy_l0)} tiles of {report.edge_l0} level-0 px"
    )
    click.echo(f"{picture}\n{mask}")
    for line in [*report.warnings, *([report.no_tile] if report.no_tile else [])]:
        click.echo(f"warning: {line}", err=True)
