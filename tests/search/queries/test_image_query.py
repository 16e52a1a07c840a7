"""Queries by an image: what is read, how it is cut, and that a tile finds itself."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embedstore.config import TilingConfig
from embedstore.errors import (
    CollectionMismatchError,
    ConfigError,
    ExtractorError,
    QueryError,
    ResolutionError,
    WeightsError,
)
from embedstore.extractors import Extractor, ExtractorConfig, load_extractor
from embedstore.search.queries.image_query import cover, image_query
from embedstore.slides import fit_square
from embedstore.store import Collection, Store, nearest_tiles
from tests.collection_records import collection_record
from tests.search.queries.query_scene import DIM, add_slide, image_collection, new_collection, noise, unit

TILE = 32


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def saved(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


# -- the file -------------------------------------------------------------------------------


def test_a_file_that_is_no_image_is_no_query(tmp_path: Path):
    (tmp_path / "a.png").write_text("no image")
    store, collection = new_collection(tmp_path)
    with pytest.raises(QueryError, match=r"a.png' is no image that can be decoded; expected PNG"):
        image_query(store, collection, tmp_path / "a.png")


# -- the squares ----------------------------------------------------------------------------


@given(st.integers(0, 90), st.integers(0, 90), st.integers(16, 40))
def test_squares_lie_in_the_middle_without_overlap(height, width, edge):
    tiling = TilingConfig(tile_px=edge)
    pixels = np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8).reshape(height, width, 3)
    if min(height, width) < edge:
        with pytest.raises(QueryError, match=f"image has {width}×{height} px; expected {edge}×{edge} or more"):
            cover(pixels, edge, tiling)
        return
    rows, columns = height // edge, width // edge
    top, left = (height % edge) // 2, (width % edge) // 2
    middle = pixels[top : top + rows * edge, left : left + columns * edge]
    expected = middle.reshape(rows, edge, columns, edge, 3).swapaxes(1, 2).reshape(-1, edge, edge, 3)
    np.testing.assert_array_equal(cover(pixels, edge, tiling), expected)


# -- the query ------------------------------------------------------------------------------


@pytest.fixture
def colours(tmp_path: Path) -> tuple[Store, Collection, Extractor]:
    """A collection of colour statistics of one slide with three tiles."""
    config = ExtractorConfig(ref="colour-12", tile_px=TILE)
    extractor = load_extractor(config, device="cpu")
    store, collection = image_collection(tmp_path, extractor, config)
    tiles = np.stack([picture(TILE, TILE, seed) // (seed + 1) for seed in range(3)])
    add_slide(store, collection, "a.svs", extractor.embed(tiles))
    return store, collection, extractor


def test_a_tile_finds_itself(colours, tmp_path: Path):
    store, collection, _ = colours
    path = saved(tmp_path / "tile.png", picture(TILE, TILE, 1) // 2)
    query = image_query(store, collection, path)
    found = nearest_tiles(collection, query.vector, k=1).to_pylist()[0]
    assert (found["x"], found["distance"]) == (512, pytest.approx(0, abs=1e-6))
    assert (query.title, query.picture, query.slides, len(query.tile_ids)) == ("image tile.png", path, (), 0)


def test_a_larger_image_is_the_mean_of_its_tiles(colours, tmp_path: Path):
    store, collection, extractor = colours
    pixels = picture(TILE * 2 + 3, TILE * 3 + 4)
    query = image_query(store, collection, saved(tmp_path / "large.png", pixels))
    parts = [pixels[1 + y : 1 + y + TILE, 2 + x : 2 + x + TILE] for y in (0, 32) for x in (0, 32, 64)]
    np.testing.assert_allclose(query.vector, unit(unit(extractor.embed(np.stack(parts))).mean(axis=0)), atol=1e-5)
    assert query.title == "image large.png (mean of 6 tiles)"


@pytest.mark.parametrize(("mpp", "edge"), [(0.25, 64), (0.2, 80), (0.5, 32), (0.499, 32), (0.54, 30)])
def test_an_image_of_another_resolution_is_cut_as_a_slide_is(colours, tmp_path: Path, mpp: float, edge: int):
    store, collection, extractor = colours
    pixels = picture(edge, edge)
    query = image_query(store, collection, saved(tmp_path / "a.png", pixels), mpp=mpp)
    np.testing.assert_allclose(query.vector, unit(extractor.embed(fit_square(pixels, TILE)[None])[0]), atol=1e-6)


def test_an_image_smaller_than_a_tile(colours, tmp_path: Path):
    store, collection, _ = colours
    path = saved(tmp_path / "small.png", picture(40, 60))
    with pytest.raises(QueryError, match=r"small.png has 60×40 px; expected 64×64 or more, a tile of 32 px at 0.5 µm"):
        image_query(store, collection, path, mpp=0.25)


def test_a_coarser_image_is_refused(colours, tmp_path: Path):
    store, collection, _ = colours
    path = saved(tmp_path / "a.png", picture(90, 90))
    with pytest.raises(ResolutionError, match=r"a.png has 1 µm/px, coarser than the collection's 0.5"):
        image_query(store, collection, path, mpp=1.0)
    with pytest.raises(ConfigError, match="expected a positive number"):
        image_query(store, collection, path, mpp=0)


def test_a_collection_of_ready_made_tiles_takes_the_whole_image_as_ingest_does(tmp_path: Path):
    config = ExtractorConfig(ref="colour-12", tile_px=TILE)
    extractor = load_extractor(config, device="cpu")
    store, collection = image_collection(tmp_path, extractor, config)
    pixels = picture(20, 24)
    add_slide(store, collection, "folder", extractor.embed(fit_square(pixels, TILE)[None]), names=("a.png",))
    path = saved(tmp_path / "a.png", pixels)
    query = image_query(store, collection, path)
    assert nearest_tiles(collection, query.vector, k=1).to_pylist()[0]["distance"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(QueryError, match="expected 32×32 or more"):
        image_query(store, collection, path, mpp=0.5)


# -- the extractor --------------------------------------------------------------------------

CUSTOM = """
import numpy as np
from embedstore.extractors import Extractor

class Toy(Extractor):
    name, dim, tile_px, mpp, digest = "toy", 3, 32, 0.5, "sha256:{digest}"

    def embed(self, pixels):
        return pixels.mean(axis=(1, 2)).astype(np.float16)

def make():
    return Toy()
"""


def custom_collection(folder: Path) -> tuple[Store, Collection, Path]:
    code = folder / "toy_query.py"
    code.write_text(CUSTOM.format(digest="1"))
    config = ExtractorConfig(ref=f"{code}:make")
    store, collection = image_collection(folder, load_extractor(config, device="cpu"), config)
    add_slide(store, collection, "a.svs", noise(0, 3, dim=3))
    return store, collection, code


@pytest.mark.slow
def test_a_users_own_extractor(tmp_path: Path):
    store, collection, _ = custom_collection(tmp_path)
    pixels = picture(32, 32)
    query = image_query(store, collection, saved(tmp_path / "a.png", pixels), trust_extractor=True)
    np.testing.assert_allclose(query.vector, unit(pixels.reshape(-1, 3).mean(axis=0)), atol=1e-3)


def test_another_digest_is_refused(tmp_path: Path):
    store, collection, code = custom_collection(tmp_path)
    code.write_text(CUSTOM.format(digest="2"))
    said = r"made by extractor 'toy' with digest sha256:1; what loads as '.*toy_query.py:make' now has sha256:2"
    with pytest.raises(CollectionMismatchError, match=said):
        image_query(store, collection, saved(tmp_path / "a.png", picture(32, 32)), trust_extractor=True)


def test_a_function_that_is_gone_is_said_to_be_for_searching_by_image(tmp_path: Path):
    store, collection, code = custom_collection(tmp_path)
    code.unlink()
    with pytest.raises(LookupError, match=r"to search collection 'toy' by image, .*there is no file .*toy_query.py"):
        image_query(store, collection, saved(tmp_path / "a.png", picture(32, 32)), trust_extractor=True)


def test_a_function_that_the_store_names_is_not_run_unless_it_is_trusted(tmp_path: Path):
    store, collection, code = custom_collection(tmp_path)
    code.write_text("raise SystemExit('the code of a stranger was run')")
    path = saved(tmp_path / "a.png", picture(32, 32))
    with pytest.raises(ExtractorError, match=r"toy_query.py:make' must be run, .* pass --trust-extractor") as refused:
        image_query(store, collection, path)
    assert "search by tile" in str(refused.value)
    with pytest.raises(SystemExit, match="code of a stranger"):
        image_query(store, collection, path, trust_extractor=True)


@pytest.mark.parametrize(
    "asked",
    [{"ref": "os:system"}, {"ref": "posix:_exit"}, {"ref": "mine"},
     {"ref": "resnet18", "weights": "random", "arch_args": {"checkpoint_path": "pickle.pt"}}],
    ids=["module", "builtin", "entry point", "checkpoint"],
)  # fmt: skip
def test_no_way_to_name_code_gets_by(tmp_path: Path, monkeypatch, asked: dict):
    from importlib.metadata import EntryPoint

    from embedstore.extractors import custom

    monkeypatch.setattr(
        custom, "entry_points", lambda: {"mine": EntryPoint("mine", "os:abort", "embedstore.extractors")}
    )
    record = collection_record(DIM, tiling={"tile_px": TILE}, request={"extractor": asked})
    store, collection = new_collection(tmp_path, record=record)
    add_slide(store, collection, "a.svs", noise(0, 3))
    with pytest.raises(ExtractorError, match="a store of a stranger could name anything"):
        image_query(store, collection, saved(tmp_path / "a.png", picture(32, 32)))


@pytest.mark.slow
def test_weights_that_are_gone_are_said_to_be_for_searching_by_image(tmp_path: Path):
    request = {"extractor": {"ref": "resnet18", "weights": str(tmp_path / "w.pt"), "tile_px": TILE}}
    record = collection_record(DIM, tiling={"tile_px": TILE}, request=request)
    store, collection = new_collection(tmp_path, record=record)
    add_slide(store, collection, "a.svs", noise(0, 3))
    with pytest.raises(WeightsError, match=r"to search collection 'toy' by image, .*no weights file .*w.pt"):
        image_query(store, collection, saved(tmp_path / "a.png", picture(32, 32)))


def test_a_collection_that_does_not_say_how_its_extractor_is_loaded(tmp_path: Path):
    store, collection = new_collection(tmp_path, record=collection_record(DIM, tiling={"tile_px": TILE}))
    add_slide(store, collection, "a.svs", noise(0, 3))
    with pytest.raises(CollectionMismatchError, match="does not say how its extractor 'toy' was loaded"):
        image_query(store, collection, saved(tmp_path / "a.png", picture(32, 32)))


# -- the whole way --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_tile_cut_from_a_slide_finds_itself(tmp_path: Path):
    """Ingested as a user does, with classical features of stain and texture, at half the slide's resolution."""
    from embedstore.export.pictures.tile_pictures import tile_pictures
    from embedstore.slides import open_slide
    from synthetic_slides import write_slide
    from tests.integration.conftest import embedstore

    slide = write_slide(tmp_path / "a.svs", size_px=(3072, 2560), mpp=0.25, seed=3)
    done = embedstore("ingest", slide.path, "-s", tmp_path / "store", "-e", "stain-texture", "--in-process")
    assert done.code == 0, done.err
    store = Store.open(tmp_path / "store")
    collection = store.collection()
    rows = collection.tiles(columns=["tile_id", "slide_id", "x", "y", "edge_l0", "name"]).to_pylist()
    chosen = rows[:: max(1, len(rows) // 4)]
    with open_slide(str(slide.path)) as opened:
        for row, seen in zip(chosen, tile_pictures(store, collection.name, chosen), strict=True):
            query = image_query(store, collection, saved(tmp_path / "seen.png", seen), device="cpu")
            best = nearest_tiles(collection, query.vector, k=1).to_pylist()[0]
            assert (best["tile_id"], best["distance"]) == (row["tile_id"], pytest.approx(0, abs=1e-5))
            # level 0 is the best level of this slide, so its pixels are those that ingest scaled
            region = opened.read_region((row["x"], row["y"]), 0, (row["edge_l0"], row["edge_l0"]))
            query = image_query(store, collection, saved(tmp_path / "cut.png", region), mpp=0.25, device="cpu")
            best = nearest_tiles(collection, query.vector, k=1).to_pylist()[0]
            assert (best["tile_id"], best["distance"]) == (row["tile_id"], pytest.approx(0, abs=1e-5))
