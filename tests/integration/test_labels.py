"""Annotations of a synthetic slide through the command line: the tiles that are hit are those that were painted."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
import shapely.geometry

from embedstore.config import JoinConfig
from embedstore.labels import join_labels
from embedstore.store import Store, read_tile_locations
from synthetic_slides import write_slide

from .conftest import embedstore

pytestmark = pytest.mark.slow


def test_annotations_of_a_slide_reach_its_tiles(tmp_path: Path):
    slide = write_slide(tmp_path / "slides" / "s.svs", size_px=(2560, 2048), seed=3)
    store = tmp_path / "store"
    embedstore("ingest", slide.path, "-s", store, "-e", "colour-12", "--in-process", "--tile-px", 64)
    done = embedstore(
        "label", "import", tmp_path / "slides", "-s", store, "--task", "tissue", "--author", "truth",
        "--only", "gland", "--only", "dense nuclei", "--negative", "other", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert {row["class"] for row in done.json()["counts"]} == {"gland", "dense nuclei", "other"}

    opened = Store.open(store)
    row = opened.ledger.slides()[0]
    bounds = [getattr(row, f"bounds_{name}") for name in ("x", "y", "width", "height")]
    assert bounds == [0, 0, row.width_l0, row.height_l0] == [0, 0, 2560, 2048]  # ingest keeps them
    places = read_tile_locations(opened.collection())
    answers = join_labels(
        places, opened.labels.of_task("tissue"), opened.ledger.patients(), task="tissue", config=JoinConfig()
    )
    features = [feature for feature in _truth(slide.truth_path) if feature[0] in ("gland", "dense nuclei")]
    for name in ("gland", "dense nuclei"):
        union = shapely.union_all([shape for label, shape in features if label == name])
        centres = shapely.points(places.xy_l0 + places.edge_l0[:, None] / 2)
        inside = shapely.contains(union, centres)
        near = shapely.distance(shapely.boundary(union), centres) < 0.01
        mine = answers.targets[:, answers.classes.index(name)]
        assert inside.sum() > 20
        np.testing.assert_array_equal(mine[answers.labelled & ~near], inside[answers.labelled & ~near])
    assert answers.labelled.sum() + answers.conflicts == len(places)

    listed = embedstore("label", "ls", "-s", store, "--json").json()
    assert sum(line["labels"] for line in listed) == done.json()["labels"]
    out = tmp_path / "out"
    assert embedstore("label", "export", "-s", store, "--task", "tissue", "--out", out).code == 0
    again = embedstore("label", "import", out, "-s", store, "--task", "again", "--json").json()
    assert again["counts"] == done.json()["counts"]
    assert embedstore("label", "rm", "-s", store, "--task", "again", "--yes").code == 0
    gone = embedstore("label", "export", "-s", store, "--task", "again", "--out", out)
    assert gone.code == 1
    assert "it has labels of tissue" in gone.err


def _truth(path: Path) -> list[tuple[str, shapely.Geometry]]:
    import json

    features = json.loads(path.read_text())["features"]
    shapes = [shapely.make_valid(shapely.geometry.shape(feature["geometry"])) for feature in features]
    return [(f["properties"]["classification"]["name"], shape) for f, shape in zip(features, shapes, strict=True)]


def test_labels_of_a_folder_come_with_its_tiles_alone(tmp_path: Path):
    """What was taken out stays out when views or another extractor come, and is back where tiles are made anew."""
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    for i in range(4):
        cv2.imwrite(str(tiles / f"{i}.png"), np.full((64, 64, 3), 40 * i, np.uint8))
    (tiles / "labels.csv").write_text("file,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(4)))
    store = tmp_path / "store"

    def ingest(*more: object) -> int:
        tiling = ("--tile-px", 64, "--tile-mpp", 0.5, "--mpp", 0.5)
        done = embedstore("ingest", tiles, "-s", store, "-e", "colour-12", "--in-process", *tiling, *more)
        assert done.code == 0, done.err
        return sum(row["labels"] for row in embedstore("label", "ls", "-s", store, "--json").json())

    assert ingest() == 4
    assert embedstore("label", "rm", "-s", store, "--task", "tiles", "--yes").code == 0
    assert ingest("--views", 2) == 0
    assert ingest("-e", "stain-texture") == 0
    assert ingest("--force", "tiles") == 4
