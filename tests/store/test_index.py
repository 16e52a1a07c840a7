"""The index of a collection: built, kept up, asked, and free of what was removed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedstore.errors import ConfigError, VectorError
from embedstore.store import (
    Collection,
    CollectionWriter,
    FragmentWriter,
    IndexConfig,
    IndexSearchConfig,
    Store,
    build_index,
    choose_index,
    drop_index,
    index_facts,
    keep_index,
    nearest_tiles,
)
from tests.collection_records import collection_record

pytestmark = pytest.mark.slow

DIM = 32
RECORD = collection_record(DIM)
SLIDES, TILES = 12, 250


def clustered(rng: np.random.Generator, n: int) -> np.ndarray:
    """Vectors around twenty centres, as tissue has few textures."""
    centres = np.random.default_rng(7).normal(size=(20, DIM))
    return (centres[rng.integers(0, 20, n)] + 0.4 * rng.normal(size=(n, DIM))).astype(np.float16)


def add(collection: Collection, vectors: dict[str, np.ndarray], *, replacing: bool = False) -> None:
    deliveries = []
    for slide_id, theirs in vectors.items():
        n = len(theirs)
        writer = FragmentWriter(
            table_uri=collection.table.uri,
            schema=collection.schema,
            collection=collection.name,
            slide_id=slide_id,
            xy_l0=np.stack([np.arange(n) * 512, np.zeros(n)], axis=1).astype(np.int32),
            edge_l0=512,
            names=None,
            tissue=np.linspace(0, 1, n, dtype=np.float32),
        )
        writer.put(np.arange(n), theirs)
        deliveries.append(writer.finish())
    CollectionWriter(collection).commit(deliveries, replacing=frozenset(vectors if replacing else ()))


@pytest.fixture
def large(store: Store) -> Collection:
    """Three thousand tiles, with an index of sixteen partitions."""
    made = Collection.create(store.uri, "large", RECORD)
    rng = np.random.default_rng(0)
    add(made, {f"slide-{i:02d}": clustered(rng, TILES) for i in range(SLIDES)})
    choose_index(made, IndexConfig(kind="ivf_rq", partitions=16))
    return made


def reference(collection: Collection, vector: np.ndarray, k: int, where: str | None = None) -> list[int]:
    """The nearest tiles, by NumPy over everything."""
    rows = collection.tiles(where=where, columns=["tile_id", "vector"])
    vectors = np.array(rows["vector"].to_pylist(), np.float64).reshape(-1, DIM)
    distance = 1 - vectors @ vector / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vector)
    return rows["tile_id"].to_numpy()[np.argsort(distance, kind="stable")[:k]].tolist()


def recall(collection: Collection, *, where: str | None = None, k: int = 10, **settings: int) -> float:
    rng = np.random.default_rng(1)
    shares = []
    for vector in clustered(rng, 30).astype(np.float64):
        found = nearest_tiles(
            collection, vector, k=k, where=where, index_search=IndexSearchConfig(**{"refine_factor": 20} | settings)
        )
        wanted = reference(collection, vector, k, where)
        shares.append(len(set(found["tile_id"].to_pylist()) & set(wanted)) / len(wanted))
    return float(np.mean(shares))


def test_an_index_finds_what_comparing_everything_finds(large: Collection) -> None:
    facts = index_facts(large)
    assert (facts.kind, facts.rows, facts.indexed, facts.partitions) == ("IVF_RQ", 3000, 3000, 16)
    assert recall(large, nprobes=8) >= 0.95
    # The index answers: with one partition it misses some. Its k-means has no seed: .76 to .88 in 12 builds.
    assert recall(large, nprobes=1, refine_factor=1) < 0.97


def test_distances_are_cosine(large: Collection) -> None:
    vector = clustered(np.random.default_rng(3), 1)[0].astype(np.float64)
    found = nearest_tiles(large, 5 * vector, k=7, columns=["tile_id", "vector"])
    vectors = np.array(found["vector"].to_pylist(), np.float64)
    expected = 1 - vectors @ vector / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vector)
    np.testing.assert_allclose(found["distance"].to_numpy(), expected, atol=1e-3)
    assert found["distance"].to_numpy().tolist() == sorted(found["distance"].to_pylist())


@pytest.mark.parametrize(
    "where",
    ["slide_id = 'slide-03'", "slide_id != 'slide-03'", "tissue < 0.01", "tissue < 0.5", "tissue < 0 AND x > 9"],
)  # fmt: skip
def test_filters_hold_before_the_search(large: Collection, where: str) -> None:
    if not large.dataset().count_rows(where):
        assert nearest_tiles(large, np.ones(DIM), k=5, where=where).num_rows == 0
        return
    assert recall(large, where=where, nprobes=16) >= 0.95
    found = nearest_tiles(large, np.ones(DIM), k=20, where=where)
    assert set(found["tile_id"].to_pylist()) <= set(large.tiles(where=where)["tile_id"].to_pylist())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), k=st.integers(1, 40), limit=st.floats(0.004, 0.2))
def test_few_rows_are_compared_exactly(compared: Collection, seed: int, k: int, limit: float) -> None:
    vector = clustered(np.random.default_rng(seed), 1)[0].astype(np.float64)
    where = f"tissue <= {limit}"
    found = nearest_tiles(compared, vector, k=k, where=where)
    exact = nearest_tiles(compared, vector, k=k, where=where, index_search=IndexSearchConfig(exact=True))
    np.testing.assert_allclose(found["distance"].to_numpy(), exact["distance"].to_numpy(), atol=1e-3)
    assert found.column_names == exact.column_names


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    store = Store.create(tmp_path_factory.mktemp("compared") / "store")
    made = Collection.create(store.uri, "c", RECORD)
    add(made, {f"s{i}": clustered(np.random.default_rng(i), TILES) for i in range(6)})
    build_index(made, IndexConfig(partitions=8))
    return made


def test_new_rows_are_found_before_they_are_indexed(large: Collection) -> None:
    strange = np.zeros((3, DIM), np.float16)
    strange[:, 0] = [9, 8, 7]
    strange[:, 1] = [0, 1, 2]
    add(large, {"new": strange})
    assert index_facts(large).indexed == 3000
    found = nearest_tiles(large, strange[0], k=3)
    assert found["slide_id"].to_pylist() == ["new"] * 3


def test_removed_slides_are_gone_at_once(large: Collection) -> None:
    vector = clustered(np.random.default_rng(5), 1)[0]
    before = nearest_tiles(large, vector, k=50)["slide_id"].to_pylist()
    gone = before[0]
    CollectionWriter(large).remove([gone])
    found = nearest_tiles(large, vector, k=50)
    assert gone not in found["slide_id"].to_pylist()
    assert found.num_rows == 50
    assert nearest_tiles(large, vector, k=50, where=f"slide_id = '{gone}'").num_rows == 0


def test_removed_slides_leave_the_files_with_their_names(large: Collection) -> None:
    CollectionWriter(large).remove(["slide-04"])
    CollectionWriter(large).compact(keep_s=0, purge=True)
    with_name = [
        path for path in Path(large.table.uri).rglob("*") if path.is_file() and b"slide-04" in path.read_bytes()
    ]
    assert with_name == []
    assert b"slide-05" in b"".join(p.read_bytes() for p in Path(large.table.uri).rglob("*") if p.is_file())
    assert index_facts(large).indexed == 2750
    assert recall(large, nprobes=8) >= 0.95


def test_compaction_keeps_the_index(store: Store) -> None:
    made = Collection.create(store.uri, "grown", RECORD)
    rng = np.random.default_rng(0)
    add(made, {f"first-{i}": clustered(rng, TILES) for i in range(6)})
    choose_index(made, IndexConfig(kind="ivf_rq", partitions=8))
    for i in range(5):
        add(made, {f"later-{i}": clustered(rng, TILES)})
    CollectionWriter(made).compact(keep_s=0)
    facts = index_facts(made)
    assert (facts.rows, facts.indexed) == (2750, 2750)
    assert recall(made, nprobes=facts.partitions) >= 0.95
    few = {name: made.dataset().count_rows(f"slide_id = '{name}'") for name in ("first-3", "later-4")}
    assert few == {"first-3": TILES, "later-4": TILES}


def test_an_index_is_chosen_by_size(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Collection.create(store.uri, "sized", RECORD)
    add(made, {"a": clustered(np.random.default_rng(0), 400)})
    assert keep_index(made).kind == "flat"
    assert IndexConfig().wants_index(50_001)
    assert not IndexConfig().wants_index(50_000)
    assert not IndexConfig(kind="flat").wants_index(10**9)
    assert not IndexConfig(kind="ivf_rq").wants_index(0)
    choose_index(made, IndexConfig(flat_rows=300))
    assert index_facts(made).kind == "IVF_RQ"
    choose_index(made, IndexConfig(kind="flat"))
    assert keep_index(made).kind == "flat"  # the choice is kept


def test_an_index_is_built_anew_when_much_is_new(large: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr(
        "embedstore.store.index.build_index", lambda collection, config, **_: built.append(1) or index_facts(collection)
    )
    rng = np.random.default_rng(9)
    add(large, {"some": clustered(rng, 300)})
    keep_index(large)  # a few new rows stay outside
    assert (built, index_facts(large).indexed) == ([], 3000)
    monkeypatch.setattr("embedstore.store.index.LEFT_ROWS", 100)
    keep_index(large)  # these are added by Lance
    assert (built, index_facts(large).indexed) == ([], 3300)
    add(large, {"more": clustered(rng, 700)})
    keep_index(large, busy=True)
    assert built == []  # not while slides are coming
    keep_index(large)
    assert built == [1]


def test_vectors_without_direction_do_not_break_the_index(store: Store) -> None:
    made = Collection.create(store.uri, "odd", RECORD)
    vectors = clustered(np.random.default_rng(0), 600)
    vectors[::50] = 0
    vectors[7], vectors[8, 3] = np.nan, np.inf  # of a half that overflowed
    add(made, {"a": vectors})
    facts = build_index(made, IndexConfig(partitions=8))
    assert facts.rows == 600
    found = nearest_tiles(made, vectors[1], k=600, index_search=IndexSearchConfig(nprobes=8))
    assert found.num_rows >= 580
    assert np.isfinite(found["distance"].to_numpy()).all()
    few = nearest_tiles(made, vectors[1], k=600, where="tissue < 0.2")
    assert np.isfinite(few["distance"].to_numpy()).all()


def test_nothing_but_zeros_gets_no_index(store: Store) -> None:
    made = Collection.create(store.uri, "zeros", RECORD)
    assert build_index(made).kind == "flat"  # no row at all
    add(made, {"a": np.zeros((100, DIM), np.float16)})
    assert build_index(made).kind == "flat"


def test_dropping_an_index(large: Collection) -> None:
    drop_index(large)
    drop_index(large)
    assert index_facts(large).kind == "flat"
    assert recall(large) == 1.0


def test_lancedb_uses_the_same_index(large: Collection, store: Store) -> None:
    import lancedb

    table = lancedb.connect(store.uri).open_table(store.table_name("large"))
    vector = clustered(np.random.default_rng(11), 1)[0].astype(np.float32)
    query = table.search(vector).distance_type("cosine").nprobes(16).refine_factor(10).limit(10)
    assert query.to_arrow()["tile_id"].to_pylist() == reference(large, vector.astype(np.float64), 10)
    assert "ANN" in query.explain_plan()


@pytest.mark.parametrize(("dim", "bits"), [(32, 2), (120, 2), (128, 1), (1536, 1)])
def test_short_vectors_have_more_bits(dim: int, bits: int) -> None:
    assert IndexConfig().bits_for(dim) == bits
    assert IndexConfig(bits=5).bits_for(dim) == 5


@pytest.mark.parametrize(("rows", "partitions"), [(60_000, 245), (1_000_000, 1000), (10**9, 4096), (500, 7), (1, 1)])
def test_partitions_follow_the_rows(rows: int, partitions: int) -> None:
    assert IndexConfig().partitions_for(rows) == partitions


def test_bad_questions_are_named(large: Collection) -> None:
    with pytest.raises(ConfigError, match="k is 0; expected 1 or more"):
        nearest_tiles(large, np.ones(DIM), k=0)
    with pytest.raises(VectorError, match=r"vectors of 32 values; the query has shape \(31,\)"):
        nearest_tiles(large, np.ones(31), k=1)
    for bad in (np.zeros(DIM), np.full(DIM, np.nan)):
        with pytest.raises(VectorError, match="has no direction"):
            nearest_tiles(large, bad, k=1)
    with pytest.raises(ConfigError, match=r"'cohort = 1'.*No field named cohort.*the columns are tile_id, slide_id"):
        nearest_tiles(large, np.ones(DIM), k=1, where="cohort = 1")


@pytest.mark.parametrize(
    "wrong", [{"kind": "hnsw"}, {"partitions": 0}, {"bits": 0}, {"sample_rows": 1}, {"flat_rows": -1}]
)
def test_bad_choices_are_named(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="expected"):
        IndexConfig(**wrong)


def test_readers_see_no_half_written_slide(store: Store) -> None:
    """Rows of whole slides or none, whatever thread asks while slides are committed and the index is built."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    made = Collection.create(store.uri, "busy", RECORD)
    rng = np.random.default_rng(0)
    add(made, {"first": clustered(rng, TILES)})
    done = Event()

    def ask(seed: int) -> int:
        collection, asked = Collection(store.uri, "busy") if seed % 2 else made, 0
        vector = clustered(np.random.default_rng(seed), 1)[0]
        while not done.is_set() or not asked:
            found = nearest_tiles(
                collection, vector, k=100_000, columns=["slide_id"], index_search=IndexSearchConfig(nprobes=64)
            )
            counts: dict[str, int] = {}
            for slide_id in found["slide_id"].to_pylist():
                counts[slide_id] = counts.get(slide_id, 0) + 1
            assert set(counts.values()) == {TILES}, counts
            asked += 1
        return asked

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(ask, seed) for seed in range(4)]
        for i in range(8):
            add(made, {f"slide-{i}": clustered(rng, TILES)})
            if i in (3, 5):
                build_index(made, IndexConfig(partitions=8))
            if i == 6:
                CollectionWriter(made).compact(keep_s=3600)
        done.set()
        assert all(reader.result(timeout=300) >= 1 for reader in readers)


@pytest.mark.parametrize("dim", [12, 81])
def test_vectors_of_any_length_have_an_index(store: Store, dim: int):
    """Lance's IVF_RQ takes multiples of 8 alone, which the built-in features are not."""
    made = Collection.create(store.uri, "odd", collection_record(dim))
    rng = np.random.default_rng(0)
    vectors = {f"s{i}": rng.normal(size=(600, dim)).astype(np.float16) for i in range(5)}
    add(made, dict(list(vectors.items())[:3]))
    facts = choose_index(made, IndexConfig(kind="ivf_rq", partitions=8))
    assert (facts.kind, facts.indexed, facts.partitions, facts.bits) == ("IVF_FLAT", 1800, 8, 0)
    add(made, dict(list(vectors.items())[3:]))
    assert keep_index(made).indexed == 3000
    every = made.tiles(columns=["tile_id", "vector"])
    rows = np.array(every["vector"].to_pylist(), np.float64)
    query = rows[2999] + 0.1
    order = np.argsort(1 - rows @ query / np.linalg.norm(rows, axis=1), kind="stable")[:10]
    found = nearest_tiles(made, query, k=10, index_search=IndexSearchConfig(nprobes=8))
    assert found["tile_id"].to_pylist() == every["tile_id"].to_numpy()[order].tolist()
