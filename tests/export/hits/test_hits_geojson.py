"""Tiles that were found in QuPath: where they lie, in whose file, and that labels can be made of them."""

import json
import uuid
from pathlib import Path

import pytest
import shapely

from embedstore.errors import ExportError
from embedstore.export import write_hits_geojson
from embedstore.labels import read_geojson
from embedstore.labels.files.coordinate_frames import level_0
from embedstore.store import Store
from tests.export.hits_scene import BOUNDS, CORNERS, FOLDER, LOST, make_found, make_hits, tile_rows
from tests.export.prediction_scene import EDGE


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_found(tmp_path)


def everything(store: Store):
    """A tile of the lost slide, then all of a.svs, the other of the lost one, and the ready-made ones."""
    first, second = tile_rows(store, LOST)
    return make_hits(store, [first, *tile_rows(store, "a.svs"), second, *tile_rows(store, FOLDER)])


def test_a_file_a_slide_with_rank_and_distance(store: Store, tmp_path: Path):
    done = write_hits_geojson(everything(store), tmp_path / "out")
    assert done.paths == {LOST: tmp_path / "out/lost/b.svs.geojson", "a.svs": tmp_path / "out/a.svs.geojson"}
    assert done.tiles == 5 and [FOLDER in note for note in done.notes] == [True]
    assert sorted(path for path in (tmp_path / "out").rglob("*.*")) == sorted(done.paths.values())
    file = json.loads(done.paths[LOST].read_text())
    assert file["embedstore"] == {
        "origin": "bounds", "slide_id": LOST, "collection": "toy", "query": "a given vector",
    }  # fmt: skip
    second = file["features"][1]
    x, y = CORNERS[LOST][1][0] - BOUNDS[0], CORNERS[LOST][1][1] - BOUNDS[1]
    right, bottom = x + EDGE, y + EDGE
    assert second["geometry"]["coordinates"] == [[[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]]
    properties = second["properties"]
    assert properties["measurements"] == {"rank": 5, "distance": 0.4}
    assert (properties["objectType"], properties["name"], properties["isLocked"]) == ("annotation", "match 5", True)
    assert properties["classification"]["name"] == "match"
    every = [each["id"] for path in done.paths.values() for each in json.loads(path.read_text())["features"]]
    assert len({uuid.UUID(name) for name in every}) == 5


@pytest.mark.parametrize("origin", ["bounds", "level0"])
def test_labels_made_of_them_lie_on_the_tiles(store: Store, tmp_path: Path, origin):
    path = tmp_path / "b.geojson"
    write_hits_geojson(make_hits(store, tile_rows(store, LOST)), path, origin=origin, label="lesion")
    read = read_geojson(path)
    slide = next(row for row in store.ledger.slides() if row.slide_id == LOST)
    assert (read.origin, read.slide_id, {drawing.label for drawing in read.annotations}) == (origin, LOST, {"lesion"})
    shapes = level_0([drawing.geometry for drawing in read.annotations], slide, origin=read.origin, where=path)
    assert shapely.bounds(shapes).tolist() == [[x, y, x + EDGE, y + EDGE] for x, y in CORNERS[LOST]]


def test_one_file_holds_one_slide(store: Store, tmp_path: Path):
    with pytest.raises(ExportError, match="is one file, and the tiles found are of 2 slides; name a folder"):
        write_hits_geojson(everything(store), tmp_path / "all.geojson")
    assert not (tmp_path / "all.geojson").exists()


def test_tiles_without_a_place_are_refused_where_there_are_no_others(store: Store, tmp_path: Path):
    with pytest.raises(ExportError, match="'tiles' is a folder of ready-made tiles"):
        write_hits_geojson(make_hits(store, tile_rows(store, FOLDER)), tmp_path / "out")
    with pytest.raises(ExportError, match="nothing was found for a given vector"):
        write_hits_geojson(make_hits(store, []), tmp_path / "out")
    assert not (tmp_path / "out").exists()
