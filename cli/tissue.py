"""`embedstore tissue`."""

from pathlib import Path
from typing import Any

import click

from cli.options import json_option, print_json


@click.command(epilog="Example:  embedstore tissue slides/case-1.svs --out overlays/")
@click.argument("slide", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=".", help="Folder for the two files.")
@click.option("--mpp", type=float, help="Resolution of the slide, µm per level-0 pixel, where it does not say its own.")
@click.option("--tile-px", type=int, default=256, show_default=True, help="Edge of a tile, pixels.")
@click.option("--tile-mpp", type=float, default=0.5, show_default=True, help="Resolution of a tile, µm/px.")
@click.option("--stride-px", type=int, help="Distance between tiles, pixels; the tile's edge by default.")
@click.option(
    "--min-tissue", type=float, default=0.5, show_default=True, help="Smallest share of a tile that is tissue."
)
@click.option("--tissue", "method", type=click.Choice(["otsu", "all"]), default="otsu", show_default=True,
              help="How tissue is found; `all` takes the whole slide.")  # fmt: skip
@click.option("--mask", type=click.Path(path_type=Path), help="A GeoJSON mask (edited in QuPath) instead of detection.")
@click.option("--tissue-mpp", type=float, default=8.0, show_default=True, help="Resolution of the mask, µm/px.")
@click.option("--min-area-um2", type=float, default=20_000, show_default=True, help="Smaller specks are dropped, µm².")
@click.option("--max-hole-um2", type=float, default=10_000, show_default=True, help="Smaller holes are filled, µm².")
@click.option("--keep-pen", is_flag=True, help="Do not look for pen marks (stains like Alcian blue look like ink).")
@click.option("--grid/--no-grid", default=True, show_default=True, help="Draw the tiles, too.")
@click.option("--reader", type=click.Choice(["auto", "tiff", "dicom", "fastslide", "openslide"]), default="auto",
              show_default=True, help="Which reader opens the slide.")  # fmt: skip
@json_option
def command(slide: Path, out: Path, grid: bool, as_json: bool, **options: Any) -> None:
    """Show the tissue that ingest would find on SLIDE.

    Writes SLIDE.tissue.png, a picture with the outline of the tissue and the tiles, and SLIDE.tissue.geojson, the mask
    in level-0 pixels. The mask opens in QuPath; what comes back from there goes to ingest as the column `tissue` of a
    slide list, or here as --mask.
    """
    from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
    from embedstore.slides import SlideSource, report_tissue, single_thread

    single_thread()
    tiling = TilingConfig(
        tile_px=options["tile_px"],
        mpp=options["tile_mpp"],
        stride_px=options["stride_px"],
        min_tissue=options["min_tissue"],
    )
    tissue = TissueConfig(
        method=options["method"],
        mpp=options["tissue_mpp"],
        min_area_um2=options["min_area_um2"],
        max_hole_um2=options["max_hole_um2"],
        exclude_pen=not options["keep_pen"],
    )
    mask = options["mask"]
    source = SlideSource(
        slide_id=slide.name,
        path=str(slide.absolute()),
        kind="wsi",
        mpp=options["mpp"],
        tissue=None if mask is None else str(mask),
    )
    report = report_tissue(source, tiling=tiling, tissue=tissue, reading=ReadingConfig(reader=options["reader"]))
    out.mkdir(parents=True, exist_ok=True)
    picture, outline = report.write(out, tiles=grid)
    found = {
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
        "mask": str(outline),
    }
    if as_json:
        print_json(found)
        return
    width, height = report.size_l0
    click.echo(f"{slide.name}: {width}×{height} px at {report.mpp:.4g} µm/px, read by {report.reader}")
    click.echo(f"tissue {report.tissue.area_mm2:.3g} mm², {len(report.xy_l0)} tiles of {report.edge_l0} level-0 px")
    click.echo(f"{picture}\n{outline}")
    for line in [*report.warnings, *([report.no_tile] if report.no_tile else [])]:
        click.echo(f"warning: {line}", err=True)
