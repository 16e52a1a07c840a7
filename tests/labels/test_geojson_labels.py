"""What QuPath and others write as GeoJSON, and what is made of it."""

import gzip
import json
from pathlib import Path

import pytest
import shapely

from embedstore.errors import LabelFormatError
from embedstore.labels.files.geojson import read_geojson

from .annotated import feature, polygon, square, write_geojson


def read(tmp_path: Path, *features, **members):
    return read_geojson(write_geojson(tmp_path / "a.geojson", *features, **members))


@pytest.mark.parametrize(
    "properties",
    [
        {"classification": {"name": "Tumor", "color": [200, 0, 0]}},
        {"classification": {"name": "Tumor", "colorRGB": -3670016}},  # QuPath 0.2
        {"classification": {"names": ["Tumor"], "color": [200, 0, 0]}},
        {"classification": "Tumor"},
        {"class": "Tumor"},
        {"label": "Tumor"},
        {"classification": None, "label": "Tumor"},
    ],
)
def test_the_class_is_found_where_programs_put_it(tmp_path, properties):
    found = read(tmp_path, {"type": "Feature", "geometry": polygon(square(0, 0, 9)), "properties": properties})
    assert [drawing.label for drawing in found.annotations] == ["Tumor"]


def test_a_derived_class_keeps_all_its_names(tmp_path):
    found = read(tmp_path, feature(polygon(square(0, 0, 9)), {"names": ["Tumor", "Positive"]}))
    assert found.annotations[0].label == "Tumor: Positive"


def test_holes_and_parts_are_kept_and_points_parted(tmp_path):
    holed = polygon(square(0, 0, 90), square(30, 30, 30))
    parts = {"type": "MultiPolygon", "coordinates": [[square(0, 0, 9)], [square(50, 0, 9), square(52, 2, 3)]]}
    points = {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}
    mixed = {"type": "GeometryCollection", "geometries": [points, polygon(square(0, 0, 2)), polygon(square(5, 0, 2))]}
    found = read(tmp_path, *(feature(shape, "x") for shape in (holed, parts, points, mixed)))
    assert [(d.geometry.geom_type, d.geometry.area) for d in found.annotations] == [
        ("Polygon", 8100 - 900), ("MultiPolygon", 81 + 81 - 9), ("Point", 0), ("Point", 0),
        ("Point", 0), ("Point", 0), ("MultiPolygon", 8),
    ]  # fmt: skip
    assert found.skipped == {}


def test_a_ring_that_crosses_itself_is_mended(tmp_path):
    bow = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
    (drawing,) = read(tmp_path, feature(polygon(bow), "x")).annotations
    assert drawing.geometry.is_valid
    assert drawing.geometry.area == pytest.approx(50)


def test_a_ring_that_is_not_closed_is(tmp_path):
    (drawing,) = read(tmp_path, feature(polygon(square(0, 0, 10)[:-1]), "x")).annotations
    assert drawing.geometry.equals(shapely.box(0, 0, 10, 10))


def test_what_cannot_be_a_label_is_skipped_and_counted(tmp_path):
    found = read(
        tmp_path,
        feature(polygon(square(0, 0, 9))),
        feature(polygon(square(0, 0, 9)), "Ignore*"),
        feature({"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, "x"),
        feature(polygon([[0, 0], [5, 0], [9, 0], [0, 0]]), "x"),
        feature(None, "x"),
        feature({"type": "Point", "coordinates": [1, 2, 0]}, "x"),
    )
    assert [drawing.geometry.wkt for drawing in found.annotations] == ["POINT (1 2)"]
    assert found.skipped == {
        "without a class": 1, "of class Ignore*": 1, "a line": 1, "without an area": 1, "without a geometry": 1,
    }  # fmt: skip


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: [f], lambda f: {"type": "FeatureCollection", "features": [f]}])
def test_a_feature_a_list_and_a_collection_are_read_plain_and_gzipped(tmp_path, wrap):
    text = json.dumps(wrap(feature(polygon(square(0, 0, 9)), "x")))
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.json", "a.geojson.gz"):
        assert len(read_geojson(tmp_path / name).annotations) == 1


def test_a_file_of_embedstore_says_what_it_is(tmp_path):
    found = read(tmp_path, embedstore={"origin": "level0", "slide_id": "s", "head": "h"})
    assert (found.origin, found.slide_id) == ("level0", "s")
    assert found.notes == ("a.geojson holds what head h says, not what a person drew",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no GeoJSON: .*Export objects as GeoJSON"),
        ("<xml/>", "is no GeoJSON.*another --format"),
        ("3", "expected a FeatureCollection or features, found int"),
        ('{"a": 1}', "found an object of type None"),
        (json.dumps(feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "x")), "feature 1: malformed"),
        (json.dumps(feature(polygon([["a", 0], [1, 1], [2, 0], [3, 3]]), "x")), "feature 1: malformed"),
        (json.dumps(feature({"type": "Point", "coordinates": [float("nan"), 0]}, "x")), "no finite number"),
        (json.dumps(feature({"type": "Circle", "coordinates": [1, 0]}, "x")), "feature 1: malformed"),
        ('{"type": "FeatureCollection", "features": [], "embedstore": {"origin": "moon"}}', "origin is 'moon'"),
    ],
)  # fmt: skip
def test_what_is_no_geojson_says_so(tmp_path, text, message):
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(LabelFormatError, match=rf"a\.geojson.*{message}"):
        read_geojson(tmp_path / "a.geojson")


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(LabelFormatError, match="No such file"):
        read_geojson(tmp_path / "gone.geojson")
