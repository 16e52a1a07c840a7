"""GeoJSON for QuPath: where objects lie, what they are called, and what merging makes of neighbours."""

import json
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely.geometry import shape

from embedstore.errors import ExportError
from embedstore.export import export_scope, write_geojson
from embedstore.store import Store
from tests.export.prediction_scene import EDGE, grid, make_store
from tests.marks import examples
from tests.store.predicted import facts, predict, predict_slides, two

#: The second slide's image begins here: see `make_store`.
BOUNDS = (1000, 2000)


def exported(store: Store, slide: str, path: Path, head: str = "lesion", **options) -> dict:
    write_geojson(export_scope(store, head=head), slide, path, **options)
    return json.loads(path.read_text())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path, {"a.svs": grid(3, 1), "b.svs": grid(3, 3, at=(1100, 2300))})


def test_a_tile_is_a_square_with_its_class_and_measurements(store: Store, tmp_path: Path):
    predict(store, facts(), {"a.svs": two([0.25, 0.75, 0.5625])})
    file = exported(store, "a.svs", tmp_path / "a.geojson")
    assert file["type"] == "FeatureCollection" and len(file["features"]) == 3
    feature = file["features"][1]
    assert feature["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[128, 0], [256, 0], [256, 128], [128, 128], [128, 0]]],
    }
    assert feature["properties"] == {
        "objectType": "tile",
        "classification": {"name": "tumour", "color": [213, 94, 0]},
        "measurements": {"p: normal": 0.25, "p: tumour": 0.75},
    }
    assert len({uuid.UUID(each["id"]) for each in file["features"]}) == 3
    again = exported(store, "a.svs", tmp_path / "again.geojson")
    assert again == file


def test_coordinates_begin_at_the_corner_that_qupath_shows(store: Store, tmp_path: Path):
    predict(store, facts(), {"b.svs": two([0.9] * 9)})
    file = exported(store, "b.svs", tmp_path / "b.geojson")
    corner = file["features"][0]["geometry"]["coordinates"][0][0]
    assert corner == [1100 - BOUNDS[0], 2300 - BOUNDS[1]]
    assert file["embedstore"]["origin"] == "bounds"
    assert (file["embedstore"]["head"], file["embedstore"]["slide_id"]) == ("lesion", "b.svs")
    file = exported(store, "b.svs", tmp_path / "b.geojson", origin="level0")
    assert file["features"][0]["geometry"]["coordinates"][0][0] == [1100, 2300]
    assert file["embedstore"]["origin"] == "level0"
    for origin, corner in (("bounds", (100, 300)), ("level0", (1100, 2300))):
        merged = exported(store, "b.svs", tmp_path / "b.geojson", origin=origin, merge=True)["features"]
        side = 3 * EDGE
        assert [shape(each["geometry"]).bounds for each in merged] == [(*corner, corner[0] + side, corner[1] + side)]


def test_a_slide_whose_bounds_are_not_known_begins_at_level_0(store: Store, tmp_path: Path):
    predict(store, facts(), {"b.svs": two([0.9] * 9)})
    scope = export_scope(store, head="lesion")
    unbounded = replace(scope.slides["b.svs"], bounds_x=None, bounds_y=None)
    scope = replace(scope, slides={**scope.slides, "b.svs": unbounded})
    write_geojson(scope, "b.svs", tmp_path / "b.geojson")
    first = json.loads((tmp_path / "b.geojson").read_text())["features"][0]
    assert first["geometry"]["coordinates"][0][0] == [1100, 2300]


def test_neighbours_of_a_class_are_united_and_holes_stay(store: Store, tmp_path: Path):
    ring = [0.9, 0.9, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.6]
    predict(store, facts(), {"b.svs": two(ring)})
    file = exported(store, "b.svs", tmp_path / "b.geojson", merge=True, origin="level0")
    normal, tumour = file["features"]
    assert normal["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "normal", "color": [86, 180, 233]},
        "measurements": {"tiles": 1, "p: normal mean": 0.9},
    }
    assert shape(tumour["geometry"]).area == 8 * EDGE**2
    outer, hole = tumour["geometry"]["coordinates"]
    assert (len(outer), len(hole)) == (5, 5)  # corners alone, without the seams of tiles
    assert tumour["properties"]["measurements"] == {"tiles": 8, "p: tumour mean": round((7 * 0.9 + 0.6) / 8, 5)}


def test_tiles_that_touch_at_a_corner_are_two_areas(store: Store, tmp_path: Path):
    predict(store, facts(), {"b.svs": two([0.9, 0.1, 0.1, 0.1, 0.8, 0.1, 0.1, 0.1, 0.1])})
    file = exported(store, "b.svs", tmp_path / "b.geojson", merge=True)
    tumour = [each for each in file["features"] if each["properties"]["classification"]["name"] == "tumour"]
    assert sorted(each["properties"]["measurements"]["p: tumour mean"] for each in tumour) == [0.8, 0.9]


@pytest.mark.slow
@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tumour=st.lists(st.booleans(), min_size=9, max_size=9))
def test_merged_areas_cover_each_tile_once(store: Store, tmp_path: Path, tumour: list[bool]):
    predict(store, facts(), {"b.svs": two(np.where(tumour, 0.9, 0.2))})
    features = exported(store, "b.svs", tmp_path / "b.geojson", merge=True, origin="level0")["features"]
    areas = [(each["properties"]["classification"]["name"], shape(each["geometry"])) for each in features]
    assert all(area.is_valid for _, area in areas)
    assert sum(area.area for _, area in areas) == 9 * EDGE**2
    assert sum(each["properties"]["measurements"]["tiles"] for each in features) == 9
    for on, (x, y) in zip(tumour, grid(3, 3, at=(1100, 2300)), strict=True):
        middle = shapely.Point(x + EDGE / 2, y + EDGE / 2)
        assert [name for name, area in areas if area.contains(middle)] == ["tumour" if on else "normal"]


def test_improbable_tiles_are_left_out(store: Store, tmp_path: Path):
    predict(store, facts(), {"a.svs": two([0.05, 0.75, 0.6])})
    kept = exported(store, "a.svs", tmp_path / "a.geojson", min_probability=0.7)["features"]
    assert [each["properties"]["classification"]["name"] for each in kept] == ["normal", "tumour"]
    merged = exported(store, "a.svs", tmp_path / "a.geojson", min_probability=0.7, merge=True)["features"]
    assert [each["properties"]["measurements"]["tiles"] for each in merged] == [1, 1]


def test_places_of_several_classes_are_in_each(store: Store, tmp_path: Path):
    made = facts(head="parts", classes=("fat", "gland", "pen"), multi_label=True, positive=None, thresholds={})
    chances = np.array([[0.9, 0.8, 0.1], [0.1, 0.7, 0.2], [0.1, 0.2, 0.3]], np.float32)
    predict(store, made, {"a.svs": chances})
    tiles = exported(store, "a.svs", tmp_path / "a.geojson", head="parts")["features"]
    names = [each["properties"].get("classification", {}).get("name") for each in tiles]
    assert names == ["fat: gland", "gland", None]
    merged = exported(store, "a.svs", tmp_path / "a.geojson", head="parts", merge=True)["features"]
    found = {m["properties"]["classification"]["name"]: m["properties"]["measurements"]["tiles"] for m in merged}
    assert found == {"fat": 1, "gland": 2}
    assert len(exported(store, "a.svs", tmp_path / "a.geojson", head="parts", min_probability=0.1)["features"]) == 2


def test_a_class_with_the_joint_in_its_name_is_one_class(store: Store, tmp_path: Path):
    made = facts(classes=("low; mid", "high"), positive="high")
    predict(store, made, {"a.svs": two([0.1, 0.9, 0.2])})
    tiles = exported(store, "a.svs", tmp_path / "a.geojson")["features"]
    assert [each["properties"]["classification"]["name"] for each in tiles] == ["low; mid", "high", "low; mid"]


def test_heads_of_slides_give_their_attention(store: Store, tmp_path: Path):
    made = facts(head="grade", level="slide")
    predict_slides(store, made, {"a.svs": two([0.9])[0]}, {"a.svs": np.array([0.1, 0.7, 0.2])})
    features = exported(store, "a.svs", tmp_path / "a.geojson", head="grade")["features"]
    assert [each["properties"]["measurements"]["attention rank"] for each in features] == [0, 1, 0.5]
    assert features[1]["properties"]["measurements"]["attention"] == pytest.approx(0.7)
    with pytest.raises(ExportError, match="'grade' gives no tile a class"):
        exported(store, "a.svs", tmp_path / "a.geojson", head="grade", merge=True)
