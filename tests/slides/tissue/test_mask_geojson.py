"""Masks as GeoJSON: there and back, and what QuPath sends."""

import json

import cv2
import numpy as np
import pytest

from embedstore.errors import TissueError
from embedstore.slides import TissueMask, read_mask, write_mask
from tests.labels.annotated import feature, polygon, square, write_asap

BOUNDS = (100, 200, 6400, 4800)  # mpp 0.25: a mask of 200×150 px at 8 µm/px


def masked(draw) -> TissueMask:
    mask = np.zeros((150, 200), np.uint8)
    draw(mask)
    return TissueMask(mask=mask.astype(bool), origin_l0=(100, 200), scale_l0=(32, 32), mpp=8.0)


def islands(mask):
    cv2.circle(mask, (60, 70), 50, 1, -1)
    cv2.circle(mask, (60, 70), 20, 0, -1)
    cv2.circle(mask, (60, 70), 8, 1, -1)  # an island in a hole
    cv2.rectangle(mask, (150, 0), (199, 60), 1, -1)  # at the edge
    mask[140, 150] = 1  # a single pixel


def back(path, **options):
    return read_mask(path, bounds_l0=BOUNDS, mpp_l0=0.25, mpp=8.0, **options)


def test_a_mask_comes_back_nearly_as_it_went(tmp_path):
    tissue = masked(islands)
    write_mask(tissue, tmp_path / "m.geojson")
    again = back(tmp_path / "m.geojson")
    assert again.mask.shape == tissue.mask.shape
    assert (again.origin_l0, again.scale_l0, again.mpp) == ((100, 200), (32, 32), 8.0)
    both, either = (again.mask & tissue.mask).sum(), (again.mask | tissue.mask).sum()
    assert both / either > 0.97
    assert again.area_mm2 == pytest.approx(tissue.area_mm2, rel=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_ragged_masks_come_back_too(tmp_path, seed):
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((150, 200)).astype(np.float32), (0, 0), 4)
    tissue = masked(lambda mask: np.copyto(mask, noise > 0.5, casting="unsafe"))
    write_mask(tissue, tmp_path / "m.geojson")
    again = back(tmp_path / "m.geojson")
    assert (again.mask & tissue.mask).sum() / (again.mask | tissue.mask).sum() > 0.9
    assert again.area_mm2 == pytest.approx(tissue.area_mm2, rel=0.05)


def written(tissue, path, **options):
    write_mask(tissue, path, **options)
    return json.loads(path.read_text())


def test_it_is_what_qupath_reads(tmp_path):
    collection = written(masked(islands), tmp_path / "m.geojson", slide_id="a.scn")
    assert collection["type"] == "FeatureCollection"
    assert collection["embedstore"] == {"origin": "bounds", "slide_id": "a.scn"}
    ids = [feature["id"] for feature in collection["features"]]
    assert len(set(ids)) == len(ids) == 4
    for piece in collection["features"]:
        assert piece["type"] == "Feature"
        assert piece["geometry"]["type"] == "Polygon"
        assert piece["properties"]["objectType"] == "annotation"
        assert piece["properties"]["classification"]["name"] == "Tissue"
        for ring in piece["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
    assert sorted(len(f["geometry"]["coordinates"]) for f in collection["features"]) == [1, 1, 1, 2]


@pytest.mark.parametrize(("origin", "corner"), [("bounds", (0, 0)), ("level0", (100, 200))])
def test_coordinates_begin_where_the_file_says(tmp_path, origin, corner):
    tissue = masked(lambda mask: cv2.rectangle(mask, (50, 40), (99, 79), 1, -1))
    file = written(tissue, tmp_path / "m.geojson", origin=origin)
    (ring,) = file["features"][0]["geometry"]["coordinates"]
    np.testing.assert_allclose(np.min(ring, axis=0), (corner[0] + 50 * 32, corner[1] + 40 * 32), atol=16)
    np.testing.assert_allclose(np.max(ring, axis=0), (corner[0] + 100 * 32, corner[1] + 80 * 32), atol=16)
    other = "level0" if origin == "bounds" else "bounds"
    assert (back(tmp_path / "m.geojson", origin=other).mask == tissue.mask).all()  # the file's own word counts
    del file["embedstore"]
    (tmp_path / "m.geojson").write_text(json.dumps(file))
    assert (back(tmp_path / "m.geojson", origin=origin).mask == tissue.mask).all()


@pytest.mark.parametrize(
    ("content", "pixels"),
    [
        (polygon(square(0, 0, 640)), 400),
        (feature(polygon(square(0, 0, 640), square(160, 160, 320))), 300),
        ([feature(polygon(square(0, 0, 640)), "Tumor")], 400),  # QuPath also writes bare lists
        ({"type": "FeatureCollection", "features": [
            feature({"type": "MultiPolygon", "coordinates": [[square(0, 0, 640)], [square(1600, 0, 320)]]}),
            feature({"type": "Point", "coordinates": [5, 5]}),
        ]}, 500),
        ([feature(polygon(square(0, 0, 320)), "Ignore*"), feature(polygon(square(0, 0, 640)))], 300),
        ([feature(polygon(square(0, 0, 640))), {"type": "Feature", "geometry": polygon(square(0, 0, 320)),
                                                "properties": {"classification": "Ignore*"}}], 300),
        ({"type": "GeometryCollection", "geometries": [polygon(square(0, 0, 640))]}, 400),
        (polygon([[*point, 0.0] for point in square(0, 0, 640)]), 400),  # with a third coordinate
    ],
)  # fmt: skip
def test_what_qupath_writes_is_read(tmp_path, content, pixels):
    (tmp_path / "m.geojson").write_text(json.dumps(content))
    found = back(tmp_path / "m.geojson")
    assert found.mask.sum() == pytest.approx(pixels, rel=0.06)
    assert found.warnings == ["tissue from the mask m.geojson"]


def test_asaps_xml_is_a_mask_too(tmp_path):
    path = write_asap(tmp_path / "m.xml", ("Polygon", "None", square(100, 200, 640)[:-1]))
    assert back(path).mask.sum() == pytest.approx(400, rel=0.06)


@pytest.mark.parametrize("odd", [None, polygon(), polygon([[5, 5]]), polygon([[None, 1], [2, 2], [3, 0]])])
def test_a_shape_without_a_place_is_told_and_leaves_the_others_alone(tmp_path, odd):
    (tmp_path / "m.geojson").write_text(json.dumps([feature(polygon(square(0, 0, 640))), feature(odd)]))
    found = back(tmp_path / "m.geojson")
    assert found.mask.sum() == pytest.approx(400, rel=0.06)
    assert "m.geojson: left out 1 " in found.warnings[-1]


@pytest.mark.parametrize(
    ("drawn", "pixels"),
    [
        (square(-5000, -5000, 5640), 640 * 640 / 1024),
        (square(-1e9, -1e9, 2e9), 150 * 200),
        ([[-100, -100], [2e9, 1e9], [0, 1e9]], None),  # far points keep the slope of the edges
    ],
)
def test_a_mask_partly_outside_of_the_image_is_told(tmp_path, drawn, pixels):
    (tmp_path / "m.geojson").write_text(json.dumps(polygon(drawn)))
    found = back(tmp_path / "m.geojson")
    assert pixels is None or found.mask.sum() == pytest.approx(pixels, rel=0.06)
    assert pixels or found.mask.mean() == pytest.approx(1 / 2 + 1600 / 4800 / 2 - 1600 / 4800 / 2 + 1 / 6, abs=0.02)
    assert "m.geojson: 1 of 1 annotations lie partly outside of the slide's image" in found.warnings[1]
    assert "the image x 100 to 6500, y 200 to 5000" in found.warnings[1]


def test_the_origin_that_would_fit_is_named(tmp_path):
    (tmp_path / "m.geojson").write_text(json.dumps(polygon(square(6000, 4500, 450))))
    assert "with --mask-origin level0 all would lie on it" in back(tmp_path / "m.geojson").warnings[1]
    assert len(back(tmp_path / "m.geojson", origin="level0").warnings) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no GeoJSON"),
        ("{}", "is no GeoJSON"),
        ('{"type": "FeatureCollection", "features": []}', "holds no Polygon"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}', "holds no Polygon.*left out: 1 empty"),
        ('{"type": "Polygon", "coordinates": [[["a", 0], [1, 1], [2, 0]]]}', "expected a coordinate in pixels"),
        ('{"type": "Polygon", "coordinates": [[[1e300, 0], [1, 1], [2, 0]]]}', "a coordinate of less than"),
        (json.dumps(polygon(square(90_000, 90_000, 10))), "covers no part of the slide: they span x 90100 to 90110"),
    ],
)
def test_an_invalid_mask_is_an_error_that_says_why(tmp_path, text, message):
    (tmp_path / "m.geojson").write_text(text)
    with pytest.raises(TissueError, match=rf"m\.geojson.*{message}"):
        back(tmp_path / "m.geojson")


def test_a_missing_mask_is_an_error(tmp_path):
    with pytest.raises(TissueError, match="No such file"):
        back(tmp_path / "gone.geojson")
