"""Searches for many queries at once find what a search for each finds."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import embedstore
from embedstore.errors import ConfigError, QueryError, TileNotFoundError, VectorError
from embedstore.search.hot import changes, codes, hot_index
from tests.marks import slow
from tests.search.planted import DIM, noise, plant

PATIENTS = {f"s{i}": f"P{i // 2}" for i in range(5)}


def quiet(progress: embedstore.progress.Progress) -> None:
    pass


@pytest.fixture(scope="module", params=["cold", "hot"])
def collection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("many")
    store, _ = plant(folder, {f"s{i}": noise(30, i) for i in range(6)}, patients=PATIENTS)
    chosen = embedstore.open(store.uri).collection()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "FLAT_ROWS", 50)
        patch.setattr(hot_index, "FEW_ROWS", 80)
        patch.setattr(changes, "PROBES", ())  # everything is looked at, as codes of so few rows are coarse
        patch.setattr(changes, "CANDIDATES", (200,))
        if request.param == "hot":
            chosen.warm(folder=folder / "cache", on_progress=quiet)
            patch.setattr("embedstore.search.many.NeighbourSearch", None)
        yield chosen
        chosen.cool()


@pytest.mark.parametrize(
    "settings",
    [{}, slow({"k": 200}), slow({"exclude_same": "slide"}),
     {"exclude_same": "patient", "where": "patient IS NOT NULL"}, {"where": "slide_id IN ('s1', 's2')", "k": 7},
     slow({"where": "slide_id <> 's1' AND x < 2000"}), {"where": "x < 0"}, slow({"columns": ["kind"]})],
)  # fmt: skip
def test_of_tiles_as_of_each(collection: embedstore.Collection, settings: dict[str, Any]):
    tiles = collection.tiles(where="slide_id <> 's5'")["tile_id"][::11]
    found = collection.search_many(tiles, on_progress=quiet, **settings).to_arrow()
    assert found.column_names[:3] == ["query", "query_tile_id", "rank"]
    for number, tile in enumerate(tiles):
        each = collection.search(tile, **settings).to_arrow()
        mine = found.filter(pa.compute.equal(found["query"], number))
        assert set(mine["query_tile_id"].to_pylist()) <= {tile}
        mine = mine.drop_columns(["query", "query_tile_id"])
        np.testing.assert_allclose(mine["distance"].to_numpy(), each["distance"].to_numpy(), atol=2e-7)
        assert mine.drop_columns(["distance"]).equals(each.drop_columns(["distance"]))
        assert mine.schema == each.schema


@pytest.mark.parametrize("form", ["array", *map(slow, ("float64", "lists", "arrow", "npy", "parquet", "pandas"))])
def test_vectors_come_in_many_forms(collection: embedstore.Collection, form: str, tmp_path: Path):
    vectors = np.random.default_rng(0).normal(size=(9, DIM)).astype(np.float32)
    table = pa.table({"vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM)})
    source: Any = {"array": vectors, "float64": vectors.astype(float), "lists": vectors.tolist(), "arrow": table}.get(
        form
    )
    if form == "npy":
        np.save(source := tmp_path / "queries.npy", vectors)
    elif form == "parquet":
        pq.write_table(table, source := tmp_path / "queries.parquet")
    elif form == "pandas":
        source = table.to_pandas()
    found = collection.search_many(source, k=3, on_progress=quiet)
    assert found["query"] == [n for n in range(9) for _ in range(3)] and found["rank"] == [1, 2, 3] * 9
    assert "query_tile_id" not in found.column_names
    assert found["tile_id"] == [tile for vector in vectors for tile in collection.search(vector, k=3)["tile_id"]]


@pytest.mark.parametrize("form", ["csv", "tiles", *map(slow, ("parquet", "npy", "numpy"))])
def test_tiles_come_in_many_forms(collection: embedstore.Collection, form: str, tmp_path: Path):
    rows = collection.tiles(slide_id="s1", limit=4)
    ids = rows["tile_id"]
    source: Any = {"tiles": rows, "numpy": np.array(ids)}.get(form)
    if form == "csv":
        source = tmp_path / "queries.csv"
        source.write_text("slide,tile_id\n" + "".join(f"s1,{tile}\n" for tile in ids))
    elif form == "parquet":
        pq.write_table(rows.to_arrow(), source := tmp_path / "queries.parquet")
    elif form == "npy":
        np.save(source := tmp_path / "queries.npy", np.array(ids))
    found = collection.search_many(source, k=2, on_progress=quiet)
    assert found["query_tile_id"] == [tile for tile in ids for _ in range(2)]
    assert not set(zip(found["query_tile_id"], found["tile_id"], strict=True)) & {(tile, tile) for tile in ids}


def test_the_same_tile_may_be_asked_for_twice(collection: embedstore.Collection):
    tile = collection.tiles(limit=1)["tile_id"][0]
    found = collection.search_many([tile, tile], k=2, on_progress=quiet)
    assert found["query"] == [0, 0, 1, 1] and found["tile_id"][:2] == found["tile_id"][2:]


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (np.ones((2, 3)), VectorError, f"vectors of {DIM} values; the list of queries has 3"),
        (np.zeros((2, DIM)), VectorError, "query 0 of the list of queries, counted from 0, has norm 0"),
        (np.full((2, DIM), np.nan), VectorError, "has norm nan and so no direction"),
        (np.ones(DIM), QueryError, rf"shape \({DIM},\) of float64; expected \(n, {DIM}\) numbers, or n ids"),
        ([], QueryError, "holds no query"),
        ([[1, 2], [3]], QueryError, "rows of several lengths"),
        (["a"], QueryError, "expected"),
        (7, QueryError, "is a int; expected an array of vectors"),
        ([1, 2, 3, 4, 5], TileNotFoundError, r"no tile 1, 2, 3 and 2 others in collection 'toy'"),
        (np.array([1 << 63], np.uint64), QueryError, "signed 64-bit"),
        (pa.table({"a": [1]}), QueryError, "has the columns a; expected tile_id or vector"),
        (pa.table({"tile_id": [1, None]}), QueryError, "without tile_id"),
        ("queries.json", QueryError, "ends in .json; expected .npy"),
        ("missing.npy", QueryError, "missing.npy cannot be read: No such file"),
        ("missing.csv", QueryError, "missing.csv"),
    ],
)
def test_what_is_no_list_of_queries_is_refused(
    collection: embedstore.Collection, source: Any, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        collection.search_many(source, on_progress=quiet)


def test_a_damaged_or_other_file_is_refused(collection: embedstore.Collection, tmp_path: Path):
    for name in ("a.npy", "a.parquet"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(QueryError, match=f"{name} cannot be read"):
            collection.search_many(tmp_path / name)
    (tmp_path / "a.csv").write_text("tile,x\n1,2\n")
    with pytest.raises(QueryError, match=r"no column tile_id"):
        collection.search_many(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("tile_id,x\nabc,2\n")
    with pytest.raises(QueryError, match=r"b.csv.*abc"):
        collection.search_many(tmp_path / "b.csv")


def test_settings_that_cannot_be_are_refused(collection: embedstore.Collection):
    with pytest.raises(QueryError, match="of no slide, so tiles of the same patient cannot be left out"):
        collection.search_many(np.ones((1, DIM)), exclude_same="patient", on_progress=quiet)
    with pytest.raises(ConfigError, match="no column 'nothing'"):
        collection.search_many(np.ones((1, DIM)), columns=["nothing"], on_progress=quiet)
    tile = collection.tiles(slide_id="s5")["tile_id"][0]
    with pytest.raises(QueryError, match="the patient of slide 's5' is not known"):
        collection.search_many([tile], exclude_same="patient", on_progress=quiet)


def test_progress_is_told(collection: embedstore.Collection):
    seen: list[embedstore.progress.Progress] = []
    collection.search_many(np.eye(DIM), on_progress=seen.append)
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (DIM, DIM, "queries")
