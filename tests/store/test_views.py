"""Views in the store: read back as they were written, each once, and gone with their slide."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from embedstore.config import ViewConfig
from embedstore.errors import (
    CollectionMismatchError,
    CommitError,
    StoreBusyError,
    VectorError,
    ViewsNotFoundError,
)
from embedstore.store import (
    Collection,
    CollectionRecord,
    CollectionWriter,
    FragmentWriter,
    SlideFragments,
    SlideRow,
    Store,
    ViewRows,
    Views,
    ViewsWriter,
    read_views,
)
from embedstore.store import views as module
from embedstore.store.compaction import compact
from embedstore.store.removal import remove_slides, remove_views
from embedstore.tile_id import tile_ids, tile_keys
from embedstore.views import PARAMETERS, draw_parameters
from tests.collection_records import collection_record

from .conftest import DIM, RECORD, vectors

CONFIG = ViewConfig(count=3)
Deliver = Callable[..., SlideFragments]


@pytest.fixture
def views(store: Store, collection: Collection) -> Views:
    made = store.views(collection.name)
    made.create(RECORD.of_views(CONFIG))
    return made


@pytest.fixture
def deliver_views(collection: Collection, views: Views) -> Deliver:
    """Write a slide's fragments with those of its views, in pieces that come in any order."""

    def write(
        slide_id: str, tiles: int, *, lost: Sequence[int] = (), version: int = 0, block_rows: int = 7, seed: int = 0,
        made: np.ndarray | None = None,
    ) -> SlideFragments:  # fmt: skip
        writer = FragmentWriter(
            table_uri=collection.table.uri, schema=collection.schema, collection=collection.name, slide_id=slide_id,
            xy_l0=xy_of(tiles), edge_l0=512, tissue=np.ones(tiles, np.float32), block_rows=block_rows,
            views=ViewRows(table_uri=views.table.uri, schema=views.schema, config=CONFIG),
        )  # fmt: skip
        of_tiles, rng = vectors(slide_id, tiles, version), np.random.default_rng(seed)
        of_views = made if made is not None else view_vectors(slide_id, tiles, version)
        kept, gone = np.setdiff1d(np.arange(tiles), lost), np.array(lost, int)
        writer.put(kept, of_tiles[kept])
        writer.put(gone, None)
        writer.put_views(rows_of(gone), None)
        for rows in np.split(rng.permutation(rows_of(kept)), range(4, 3 * len(kept), 4)):
            assert not writer.complete
            writer.put_views(rows, of_views[rows])
        assert writer.complete
        return writer.finish()

    return write


def xy_of(tiles: int) -> np.ndarray:
    return np.stack([np.arange(tiles) * 512, np.zeros(tiles)], axis=1).astype(np.int32)


def rows_of(tiles: np.ndarray) -> np.ndarray:
    """The planned rows of all views of some tiles."""
    return (tiles[:, None] * CONFIG.count + np.arange(CONFIG.count)).ravel()


def view_vectors(slide_id: str, tiles: int, version: int = 0) -> np.ndarray:
    return vectors(f"views of {slide_id}", tiles * CONFIG.count, version)


def ids_of(slide_id: str, tiles: int) -> np.ndarray:
    return tile_ids(slide_id, tile_keys(xy_of(tiles), None))


def model_of(slides: dict[str, int]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """What should be found of each tile: vectors of its views, and their parameters."""
    found = {}
    for slide_id, tiles in slides.items():
        ids = ids_of(slide_id, tiles)
        made = view_vectors(slide_id, tiles).reshape(tiles, CONFIG.count, DIM)
        found |= {int(i): (v, p) for i, v, p in zip(ids, made, draw_parameters(ids, CONFIG), strict=True)}
    return found


# -- reading --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("take_share", [0, 10])
@pytest.mark.parametrize("seed", range(4))
def test_what_was_written_is_read_in_the_order_asked_for(
    views, deliver_views, monkeypatch, seed: int, take_share: float
):
    monkeypatch.setattr(module, "batch_rows", lambda dim: 7)
    monkeypatch.setattr(module, "TAKE_SHARE", take_share)
    slides = {"a": 9, "b": 1, "c": 14}
    ViewsWriter(views).commit([deliver_views(name, n, seed=seed) for name, n in slides.items()])
    model, rng = model_of(slides), np.random.default_rng(seed)
    asked = rng.permutation([*model, 5, -7, 2**62])[: 5 + 5 * seed]
    found = read_views(views, asked)
    assert (found.vectors.dtype, found.parameters.dtype) == (np.float16, np.float32)
    assert found.vectors.shape == (len(asked), 3, DIM)
    assert found.parameters.shape == (len(asked), 3, len(PARAMETERS))
    assert found.version == views.dataset().version
    for tile_id, there, made, parameters in zip(asked, found.found, found.vectors, found.parameters, strict=True):
        assert there == (int(tile_id) in model)
        expected = model.get(int(tile_id), (np.zeros((3, DIM)), np.zeros((3, len(PARAMETERS)))))
        np.testing.assert_array_equal(made, expected[0])
        np.testing.assert_array_equal(parameters, expected[1])


@pytest.mark.parametrize("asked", [np.zeros(0, np.int64), np.arange(3)], ids=["nobody", "unknown"])
def test_nothing_is_found_of_tiles_without_views(views: Views, asked: np.ndarray):
    found = read_views(views, asked)
    assert found.vectors.shape == (len(asked), 3, DIM)
    assert not found.found.any()


def test_a_tile_that_lacks_one_of_its_views_is_not_found(views: Views, deliver_views: Deliver):
    ViewsWriter(views).commit([deliver_views("a", 4)])
    ids = ids_of("a", 4)
    views.table.delete(f"tile_id = {ids[1]} AND view = 3")
    found = read_views(views, ids)
    assert found.found.tolist() == [True, False, True, True]
    assert not found.vectors[1].any()
    assert not found.parameters[1].any()


def test_views_of_unreadable_tiles_are_not_there(collection: Collection, views: Views, deliver_views: Deliver):
    delivery = deliver_views("a", 6, lost=(0, 4))
    assert (delivery.rows, delivery.view_rows) == (4, 12)
    ViewsWriter(views).commit([delivery])
    found = read_views(views, ids_of("a", 6))
    assert found.found.tolist() == [False, True, True, True, False, True]
    kept = rows_of(np.array([1, 2, 3, 5]))
    np.testing.assert_array_equal(found.vectors[found.found].reshape(-1, DIM), view_vectors("a", 6)[kept])


def test_rows_are_tile_by_tile_however_embeddings_arrive(views: Views, deliver_views: Deliver):
    ViewsWriter(views).commit([deliver_views("a", 5, block_rows=4, seed=1)])
    table = views.dataset().to_table()
    assert table["tile_id"].to_pylist() == np.repeat(ids_of("a", 5), 3).tolist()
    assert table["view"].to_pylist() == [1, 2, 3] * 5
    assert set(table["slide_id"].to_pylist()) == {"a"}
    assert table.schema.names == ["tile_id", "slide_id", "view", *PARAMETERS, "vector"]
    rows = np.asarray(table["vector"].combine_chunks().flatten()).reshape(-1, DIM)
    np.testing.assert_array_equal(rows, view_vectors("a", 5))


def test_a_block_holds_whole_tiles(views: Views, deliver_views: Deliver):
    delivery = deliver_views("a", 5, block_rows=7)
    ViewsWriter(views).commit([delivery])
    assert [fragment.count_rows() for fragment in views.dataset().get_fragments()] == [6, 6, 3]


def test_vectors_can_be_laid_out_in_a_file(views: Views, deliver_views: Deliver, tmp_path: Path):
    ViewsWriter(views).commit([deliver_views("a", 6, lost=(2,))])
    ids = ids_of("a", 6)[::-1].copy()
    found, plain = read_views(views, ids, memory_map=tmp_path / "views.npy"), read_views(views, ids)
    assert isinstance(found.vectors, np.memmap)
    found.vectors.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "views.npy"), plain.vectors)
    np.testing.assert_array_equal(found.found, plain.found)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_view_that_is_not_finite_names_its_tile(views: Views, deliver_views: Deliver, value: float):
    bad = view_vectors("bad", 4)
    bad[2 * 3 + 1, 5] = value
    ViewsWriter(views).commit([deliver_views("bad", 4, made=bad), deliver_views("good", 2)])
    ids = ids_of("bad", 4)
    with pytest.raises(VectorError, match=f"views of toy: view 2 of tile {ids[2]} holds NaN or infinity .*rm --views"):
        read_views(views, ids)
    assert read_views(views, np.delete(ids, 2)).found.all()


def test_a_version_is_read_as_it_was(views: Views, deliver_views: Deliver):
    ViewsWriter(views).commit([deliver_views("a", 4)])
    version, ids = views.dataset().version, ids_of("a", 4)
    ViewsWriter(views).remove(["a"])
    assert not read_views(views, ids).found.any()
    old = read_views(views, ids, version=version)
    assert old.found.all()
    assert old.version == version


def test_without_views_the_next_step_is_said(store: Store, collection: Collection):
    views = store.views("toy")
    assert (views.exists(), views.slides()) == (False, {})
    with pytest.raises(ViewsNotFoundError, match=r"'toy' has no stored views; `embedstore ingest … --views 4`"):
        read_views(views, np.arange(3))
    with pytest.raises(ViewsNotFoundError):
        views.config()


# -- what the table is ----------------------------------------------------------------------


def test_the_table_says_how_its_views_were_made(store: Store, views: Views):
    again = Store.open(store.uri).views("toy")
    assert again.config() == CONFIG
    assert again.record().extractor.ref.digest == "sha256:1"
    again.create(RECORD.of_views(CONFIG))
    assert len(again) == 0


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (RECORD.of_views(ViewConfig(count=4)), r"views\.count is 3 there and 4 here"),
        (
            RECORD.of_views(ViewConfig(count=3, jpeg=80)),
            r"views\.jpeg is 30 there and 80 here",
        ),
        (
            collection_record(DIM, tiling={"tile_px": 224}).of_views(CONFIG),
            r"tiling\.tile_px is 256 there",
        ),
        (
            collection_record(DIM, digest="sha256:2").of_views(CONFIG),
            r"digest is 'sha256:1' there",
        ),
    ],
)
def test_other_views_are_refused_with_the_difference(views: Views, record: CollectionRecord, said: str):
    with pytest.raises(CollectionMismatchError, match=said + r".*use the same, or .*embedstore rm --views toy"):
        views.create(record)
    assert views.config() == CONFIG


def test_a_table_of_views_is_no_collection(store: Store, views: Views):
    Collection.create(store.uri, "views-toy", RECORD)
    assert store.collection_names() == ["toy", "views-toy"]
    assert views.slides() == {}
    assert not store.views("views-toy").exists()


# -- commits --------------------------------------------------------------------------------


def test_views_are_committed_once_however_often_they_are_delivered(views: Views, deliver_views: Deliver):
    writer, delivery = ViewsWriter(views), deliver_views("a", 4)
    assert writer.commit([delivery]) == ["a"]
    assert writer.commit([delivery, deliver_views("a", 4), deliver_views("b", 2)]) == ["b"]
    assert ViewsWriter(views).commit([delivery]) == []
    assert views.slides() == {"a": 12, "b": 6}


def test_views_are_replaced_at_once(views: Views, deliver_views: Deliver):
    writer = ViewsWriter(views)
    writer.commit([deliver_views("a", 4), deliver_views("b", 2)])
    writer.commit([deliver_views("a", 6, version=1)], replacing=frozenset({"a"}))
    assert views.slides() == {"b": 6, "a": 18}
    found = read_views(views, ids_of("a", 6))
    np.testing.assert_array_equal(found.vectors.reshape(-1, DIM), view_vectors("a", 6, 1))


def test_a_delivery_that_lies_about_its_views_is_refused(views: Views, deliver_views: Deliver):
    lying = dataclasses.replace(deliver_views("a", 3), view_rows=8)
    with pytest.raises(CommitError, match=r"'a', views of toy: its fragments hold 9 rows; expected 8"):
        ViewsWriter(views).commit([lying])
    assert len(views) == 0


def test_compaction_keeps_every_view(views: Views, deliver_views: Deliver):
    writer, slides = ViewsWriter(views), dict.fromkeys("abcdefgh", 3)
    for name, tiles in slides.items():
        writer.commit([deliver_views(name, tiles)])
    writer.compact(keep_s=0)
    assert len(views.dataset().get_fragments()) == 1
    model = model_of(slides)
    found = read_views(views, np.array([*model]))
    np.testing.assert_array_equal(found.vectors, [made for made, _ in model.values()])
    assert writer.commit([deliver_views("a", 3)]) == []


# -- taking out -----------------------------------------------------------------------------


@pytest.fixture
def filled(store: Store, collection: Collection, views: Views, deliver_views: Deliver) -> Store:
    slides = [deliver_views("secret-slide", 4), deliver_views("b", 2)]
    store.ledger.record([SlideRow(slide_id=one.slide_id, path="/x", kind="wsi") for one in slides], [])
    ViewsWriter(views).commit(slides)
    CollectionWriter(collection).commit(slides)
    return store


def test_a_removed_slide_takes_its_views_and_leaves_no_trace_after_compaction(filled: Store):
    assert remove_slides(filled, ["secret-slide"]) == {"toy": 4}
    views = filled.views("toy")
    assert views.slides() == {"b": 6}
    assert not read_views(views, ids_of("secret-slide", 4)).found.any()
    compact(filled, keep_s=0)
    files = [path for path in Path(views.table.uri).rglob("*") if path.is_file()]
    assert not [path for path in files if b"secret-slide" in path.read_bytes()]
    assert read_views(filled.views("toy"), ids_of("b", 2)).found.all()


def test_views_alone_can_be_taken_out_and_made_otherwise(filled: Store):
    assert remove_views(filled, "toy") == 18
    views = filled.views("toy")
    assert not views.exists()
    assert filled.collection("toy").slides() == {"secret-slide": 4, "b": 2}
    with pytest.raises(ViewsNotFoundError):
        remove_views(filled, "toy")
    views.create(RECORD.of_views(ViewConfig(count=5)))
    assert views.config().count == 5


def test_views_are_not_taken_out_from_under_a_run(filled: Store):
    with filled.lease("toy"), pytest.raises(StoreBusyError):
        remove_views(Store.open(filled.uri), "toy")
    assert filled.views("toy").exists()
