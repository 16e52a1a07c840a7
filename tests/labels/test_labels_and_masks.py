"""On a slide whose image begins off the corner of level 0, a file falls on the same tiles as labels and as a mask."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from embedstore.annotations import read_annotations
from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.labels.files.coordinate_frames import level_0
from embedstore.slides import SlideSource, TissueReport, report_tissue
from embedstore.store import SlideRow
from tests.labels.annotated import write_asap
from tests.slides.drawings import tissue_picture, write_scn

CORNER, SIZE, LEVEL_0 = (304, 512), (704, 576), (1600, 1400)


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scn(tmp_path_factory.mktemp("scn") / "a.scn", tissue_picture(*SIZE), size=LEVEL_0, corner=CORNER)


def report(slide_path: Path, mask: Path | None = None, **tissue) -> TissueReport:
    return report_tissue(
        SlideSource(slide_id="a.scn", path=str(slide_path), kind="wsi", tissue=mask and str(mask)),
        tiling=TilingConfig(tile_px=32, mpp=0.5, stride_px=32),
        tissue=TissueConfig(mpp=2.0, min_area_um2=500, max_hole_um2=500, **tissue),
        reading=ReadingConfig(),
    )


def tiles(made: TissueReport) -> set[tuple[int, int]]:
    return set(map(tuple, made.xy_l0.tolist()))


def labelled_tiles(path: Path) -> set[tuple[int, int]]:
    """Tiles of which at least half lies in an area of a file that is read as labels."""
    file = read_annotations(path)
    row = SlideRow(
        slide_id="a.scn", path="", kind="wsi", width_l0=LEVEL_0[0], height_l0=LEVEL_0[1], bounds_x=CORNER[0],
        bounds_y=CORNER[1], bounds_width=SIZE[0], bounds_height=SIZE[1],
    )  # fmt: skip
    shapes = level_0([each.geometry for each in file.annotations], row, origin=file.begins(None), where=path)
    x, y = np.meshgrid(np.arange(CORNER[0], LEVEL_0[0], 32), np.arange(CORNER[1], LEVEL_0[1], 32))
    boxes = shapely.box(x, y, x + 32, y + 32)
    kept = shapely.area(shapely.intersection(boxes, shapely.union_all(shapes))) >= 32 * 32 / 2
    return set(zip(x[kept].tolist(), y[kept].tolist(), strict=True))


@pytest.mark.parametrize("origin", ["bounds", "level0"])
def test_a_mask_that_was_written_gives_the_same_tiles(slide_path: Path, tmp_path: Path, origin):
    found = report(slide_path)
    assert len(found.xy_l0) > 100 and found.tissue.origin_l0 == CORNER
    _, mask = found.write(tmp_path, origin=origin)
    assert json.loads(mask.read_text())["embedstore"] == {"origin": origin, "slide_id": "a.scn"}
    again = report(slide_path, mask)
    assert tiles(again) == tiles(found)
    assert again.warnings == ("tissue from the mask a.scn.tissue.geojson",)


def test_what_qupath_saves_of_it_gives_the_same_tiles(slide_path: Path, tmp_path: Path):
    """QuPath drops members that it does not know; the corner of the picture that it shows is its (0, 0)."""
    found = report(slide_path)
    _, mask = found.write(tmp_path)
    (piece, *_), saved = json.loads(mask.read_text())["features"], tmp_path / "saved.geojson"
    assert 0 <= np.min(piece["geometry"]["coordinates"][0]) < min(CORNER)
    saved.write_text(json.dumps({"type": "FeatureCollection", "features": [piece]}))
    assert tiles(report(slide_path, saved)) == tiles(found)
    wrong = report(slide_path, saved, mask_origin="level0")
    assert tiles(wrong) != tiles(found)
    assert "with --mask-origin bounds all would lie on it" in wrong.warnings[-1]


@pytest.mark.parametrize("kind", ["geojson", "xml"])
def test_labels_and_masks_of_a_file_fall_on_the_same_tiles(slide_path: Path, tmp_path: Path, kind):
    ring = [[64, 96], [320, 96], [320, 400], [200, 480], [64, 400]]
    path = tmp_path / f"drawn.{kind}"
    if kind == "geojson":
        path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    else:  # ASAP counts from the corner of level 0
        write_asap(path, ("Polygon", "tumour", [[x + CORNER[0], y + CORNER[1]] for x, y in ring]))
    on_labels = labelled_tiles(path)
    assert (CORNER[0] + 64, CORNER[1] + 96) in on_labels
    assert tiles(report(slide_path, path)) == on_labels
