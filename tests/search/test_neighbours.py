"""The nearest tiles of a query, against NumPy over everything."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedstore.errors import ConfigError, QueryError
from embedstore.search import Hits, Query, SearchConfig, neighbours, search, similar_slides, tile_query, to_query
from embedstore.search.diversity import marginal_relevance
from embedstore.search.hits import HIT_COLUMNS
from embedstore.store import Collection, CollectionWriter, IndexConfig, Label, Store, build_index
from tests.marks import examples
from tests.search.planted import DIM, noise, plant

SLIDES = {f"s{i}": noise(40, i) + 3 for i in range(8)}
PATIENTS = {f"s{i}": f"P{i // 2}" for i in range(7)} | {"s7": None}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Collection]:
    return plant(tmp_path_factory.mktemp("neighbours"), SLIDES, patients=PATIENTS)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Collection]:
    store, collection = plant(tmp_path_factory.mktemp("indexed"), SLIDES, patients=PATIENTS)
    build_index(collection, IndexConfig(partitions=4, bits=8))
    return store, collection


def everything(collection: Collection, query: Query) -> list[tuple[float, str, int]]:
    """(distance, slide, tile) of all tiles but the query's own, nearest first."""
    rows = collection.tiles(columns=["slide_id", "tile_id", "vector"])
    vectors = np.array(rows["vector"].to_pylist(), np.float64)
    distance = 1 - vectors @ query.vector / np.linalg.norm(vectors, axis=1)
    own = set(query.tile_ids.tolist())
    ranked = sorted(zip(distance, rows["slide_id"].to_pylist(), rows["tile_id"].to_pylist(), strict=True))
    return [row for row in ranked if row[2] not in own]


def a_tile(collection: Collection, slide_id: str, number: int = 3) -> int:
    return collection.tiles(where=f"slide_id = '{slide_id}'", columns=["tile_id"])["tile_id"][number].as_py()


@pytest.mark.parametrize("which", ["scene", "indexed"])
def test_finds_the_nearest_without_the_query_itself(which: str, request: pytest.FixtureRequest) -> None:
    store, collection = request.getfixturevalue(which)
    query = tile_query(store, collection, a_tile(collection, "s2"))
    hits = search(store, collection, query, SearchConfig(k=12))
    expected = everything(collection, query)[:12]
    assert hits.table["tile_id"].to_pylist() == [tile for _, _, tile in expected]
    np.testing.assert_allclose(hits.table["distance"].to_numpy(), [d for d, _, _ in expected], atol=1e-3)
    assert hits.table["rank"].to_pylist() == list(range(1, 13))
    assert hits.table["patient"].to_pylist() == [PATIENTS[slide] for _, slide, _ in expected]
    assert tuple(hits.table.column_names) == HIT_COLUMNS
    assert hits.note == ""


def test_more_may_be_asked_for_than_there_are(scene: tuple[Store, Collection]) -> None:
    store, collection = scene
    query = tile_query(store, collection, a_tile(collection, "s2"))
    assert len(search(store, collection, query, SearchConfig(k=10**15))) == 8 * 40 - 1
    assert len(similar_slides(store, collection, "s2", k=10**30)) == 7


@pytest.mark.parametrize("same", ["slide", "patient"])
def test_leaves_out_the_same_slide_or_patient(scene: tuple[Store, Collection], same: str) -> None:
    store, collection = scene
    query = tile_query(store, collection, a_tile(collection, "s2"))
    hits = search(store, collection, query, SearchConfig(k=300, exclude_same=same))
    gone = {"s2"} if same == "slide" else {"s2", "s3"}
    expected = [tile for _, slide, tile in everything(collection, query) if slide not in gone]
    assert hits.table["tile_id"].to_pylist() == expected
    assert hits.note == f"{len(expected)} of 300 neighbours were found: no more tiles pass"


@settings(max_examples=examples(25), deadline=None)
@given(k=st.integers(1, 30), most=st.integers(1, 5), slide=st.integers(0, 7))
def test_takes_so_many_of_a_slide(scene: tuple[Store, Collection], k: int, most: int, slide: int) -> None:
    store, collection = scene
    query = tile_query(store, collection, a_tile(collection, f"s{slide}"))
    hits = search(store, collection, query, SearchConfig(k=k, per_slide=most))
    expected: list[int] = []
    seen: dict[str, int] = {}
    for _, name, tile in everything(collection, query):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= most:
            expected.append(tile)
    assert hits.table["tile_id"].to_pylist() == expected[:k]


@pytest.mark.slow
@pytest.mark.parametrize("listed", [20_000, 5])
def test_a_long_list_of_tiles_is_looked_up_in_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    store, collection = plant(tmp_path, SLIDES, patients=PATIENTS)
    rows = collection.tiles(columns=["tile_id", "slide_id", "x", "y", "edge_l0"]).to_pylist()
    labelled = [row for row in rows if row["tile_id"] % 5 == 0]
    store.labels.record(
        [
            Label(
                task="t", label="yes", slide_id=row["slide_id"], kind="tile", x=row["x"], y=row["y"],
                edge_l0=row["edge_l0"], author="a",
            )
            for row in labelled
        ]
    )  # fmt: skip
    monkeypatch.setattr(neighbours, "LISTED_IDS", listed)
    query = tile_query(store, collection, a_tile(collection, "s1"))
    hits = search(store, collection, query, SearchConfig(k=9, where="label.t = 'yes'"))
    allowed = {row["tile_id"] for row in labelled}
    expected = [tile for _, _, tile in everything(collection, query) if tile in allowed][:9]
    assert hits.table["tile_id"].to_pylist() == expected


@pytest.mark.parametrize("diverse", [0.0, 0.2])
def test_what_passes_may_be_far_from_the_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, diverse: float) -> None:
    """More tiles are nearer than are fetched: those that do not pass the filter, or the query's own."""
    store, collection = plant(tmp_path, {"near": noise(90, 1), "far": -noise(60, 2)})
    store.labels.record([Label(task="t", label="yes", kind="slide", slide_id="far", author="a")])
    monkeypatch.setattr(neighbours, "LISTED_IDS", 20)
    monkeypatch.setattr(neighbours, "MAX_FETCHED", 70)
    one = tile_query(store, collection, a_tile(collection, "near"))
    all_near = collection.tiles(where="slide_id = 'near'", columns=["tile_id"])["tile_id"].to_numpy()
    many = dataclasses.replace(one, tile_ids=all_near)
    far = [tile for _, slide, tile in everything(collection, one) if slide == "far"]
    for query, where in ((one, "label.t = 'yes'"), (many, None), (many, "label.t = 'yes'")):
        hits = search(store, collection, query, SearchConfig(k=5, where=where, diverse=diverse))
        if not diverse:
            assert hits.table["tile_id"].to_pylist() == far[:5]
        assert set(hits.table["slide_id"].to_pylist()) == {"far"} and (len(hits), hits.note) == (5, "")
    own = dataclasses.replace(one, tile_ids=np.array(far))
    assert search(store, collection, own, SearchConfig(k=5, where="label.t = 'yes'")).note.endswith(
        "no more tiles pass"
    )
    monkeypatch.setattr(neighbours, "MAX_LISTED", 40)
    told = search(store, collection, many, SearchConfig(k=5)).note
    assert told == "0 of 5 neighbours were found: looked at the nearest 70"


def test_filters_reach_slides_and_tiles(scene: tuple[Store, Collection]) -> None:
    store, collection = scene
    query = tile_query(store, collection, a_tile(collection, "s0"))
    hits = search(store, collection, query, SearchConfig(k=20, where="patient IN ('P1', 'P2') AND x > 2000"))
    places = {row["tile_id"]: row for row in collection.tiles(columns=["tile_id", "x"]).to_pylist()}
    expected = [
        tile
        for _, slide, tile in everything(collection, query)
        if PATIENTS[slide] in ("P1", "P2") and places[tile]["x"] > 2000
    ]
    assert hits.table["tile_id"].to_pylist() == expected[:20]
    assert len(search(store, collection, query, SearchConfig(where="patient = 'nobody'"))) == 0


def test_neighbours_may_be_made_to_differ(scene: tuple[Store, Collection]) -> None:
    store, collection = scene
    query = tile_query(store, collection, a_tile(collection, "s0"))
    nearest = search(store, collection, query, SearchConfig(k=8))
    diverse = search(store, collection, query, SearchConfig(k=8, diverse=0.7))

    def likeness(hits: Hits) -> float:
        ids = ", ".join(map(str, hits.table["tile_id"].to_pylist()))
        vectors = np.array(collection.tiles(where=f"tile_id IN ({ids})")["vector"].to_pylist(), np.float64)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return float((unit @ unit.T)[~np.eye(len(unit), dtype=bool)].mean())

    assert likeness(diverse) < likeness(nearest) - 0.005
    assert diverse.table["tile_id"][0] == nearest.table["tile_id"][0]
    among = search(store, collection, query, SearchConfig(k=80))
    assert set(diverse.table["tile_id"].to_pylist()) <= set(among.table["tile_id"].to_pylist())


@settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 12), k=st.integers(1, 12), weight=st.floats(0, 1))
def test_marginal_relevance_is_greedy(seed: int, n: int, k: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(n, 4))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    distance = np.sort(rng.uniform(0, 1, n))
    chosen = marginal_relevance(unit, distance, k, weight=weight).tolist()
    assert len(chosen) == len(set(chosen)) == min(n, k)
    assert chosen[0] == 0
    for at in range(1, len(chosen)):

        def score(i: int, before: list[int] = chosen[:at]) -> float:
            return (1 - weight) * (1 - distance[i]) - weight * max(float(unit[i] @ unit[j]) for j in before)

        best = max(score(i) for i in range(n) if i not in chosen[:at])
        assert score(chosen[at]) == pytest.approx(best)
    if weight == 0:
        assert chosen == list(range(len(chosen)))


def test_shows_columns_of_slides(scene: tuple[Store, Collection]) -> None:
    store, collection = scene
    query = tile_query(store, collection, a_tile(collection, "s0"))
    hits = search(store, collection, query, SearchConfig(k=3, columns=("kind",)))
    assert hits.table.column_names[-1] == "kind"
    twice = search(store, collection, query, SearchConfig(k=3, columns=("kind", "kind")))
    assert twice.table.equals(hits.table)
    for bad in ("cohort", "patient"):
        with pytest.raises(ConfigError, match=f"no column '{bad}'.*kind"):
            search(store, collection, query, SearchConfig(columns=(bad,)))


def test_bad_questions_are_named(scene: tuple[Store, Collection], tmp_path: Path) -> None:
    store, collection = scene
    query = tile_query(store, collection, a_tile(collection, "s7"))
    with pytest.raises(QueryError, match=r"patient of slide 's7' is not known.*--exclude-same slide"):
        search(store, collection, query, SearchConfig(exclude_same="patient"))
    with pytest.raises(QueryError, match="is of no slide"):
        search(store, collection, to_query(store, collection, np.ones(DIM)), SearchConfig(exclude_same="slide"))
    with pytest.raises(ConfigError, match="no column 'foo'"):
        search(store, collection, query, SearchConfig(where="foo = 1"))
    for wrong in ({"k": 0}, {"per_slide": 0}, {"diverse": 1.5}, {"exclude_same": "cohort"}):
        with pytest.raises(ConfigError, match="expected"):
            SearchConfig(**wrong)
    emptied, other = plant(tmp_path, {"only": SLIDES["s0"]}, patients={"only": "P"})
    lonely = tile_query(emptied, other, a_tile(other, "only"))
    CollectionWriter(other).remove(["only"])
    with pytest.raises(QueryError, match="has no tiles"):
        search(emptied, other, lonely)
