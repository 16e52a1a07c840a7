"""The demo's slides: they are listed, and ingest finds their tissue and not the pen marks on them."""

import csv
import json

import cv2
import numpy as np
import pytest

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.slides import SlideSource, mask_shares, plan_slide
from synthetic_slides import write_demo_collection

DEMO_SIZE_PX = (4000, 3400)  # of `embedstore demo`


def test_demo_collection_lists_its_slides(tmp_path):
    made = write_demo_collection(tmp_path / "demo", slides=4, size_px=(512, 400))
    with (tmp_path / "demo" / "slides.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [slide.path.name for slide in made]
    assert [row["patient"] for row in rows] == ["P001", "P001", "P002", "P002"]
    assert {row["stain"] for row in rows} == {"H&E", "IHC"}
    assert sorted(path.suffix for path in (tmp_path / "demo").iterdir()) == [".csv", *[".geojson"] * 4, *[".svs"] * 4]


@pytest.mark.slow
def test_no_tile_of_ink_is_planned(tmp_path):
    _, made = write_demo_collection(tmp_path, slides=2, size_px=DEMO_SIZE_PX)
    assert made.path.name == "synthetic-02-tumour.svs"
    assert made.recipe.pen == "green"
    source = SlideSource(slide_id=made.path.name, path=str(made.path), kind="wsi")
    plan = plan_slide(source, tiling=TilingConfig(), tissue=TissueConfig(), reading=ReadingConfig())
    assert len(plan) > 60
    assert [warning for warning in plan.warnings if warning.startswith("pen marks of")]
    ink = np.zeros(made.size_px[::-1], np.uint8)
    for feature in json.loads(made.truth_path.read_text())["features"]:
        if feature["properties"]["classification"]["name"] == "pen mark":
            cv2.fillPoly(ink, [np.rint(ring).astype(np.int32) for ring in feature["geometry"]["coordinates"]], 1)
    assert ink.sum() * made.mpp**2 > 300 * 700  # µm²: a real pen's width and more than twice its length
    shares = mask_shares(ink == 1, plan.xy_l0, edge_l0=plan.edge_l0, origin_l0=(0, 0), scale_l0=(1, 1))
    assert shares.max() < 0.25
