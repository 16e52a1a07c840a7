"""Masks as GeoJSON: there and back, and what QuPath sends."""

import json

import cv2
import numpy as np
import pytest

from embedstore.errors import TissueError
from embedstore.slides import TissueMask, read_mask, to_geojson, write_mask

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


def test_it_is_what_qupath_reads():
    collection = to_geojson(masked(islands))
    assert collection["type"] == "FeatureCollection"
    assert collection == json.loads(json.dumps(collection))
    ids = [feature["id"] for feature in collection["features"]]
    assert len(set(ids)) == len(ids) == 4
    for feature in collection["features"]:
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Polygon"
        assert feature["properties"]["objectType"] == "annotation"
        assert feature["properties"]["classification"]["name"] == "Tissue"
        for ring in feature["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
    assert sorted(len(f["geometry"]["coordinates"]) for f in collection["features"]) == [1, 1, 1, 2]


def test_coordinates_are_level_0_pixels():
    (feature,) = to_geojson(masked(lambda mask: cv2.rectangle(mask, (50, 40), (99, 79), 1, -1)))["features"]
    (ring,) = feature["geometry"]["coordinates"]
    np.testing.assert_allclose(np.min(ring, axis=0), (100 + 50 * 32, 200 + 40 * 32), atol=16)
    np.testing.assert_allclose(np.max(ring, axis=0), (100 + 100 * 32, 200 + 80 * 32), atol=16)


def square(x, y, edge):
    return [[x, y], [x + edge, y], [x + edge, y + edge], [x, y + edge], [x, y]]


def feature(geometry, name=None):
    classification = {} if name is None else {"classification": {"name": name}}
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation", **classification}}


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


@pytest.mark.parametrize(
    ("content", "pixels"),
    [
        (polygon(square(100, 200, 640)), 400),
        (feature(polygon(square(100, 200, 640), square(260, 360, 320))), 300),
        ([feature(polygon(square(100, 200, 640)), "Tumor")], 400),  # QuPath also writes bare lists
        ({"type": "FeatureCollection", "features": [
            feature({"type": "MultiPolygon", "coordinates": [[square(100, 200, 640)], [square(1700, 200, 320)]]}),
            feature({"type": "Point", "coordinates": [5, 5]}),
        ]}, 500),
        ([feature(polygon(square(100, 200, 320)), "Ignore*"), feature(polygon(square(100, 200, 640)))], 300),
        (polygon(square(-5000, -5000, 5740)), 640 * 540 / 1024),  # partly outside of the slide
        ({"type": "GeometryCollection", "geometries": [polygon(square(100, 200, 640))]}, 400),
        (polygon([[*point, 0.0] for point in square(100, 200, 640)]), 400),  # with a third coordinate
    ],
)  # fmt: skip
def test_what_qupath_writes_is_read(tmp_path, content, pixels):
    (tmp_path / "m.geojson").write_text(json.dumps(content))
    found = back(tmp_path / "m.geojson")
    assert found.mask.sum() == pytest.approx(pixels, rel=0.06)
    assert found.warnings == ["tissue from the mask m.geojson"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not GeoJSON"),
        ("{}", "malformed GeoJSON"),
        ('{"type": "FeatureCollection", "features": []}', "holds no Polygon"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}', "fewer than three points"),
        ('{"type": "Polygon", "coordinates": [[["a", 0], [1, 1], [2, 0]]]}', "malformed"),
        (json.dumps(polygon(square(90_000, 90_000, 10))), "cover no part of the slide.*level-0 pixels"),
    ],
)
def test_an_invalid_mask_is_an_error_that_says_why(tmp_path, text, message):
    (tmp_path / "m.geojson").write_text(text)
    with pytest.raises(TissueError, match=rf"m\.geojson.*{message}"):
        back(tmp_path / "m.geojson")


def test_a_missing_mask_is_an_error(tmp_path):
    with pytest.raises(TissueError, match="No such file"):
        back(tmp_path / "gone.geojson")
