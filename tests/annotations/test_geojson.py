"""What QuPath and others write as GeoJSON, and what is made of it."""

import gzip
import io
import json
import math
import zipfile
from pathlib import Path

import pytest
import shapely

from embedstore.annotations import read_geojson
from embedstore.errors import LabelFormatError, OtherFormatError
from tests.labels.annotated import feature, polygon, square, write_geojson

SQUARE = square(0, 0, 9)
#: Bytes of a file when it is unpacked.
TOO_LARGE = (1 << 26) + 1


def read(tmp_path: Path, *features, **members):
    return read_geojson(write_geojson(tmp_path / "a.geojson", *features, **members))


def zipped(*files: bytes) -> bytes:
    with zipfile.ZipFile(data := io.BytesIO(), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("readme.txt", "none")
        for number, content in enumerate(files):
            archive.writestr(f"{number}.geojson", content)
    return data.getvalue()


def classed(properties) -> dict:
    return {"type": "Feature", "geometry": polygon(SQUARE), "properties": properties}


@pytest.mark.parametrize(
    "properties",
    [
        {"classification": {"name": "Tumor", "color": [200, 0, 0]}},
        {"classification": {"name": "Tumor", "colorRGB": -3670016}},  # QuPath 0.2
        {"classification": {"names": ["Tumor"], "color": [200, 0, 0]}},
        {"classification": "Tumor"},
        {"classification": " Tumor\n"},
        {"class": "Tumor"},
        {"label": "Tumor"},
        {"classification": None, "label": "Tumor"},
        {"classification": {}, "class": "", "label": "Tumor"},
    ],
)
def test_the_class_is_found_where_programs_put_it(tmp_path, properties):
    assert [drawing.label for drawing in read(tmp_path, classed(properties)).annotations] == ["Tumor"]


@pytest.mark.parametrize("where", [lambda value: {"class": value}, lambda value: {"label": value},
                                   lambda value: {"classification": value},
                                   lambda value: {"classification": {"name": value}}])  # fmt: skip
@pytest.mark.parametrize(
    ("value", "name"),
    [(0, "0"), (0.0, "0"), (-0.0, "0"), ("0", "0"), (False, "false"), (True, "true"), (1.0, "1"), (0.5, "0.5"),
     (1e300, "1e+300"), (None, ""), ("", ""), (math.nan, "")],
)  # fmt: skip
def test_a_number_is_a_class_and_nought_is_one(tmp_path, where, value, name):
    assert [drawing.label for drawing in read(tmp_path, classed(where(value))).annotations] == [name]


def test_a_derived_class_keeps_all_its_names(tmp_path):
    found = read(tmp_path, feature(polygon(SQUARE), {"names": ["Tumor", "Positive"]}))
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


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (polygon([[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]), 50),  # a ring that crosses itself
        (polygon(square(0, 0, 10)[:-1]), 100),  # a ring that is not closed
        (polygon([[*point, 7.0] for point in square(0, 0, 10)]), 100),
        (polygon(square(0, 0, 10), [[3, 3]], [[1, 1], [2, 2]], []), 100),  # holes without an area
        ({"type": "MultiPolygon", "coordinates": [[square(0, 0, 10)], [[[3, 3]]], []]}, 100),
        ({"type": "MultiPolygon", "coordinates": [[square(0, 0, 10)], [square(5, 5, 10)]]}, 175),  # parts that overlap
    ],
)
def test_what_is_slightly_wrong_is_mended(tmp_path, shape, area):
    (drawing,) = read(tmp_path, feature(shape, "x")).annotations
    assert drawing.geometry.is_valid
    assert drawing.geometry.area == pytest.approx(area)


def test_what_cannot_be_a_label_is_skipped_and_counted(tmp_path):
    found = read(
        tmp_path,
        feature(polygon(SQUARE)),
        feature(polygon(SQUARE), "Ignore*"),
        feature({"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, "x"),
        feature(polygon([[0, 0], [5, 0], [9, 0], [0, 0]]), "x"),
        feature(None, "x"),
        feature({"type": "Point", "coordinates": [1, 2, 0]}, "x"),
    ).classified()
    assert [drawing.geometry.wkt for drawing in found.annotations] == ["POINT (1 2)"]
    assert found.skipped == {
        "without a class": 1,
        "of class Ignore*": 1,
        "drawn as a line": 1,
        "without an area": 1,
        "without a geometry": 1,
    }


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ({"type": "Polygon", "coordinates": []}, "empty"),
        ({"type": "Polygon", "coordinates": [[]]}, "empty"),
        ({"type": "MultiPolygon", "coordinates": []}, "empty"),
        ({"type": "GeometryCollection", "geometries": []}, "empty"),
        ({"type": "Point", "coordinates": []}, "empty"),
        (polygon([[600, 600]]), "empty"),
        (polygon([[0, 0], [1, 1]]), "empty"),
        (polygon([[0, 0], [1, 1], [0, 0]]), "without an area"),
        ({"type": "LineString", "coordinates": [[0, 0]]}, "drawn as a line"),
        ({"type": "Polygon", "coordinates": None}, "with a coordinate that is missing (null or NaN)"),
        (polygon([[math.nan, 1], [2, 2], [3, 3], [math.nan, 1]]), "with a coordinate that is missing (null or NaN)"),
        (polygon([[None, 1], [2, 2], [3, 3]]), "with a coordinate that is missing (null or NaN)"),
        (polygon([None, [2, 2], [3, 3]]), "with a coordinate that is missing (null or NaN)"),
    ],
)
def test_a_shape_without_a_place_leaves_the_others_alone(tmp_path, shape, why):
    found = read(tmp_path, feature(polygon(SQUARE), "x"), feature(shape, "y"))
    assert [drawing.label for drawing in found.annotations] == ["x"]
    assert found.skipped == {why: 1}
    assert [note for note in found.notes if "feature 2" in note] or "null" not in why


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: [f], lambda f: f["geometry"],
                                  lambda f: {"type": "FeatureCollection", "features": [f]}])  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gzip", "zip"])
def test_every_form_is_read_in_every_encoding(tmp_path, wrap, encoding):
    text = json.dumps(wrap(feature(polygon(SQUARE), "Опухоль")), ensure_ascii=False)
    packed = {"gzip": gzip.compress, "zip": zipped}.get(encoding)
    content = packed(text.encode()) if packed else text.encode(encoding)
    for name in ("a.json", "a.geojson.gz"):  # whatever its name
        (tmp_path / name).write_bytes(content)
        (drawing,) = read_geojson(tmp_path / name).annotations
        assert drawing.label in ("Опухоль", "")


def test_a_file_of_embedstore_says_what_it_is(tmp_path):
    found = read(tmp_path, embedstore={"origin": "level0", "slide_id": "s", "head": "h"})
    assert (found.origin, found.slide_id) == ("level0", "s")
    assert found.notes == ("a.geojson holds what head h says, not what a person drew",)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file"),
        ("{", "found a file that ends at line 1, column 2: it was cut; .*Export objects as GeoJSON"),
        ('{"type": "FeatureCollection", "features": [{"ty', "it was cut"),
        ("<xml/>", "found XML; ASAP's files end in .xml"),
        ("hello", "found no JSON at line 1, column 1"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"type": "Point", "coordinates": [1, ' + "9" * 5000 + "]}", "a number of many digits"),
        (b'{"type": "Point", "a": "\xe9"}', "a byte at 2. that is no text in UTF-8; save the file in UTF-8"),
        (b"\xff\xfe{", "is no text in UTF-16"),
        (gzip.compress(b'{"type": "FeatureCollection", "features": []}')[:30], "a whole gzip file, found one that"),
        (gzip.compress(b"{}")[:10] + b"nonsense", "a gzip file, found one that is damaged"),
        (lambda: gzip.compress(b" " * TOO_LARGE, 1), "found more than 67,108,864 bytes unpacked"),
        (zipped(), "a ZIP file with one file of annotations, found 0"),
        (zipped(b"{}", b"{}"), "a ZIP file with one file of annotations, found 2"),
        (zipped(b"{}")[:30], "a ZIP file, found one that is damaged"),
        (lambda: zipped(b" " * TOO_LARGE), "found more than 67,108,864 bytes unpacked"),
        ('{"type": "FeatureCollection", "features": null}', "expected features to be a list, found null"),
    ],
    ids=range(17),
)
def test_a_file_that_cannot_be_read_says_where_it_is_wrong(tmp_path, text, message):
    path = tmp_path / "a.geojson"
    content = text() if callable(text) else text
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LabelFormatError, match=rf"a\.geojson.*{message}"):
        read_geojson(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [("3", "3"), ('{"a": 1}', "an object without a type"), ('{"type": "Topology"}', "an object of type 'Topology'"),
     ("null", "null"), ("[1, 2]", "a list of 2 without features")],
)  # fmt: skip
def test_json_of_another_kind_is_an_error_of_its_own(tmp_path, text, found):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(OtherFormatError, match=f"expected a FeatureCollection or features, found {found}"):
        read_geojson(tmp_path / "a.json")


MALFORMED = [
    (feature(polygon([["a", 0], [1, 1], [2, 0], [3, 3]])), "expected a coordinate in pixels, found 'a'"),
    (feature(polygon([[True, 0], [1, 1], [2, 0]])), "expected a coordinate in pixels, found true"),
    (
        feature(polygon([[10**400, 0], [1, 1], [2, 0]])),
        "expected a coordinate of less than 2,147,483,648 pixels, found a number of many digits",
    ),
    (
        feature(polygon([[1e17, 0], [1, 1], [2, 0], [1e17, 0]])),
        "expected a coordinate of less than 2,147,483,648 pixels, found 1e.17",
    ),
    (
        feature(polygon([[math.inf, 0], [1, 1], [2, 0]])),
        "expected a coordinate of less than 2,147,483,648 pixels, found inf",
    ),
    (feature(polygon([[1], [1, 1], [2, 0]])), "expected a position of x and y, found a list of 1"),
    (feature({"type": "Polygon", "coordinates": [5]}), "expected a ring to be a list, found 5"),
    (feature({"type": "Polygon", "coordinates": "abc"}), "expected coordinates to be a list, found 'abc'"),
    (feature({"type": "Circle", "coordinates": [1, 0]}), "expected a geometry, found an object of type 'Circle'"),
    (feature({"type": ["Polygon"]}), "expected a geometry, found an object of type a list of 1"),
    (feature(7), "expected a geometry, found 7"),
    (7, "expected a Feature or a geometry, found 7"),
    (None, "expected a Feature or a geometry, found null"),
    ({"type": "Feature", "geometry": polygon(SQUARE), "properties": 3}, "expected properties to be an object, found 3"),
    (classed({"class": {"name": {"a": 1}}}), "expected the class to be a text, found an object"),
    (classed({"class": "\ud800"}), "expected the class to be a text"),
    (classed({"class": math.inf}), "expected the class to be a text, found inf"),
    (classed({"class": "a\0b"}), "expected the class to be a text"),
    (classed({"embedstore": {"patient": []}}), "expected patient to be a text, found a list of 0"),
]


@pytest.mark.parametrize(("odd", "message"), MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_feature_is_named_or_skipped(tmp_path, odd, message):
    path = write_geojson(tmp_path / "a.geojson", feature(polygon(SQUARE), "x"), odd)
    with pytest.raises(LabelFormatError, match=rf"a\.geojson, feature 2: {message}.*; correct it, or export"):
        read_geojson(path)
    found = read_geojson(path, skip_invalid=True)
    assert [drawing.label for drawing in found.annotations] == ["x"]
    assert found.skipped == {"malformed": 1}
    assert "a.geojson: feature 2: expected" in found.notes[0]


def test_a_feature_is_named_by_its_id(tmp_path):
    with pytest.raises(LabelFormatError, match=r"feature 1 \(7e2f\): expected a geometry"):
        read(tmp_path, {**feature(3), "id": "7e2f"})


def test_collections_in_collections_end_somewhere(tmp_path):
    shape = polygon(SQUARE)
    for _ in range(100):
        shape = {"type": "GeometryCollection", "geometries": [shape]}
    with pytest.raises(LabelFormatError, match="at most 32 GeometryCollections"):
        read(tmp_path, feature(shape))


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"origin": "moon"}, "expected the origin bounds or level0, found 'moon'"),
        ({"origin": ["bounds"]}, "expected the origin bounds or level0, found a list of 1"),
        ({"rest": 5}, "expected rest to be a list of classes, found 5"),
        ({"rest": [[]]}, "expected a class of rest to be a text"),
        ({"slide_id": {"a": 1}}, "expected slide_id to be a text"),
        ({"head": []}, "expected head to be a text"),
    ],
)
def test_what_a_file_says_of_itself_is_checked(tmp_path, about, message):
    with pytest.raises(LabelFormatError, match=f"member 'embedstore': {message}"):
        read(tmp_path, embedstore=about)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(LabelFormatError, match="No such file"):
        read_geojson(tmp_path / "gone.geojson")
    with pytest.raises(LabelFormatError, match="cannot be read: it is a folder"):
        read_geojson(tmp_path)


def test_a_large_file_is_read_at_once(tmp_path, monkeypatch):
    """Only what GEOS cannot read is read value by value."""
    from embedstore.annotations import geojson

    monkeypatch.setattr(geojson, "_shape", lambda geometry: pytest.fail("value by value"))
    squares = [feature(polygon(square(x, 0, 9)), "cell") for x in range(0, 500, 10)]
    assert shapely.union_all([d.geometry for d in read(tmp_path, *squares).annotations]).area == 50 * 81


def test_an_outline_that_crosses_itself_endlessly_is_refused_at_once(tmp_path):
    star = [[(7 * i * i) % 1009, (13 * i * i + 5 * i) % 1013] for i in range(1500)]
    with pytest.raises(LabelFormatError, match="feature 1: expected outlines that cross themselves at most 50,000"):
        read(tmp_path, feature(polygon([*star, star[0]]), "x"))
    file = read_geojson(
        write_geojson(tmp_path / "a.geojson", feature(polygon([*star, star[0]]), "x")), skip_invalid=True
    )
    assert file.skipped["malformed"] == 1
    long = [[i, 100 + i % 2] for i in range(5_000)] + [
        [10, 0],
        [5, 0],
        [7, 200],
    ]  # of many points, and a few crossings
    (drawn,) = read(tmp_path, feature(polygon([*long, long[0]]), "x")).annotations
    assert drawn.geometry.is_valid
