"""A hot index answers as Lance does, for every way to search."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedstore.errors import ConfigError
from embedstore.search import Hits, SearchConfig, search, tile_query, vector_query
from embedstore.search.hot import Passing, WarmCollection, changes, codes, hot_index
from embedstore.search.hot.filtering import passing_rows
from embedstore.search_config import IndexSearchConfig
from embedstore.store import Collection, Label, Store
from tests.marks import examples
from tests.search.planted import DIM, noise, plant

SLIDES = {f"s{i}": noise(40, i) + 3 for i in range(8)} | {"ready": noise(30, 9) + 3}
PATIENTS = {f"s{i}": f"P{i // 2}" for i in range(7)} | {"s7": None}
WHERES = (
    None, "slide_id = 's3'", "patient = 'P1'", "patient IS NULL", "tissue > 0.5 AND x >= 1024", "label.tumour = 'yes'",
    "patient <> 'P0' AND label.tumour IS NULL", "x < 0", "name IS NOT NULL",
)  # fmt: skip

Scene = tuple[Store, Collection, WarmCollection]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A collection with every kind of row, one of them without direction; its codes are of many tiles, and searched."""
    folder = tmp_path_factory.mktemp("hot")
    slides = dict(SLIDES)
    slides["s5"] = slides["s5"].copy()
    slides["s5"][7] = 0
    store, collection = plant(folder, slides, patients=PATIENTS, named=frozenset(["ready"]))
    store.labels.record([_label("tumour", "yes", "s3", 2048)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "FLAT_ROWS", 50)
        patch.setattr(hot_index, "FEW_ROWS", 60)
        patch.setattr(changes, "PROBES", ())  # everything is looked at, as codes of so few rows are coarse
        patch.setattr(changes, "CANDIDATES", (400,))
        warm = WarmCollection(collection, root=folder / "cache")
        warm.wait(lambda progress: None)
        assert warm.facts().state == "ready" and warm.facts().tiles == 350
        yield store, collection, warm
        warm.close()


def _label(task: str, label: str, slide_id: str, edge: int) -> Label:
    """Of the tiles whose centre is near the corner of the slide."""
    return Label(task=task, label=label, slide_id=slide_id, kind="tile", x=0, y=0, edge_l0=edge, author="a")


def told(hits: Hits) -> list[tuple[Any, ...]]:
    """The rows without ranks; tiles at one distance may come in either order, and the last of them may be another."""
    rows = [tuple(row.values())[1:] for row in hits]
    return sorted((row for row in rows if row[0] < rows[-1][0]), key=lambda row: row[:2])


@pytest.mark.slow
@settings(max_examples=examples(60), deadline=None)
@given(
    tile=st.integers(0, 349),
    config=st.fixed_dictionaries(
        {"k": st.sampled_from([1, 3, 10, 60, 400, 5000]), "where": st.sampled_from(WHERES)},
        optional={
            "exclude_same": st.just("slide"), "per_slide": st.integers(1, 3), "diverse": st.sampled_from([0.3, 1.0]),
            "columns": st.just(("kind",)),
        },
    ),
)  # fmt: skip
def test_the_same_answer_as_without(scene: Scene, tile: int, config: dict[str, Any]):
    store, collection, warm = scene
    rows = collection.tiles(columns=["tile_id", "vector"])
    if not any(rows["vector"][tile].as_py()):
        return
    query = tile_query(store, collection, rows["tile_id"][tile].as_py(), tile_of=warm.tile)
    hot = search(store, collection, query, SearchConfig(**config), warm=warm)
    cold = search(store, collection, tile_query(store, collection, int(query.tile_ids[0])), SearchConfig(**config))
    assert hot.table.schema == cold.table.schema and hot.note == cold.note
    assert hot.table["distance"].to_pylist() == cold.table["distance"].to_pylist()
    assert told(hot) == told(cold)


def test_searches_go_by_the_codes_and_without_lance(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    store, collection, warm = scene
    for name in ("nearest_tiles", "select_tiles"):
        monkeypatch.setattr(f"embedstore.search.neighbours.{name}", None)
    query = vector_query(collection, np.ones(DIM))
    assert len(search(store, collection, query, SearchConfig(k=20), warm=warm)) == 20
    index = warm.index_at(collection.dataset().version)
    assert index is not None and index.codes.partitions == 19 and len(index.codes) == 349


def test_another_effort_than_the_default_is_left_to_the_index_of_the_collection(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    store, collection, warm = scene
    monkeypatch.setattr(hot_index.HotIndex, "nearest", None)
    query = vector_query(collection, np.ones(DIM))
    assert (
        len(search(store, collection, query, SearchConfig(index_search=IndexSearchConfig(exact=True)), warm=warm)) == 10
    )


def test_a_filter_is_forgotten_when_what_decides_it_changes(scene: Scene):
    store, collection, warm = scene
    pinned = collection.pinned()
    index = warm.index_at(pinned.dataset().version)
    assert index is not None
    where = "label.stroma IS NULL OR label.stroma = 'yes'"
    with pytest.raises(ConfigError, match="stroma"):
        passing_rows(index, store, pinned, where)
    label = _label("stroma", "no", "s1", 9000)
    store.labels.record([label])
    first = passing_rows(index, store, pinned, where)
    assert isinstance(first, Passing) and first.count == 350 - 1 - 40
    assert passing_rows(index, store, pinned, where) is first
    label = _label("stroma", "no", "s2", 9000)
    store.labels.record([label])
    again = passing_rows(index, store, pinned, where)
    assert again is not None and again.count == 350 - 1 - 80


def test_a_filter_that_cannot_be_understood_is_refused_as_before(scene: Scene):
    store, collection, warm = scene
    query = vector_query(collection, np.ones(DIM))
    said = []
    for kept in (warm, None):
        with pytest.raises(ConfigError) as refused:
            search(store, collection, query, SearchConfig(where="nothing = 1"), warm=kept)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_inner_products_are_those_of_float32():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2500, 24)).astype(np.float16)
    query = rng.normal(size=24).astype(np.float32)
    rows = np.sort(rng.choice(2500, 2100, replace=False))
    found = codes.Comparison(24).products(vectors, rows, query)
    np.testing.assert_allclose(found, vectors[rows].astype(np.float32) @ query, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dim", [1, 7, 64, 130, 200])
def test_vectors_of_any_dimension_have_codes(dim: int):
    rng = np.random.default_rng(dim)
    vectors = rng.normal(size=(400, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "FLAT_ROWS", 100)
        made = codes.Codes.trained(vectors, rows=400, threads=1)
    full = made.changed(removed=np.empty(0, np.int64), added=[(np.arange(400), vectors)], threads=1)
    found = full.search(vectors[:20], 40, probes=full.partitions)
    assert (found == np.arange(20)[:, None]).any(axis=1).all()
