"""Queries by a tile, a place and a region."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from embedstore.errors import ConfigError, SlideNotInStoreError, TileNotFoundError, VectorError
from embedstore.search.queries.tile_query import place_query, region_query, tile_query
from embedstore.store import Collection, Store, TileLocation, nearest_tiles
from tests.collection_records import collection_record
from tests.search.queries.query_scene import DIM, EDGE, add_slide, new_collection, noise, unit

GRID = [(100 + EDGE * column, 50 + EDGE * row) for row in range(3) for column in range(4)]
VECTORS = noise(1, 12)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Collection]:
    store, collection = new_collection(tmp_path_factory.mktemp("tiles"))
    add_slide(store, collection, "a.svs", VECTORS, GRID)
    add_slide(store, collection, "o'b.svs", noise(2, 5))
    add_slide(store, collection, "folder", noise(3, 2), names=("tumour/1.png", "normal/2.png"))
    overlapping = [(0, 0), (EDGE // 2, 0), (EDGE, 0)]
    add_slide(store, collection, "overlap.svs", noise(4, 3), overlapping)
    broken = noise(5, 3)
    broken[1] = 0
    broken[2, 0] = np.nan
    add_slide(store, collection, "broken.svs", broken)
    return store, collection


def ids(collection: Collection, slide_id: str) -> list[int]:
    slide_id = slide_id.replace("'", "''")
    return collection.tiles(where=f"slide_id = '{slide_id}'", columns=["tile_id"])["tile_id"].to_pylist()


# -- one tile -------------------------------------------------------------------------------


def test_a_tile_by_its_id(scene):
    store, collection = scene
    tile = ids(collection, "a.svs")[5]
    query = tile_query(store, collection, tile)
    np.testing.assert_allclose(query.vector, unit(VECTORS[5]), atol=1e-6)
    assert query.vector.dtype == np.float32
    assert query.title == f"tile {tile} of slide a.svs at 612, 562"
    assert (query.slides, query.tile_ids.tolist(), query.picture) == (("a.svs",), [tile], None)
    assert query.tiles == (TileLocation(tile_id=tile, slide_id="a.svs", x=612, y=562, edge_l0=EDGE, name=None),)


def test_a_tile_finds_itself(scene):
    store, collection = scene
    tile = ids(collection, "o'b.svs")[2]
    found = nearest_tiles(collection, tile_query(store, collection, tile).vector, k=1).to_pylist()[0]
    assert found["tile_id"] == tile
    assert found["distance"] == pytest.approx(0, abs=1e-6)


def test_a_ready_made_tile_is_named_by_its_file(scene):
    store, collection = scene
    tile = ids(collection, "folder")[1]
    query = tile_query(store, collection, tile)
    assert query.title == f"tile {tile} of slide folder, normal/2.png"
    assert query.tiles[0].name == "normal/2.png"


def test_an_unknown_tile(scene):
    store, collection = scene
    with pytest.raises(TileNotFoundError, match=r"no tile 7 in toy; .*embedstore ls --tiles"):
        tile_query(store, collection, 7)


@pytest.mark.parametrize("tile", [2**63, -(2**63), 2**80])
def test_an_id_that_no_tile_can_have(scene, tile):
    with pytest.raises(TileNotFoundError, match="ids are signed 64-bit integers"):
        tile_query(*scene, tile)


def test_a_tile_of_another_collection_is_told(tmp_path: Path):
    store, collection = new_collection(tmp_path)
    _, other = new_collection(tmp_path, name="other", record=collection_record(DIM, tiling={"tile_px": 128}))
    add_slide(store, other, "a.svs", noise(1, 2))
    with pytest.raises(TileNotFoundError, match="in collection 'toy', but in other; search there with --collection"):
        tile_query(store, collection, ids(other, "a.svs")[0])


def test_an_empty_collection(tmp_path: Path):
    store, collection = new_collection(tmp_path)
    with pytest.raises(TileNotFoundError, match="no tile 1 in toy"):
        tile_query(store, collection, 1)
    with pytest.raises(SlideNotInStoreError, match=r"no slide .a\.svs."):
        place_query(store, collection, "a.svs", (0, 0))


@pytest.mark.parametrize("tile", [1, 2], ids=["zero", "nan"])
def test_a_tile_without_direction_is_named(scene, tile):
    store, collection = scene
    with pytest.raises(VectorError, match=rf"tile -?\d+ of slide broken.svs at {tile * EDGE}, 0 of collection 'toy'"):
        tile_query(store, collection, ids(collection, "broken.svs")[tile])


# -- a place --------------------------------------------------------------------------------


@given(st.integers(100, 100 + 4 * EDGE - 1), st.integers(50, 50 + 3 * EDGE - 1))
def test_a_place_is_the_tile_that_holds_it(scene, x, y):
    holding = [i for i, (left, top) in enumerate(GRID) if left <= x < left + EDGE and top <= y < top + EDGE]
    query = place_query(*scene, "a.svs", (x, y))
    assert [(tile.x, tile.y) for tile in query.tiles] == [GRID[i] for i in holding]
    np.testing.assert_allclose(query.vector, unit(VECTORS[holding[0]]), atol=1e-6)


@pytest.mark.parametrize(("x", "expected"), [(10, 0), (300, 0), (400, EDGE // 2), (620, EDGE // 2), (660, EDGE)])
def test_of_overlapping_tiles_the_one_that_has_the_place_in_its_middle(scene, x, expected):
    assert place_query(*scene, "overlap.svs", (x, 256)).tiles[0].x == expected
    shown = scene[0].tile_at("overlap.svs", (x, 256))  # `show --at` shows what is searched by
    assert shown.location.x == expected


def test_a_place_without_a_tile_says_where_tiles_are(scene):
    with pytest.raises(
        TileNotFoundError,
        match=r"no tile at 99, 50 in collection 'toy'; its 12 tiles lie in x 100 to 2148, y 50 to 1586 .*"
        r"the nearest has its centre at 356, 306$",
    ):
        place_query(*scene, "a.svs", (99, 50))


@pytest.mark.parametrize("place", [(5000, 700), (-3, 1200), (1500, 1600), (10**8, -(10**8))])
def test_the_nearest_tile_that_is_named_is_found_there(scene, place):
    with pytest.raises(TileNotFoundError) as refused:
        place_query(*scene, "a.svs", place)
    named = tuple(map(int, str(refused.value).rpartition(" at ")[2].split(", ")))
    nearest = min(GRID, key=lambda corner: math.dist((corner[0] + 256, corner[1] + 256), place))
    tile = place_query(*scene, "a.svs", named).tiles[0]
    assert (tile.x, tile.y) == tuple(nearest)


@pytest.mark.parametrize("place", [(2**31, 0), (0, -(2**70)), (99.9, 50), (100, 49.5)])
def test_a_place_off_the_tiles(scene, place):
    with pytest.raises(TileNotFoundError, match="has no tile at"):
        place_query(*scene, "a.svs", place)


def test_a_slide_with_an_apostrophe(scene):
    assert place_query(*scene, "o'b.svs", (EDGE, 3)).slides == ("o'b.svs",)


def test_an_unknown_slide_names_close_ones(scene):
    with pytest.raises(SlideNotInStoreError, match=r"no slide 'A.sv' in .*close names: a.svs"):
        place_query(*scene, "A.sv", (0, 0))


def test_a_folder_has_no_places(scene):
    with pytest.raises(TileNotFoundError, match=r"2 ready-made tiles, such as 'tumour/1.png', without locations"):
        place_query(*scene, "folder", (0, 0))
    with pytest.raises(TileNotFoundError, match="without locations"):
        region_query(*scene, "folder", (-1, -1, 10, 10))


# -- a region -------------------------------------------------------------------------------


@given(st.tuples(st.integers(-100, 2300), st.integers(-100, 1700), st.integers(1, 2300), st.integers(1, 1700)))
def test_a_region_is_the_mean_of_the_tiles_with_their_centre_in_it(scene, box):
    x, y, width, height = box
    # half-open: moved by half a pixel, no integer centre lies on a border
    drawn = shapely.box(x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5)
    inside = [i for i, (left, top) in enumerate(GRID) if drawn.contains(shapely.Point(left + 256, top + 256))]
    if not inside:
        with pytest.raises(TileNotFoundError, match="no tile with its centre in"):
            region_query(*scene, "a.svs", box)
        return
    query = region_query(*scene, "a.svs", box)
    every = ids(scene[1], "a.svs")
    assert query.tile_ids.tolist() == [every[i] for i in inside]
    np.testing.assert_allclose(query.vector, unit(unit(VECTORS[inside]).mean(axis=0)), atol=1e-5)
    assert query.slides == ("a.svs",)


def test_a_region_shows_the_tiles_nearest_its_mean(scene):
    query = region_query(*scene, "a.svs", (0, 0, 3000, 3000))
    order = np.argsort(-(unit(VECTORS) @ unit(unit(VECTORS).mean(axis=0))))[:6]
    assert [(tile.x, tile.y) for tile in query.tiles] == [GRID[i] for i in order]
    assert query.title == "12 tiles of slide a.svs in 0, 0, 3000, 3000"
    assert len(query.tile_ids) == 12


def test_tiles_count_alike_however_long_their_vectors(tmp_path: Path):
    store, collection = new_collection(tmp_path)
    vectors = np.zeros((2, DIM))
    vectors[0, 0], vectors[1, 1] = 100, 1
    add_slide(store, collection, "a.svs", vectors)
    np.testing.assert_allclose(
        region_query(store, collection, "a.svs", (0, 0, 2000, 600)).vector[:2], [0.5**0.5] * 2, atol=1e-6
    )


def test_a_region_of_one_tile_is_that_tile(scene):
    query = region_query(*scene, "a.svs", (100, 50, EDGE, EDGE))
    assert query.title.endswith("of slide a.svs at 100, 50")


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, -1), (0, 0, float("nan"), 1)])
def test_an_empty_region_is_refused(scene, box):
    with pytest.raises(ConfigError, match=re.escape("of slide 'a.svs' is empty")):
        region_query(*scene, "a.svs", box)


def test_a_region_with_a_broken_vector(scene):
    with pytest.raises(VectorError, match=r"3 tiles of slide broken.svs .*holds NaN or infinity"):
        region_query(*scene, "broken.svs", (0, 0, 3000, 3000))
