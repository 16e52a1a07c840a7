"""Search through the Python API."""

import sys
from pathlib import Path

import numpy as np
import pytest

import embedstore
from embedstore.api.search_result import SearchResult
from embedstore.errors import ConfigError, ExportError, QueryError, TileNotFoundError
from embedstore.search import SearchConfig, search, tile_query
from embedstore.store import Collection, Store
from embedstore.store.ledger import Ledger
from tests.export.hits_scene import FOLDER, LOST, make_found, make_hits, of_tile, tile_rows
from tests.search.planted import noise, plant

SLIDES = {f"s{i}": noise(40, i) + 3 for i in range(6)}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Collection]:
    return plant(tmp_path_factory.mktemp("api-search"), SLIDES, patients=dict.fromkeys(SLIDES))


@pytest.fixture
def result(tmp_path: Path) -> SearchResult:
    store = make_found(tmp_path)
    rows = [*tile_rows(store, LOST), *tile_rows(store, FOLDER)]
    return SearchResult(make_hits(store, rows, of_tile(tile_rows(store, "a.svs")[0])))


def first_tile(tables: Collection) -> int:
    return tables.tiles(where="slide_id = 's4'", columns=["tile_id"])["tile_id"][3].as_py()


def test_the_ledger_is_read_once(scene: tuple[Store, Collection], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Ledger] = []
    monkeypatch.setattr("embedstore.store.store.Ledger", lambda *store: opened.append(Ledger(*store)) or opened[-1])
    collection = embedstore.open(scene[0].uri).collection()
    first = collection.search(first_tile(scene[1]), k=3)
    assert collection.search(first_tile(scene[1]), k=3).to_arrow().equals(first.to_arrow())
    assert len(opened) == 1


def test_every_kind_of_query_finds_the_same(scene: tuple[Store, Collection], tmp_path: Path) -> None:
    store, table = scene
    collection = embedstore.open(store.uri).collection()
    tile = first_tile(table)
    hits = search(store, table, tile_query(store, table, tile), SearchConfig(k=5))
    expected = hits.table["tile_id"].to_pylist()
    row = table.tiles(where=f"tile_id = {tile}").to_pylist()[0]
    np.save(tmp_path / "v.npy", np.array(row["vector"], np.float32))
    for query in (tile, np.int64(tile), ("s4", row["x"] + 1, row["y"] + 1), row):
        assert collection.search(query, k=5)["tile_id"] == expected
    for vector in (row["vector"], tmp_path / "v.npy", str(tmp_path / "v.npy")):
        assert collection.search(vector, k=6)["tile_id"] == [tile, *expected]
    assert collection.search(tile, k=5, where="slide_id = 's5'", per_slide=2)["slide_id"] == ["s5", "s5"]


def test_neighbours_away_from_tiles(scene: tuple[Store, Collection]) -> None:
    collection = embedstore.open(scene[0].uri).collection()
    tile = first_tile(scene[1])
    nearest = collection.search(tile, k=3)["tile_id"]
    assert nearest[0] not in collection.search(tile, k=3, away_from=nearest[:1], away_weight=0)["tile_id"]


def test_what_cannot_be_searched_by(scene: tuple[Store, Collection]) -> None:
    collection = embedstore.open(scene[0].uri).collection()
    for wrong, message in (
        (True, "a bool cannot be searched by"),
        (("s4", float("nan"), 0), "x is nan; expected a whole number"),
        ({"tile_id": None}, "tile_id is None; expected a whole number"),
        ([[1.0, 2.0], [3.0]], "no vector: .*; expected one list of numbers"),
    ):
        with pytest.raises(QueryError, match=message):
            collection.search(wrong)
    with pytest.raises(TileNotFoundError):
        collection.search(12345)
    with pytest.raises(ConfigError, match="SearchConfig has no setting 'per_slde'; it has k, where"):
        collection.search(first_tile(scene[1]), per_slde=1)


def test_a_collection_gives_tiles_and_vectors_in_one_order(scene: tuple[Store, Collection]) -> None:
    collection = embedstore.open(scene[0].uri).collection()
    tiles, vectors = collection.tiles(where="slide_id = 's2'"), collection.vectors(where="slide_id = 's2'")
    assert vectors.shape == (40, collection.dim) and vectors.dtype == np.float16
    for tile, vector in zip(tiles["tile_id"][:3], vectors[:3], strict=True):
        assert scene[1].tiles(where=f"tile_id = {tile}")["vector"][0].as_py() == vector.tolist()
    assert "vector" not in tiles.column_names and len(collection) == 240
    assert "240 tiles of 6 slides" in repr(collection) and "240 of 6 slides" in collection._repr_html_()


def test_a_data_frame_where_pandas_is_installed(result: SearchResult):
    pandas = pytest.importorskip("pandas")
    frame = result.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["tile_id"].tolist() == result["tile_id"]


def test_without_pandas_the_error_names_other_ways(result: SearchResult, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ExportError, match=r"pandas, which is not installed; pip install pandas, or take \.to_arrow"):
        result.to_pandas()


def test_pictures_for_a_notebook(result: SearchResult):
    narrow, wide = result.show(columns=1, tile_px=64), result.show(columns=2, tile_px=64)
    assert narrow.mode == "RGB" and narrow.width < wide.width and narrow.height > wide.height
    assert result._repr_html_().count("<li>") == 5


def test_a_result_is_written_as_its_ending_says(result: SearchResult, tmp_path: Path):
    for name, starts in (("a.jpg", b"\xff\xd8"), ("a.PNG", b"\x89PNG"), ("a.html", b"<!DOCTYPE"), ("a.json", b"[")):
        assert result.export(tmp_path / name).paths == (tmp_path / name,)
        assert (tmp_path / name).read_bytes().startswith(starts)
    with pytest.raises(ExportError, match=r"ends in '\.pdf'; expected one of \.png, .*\.geojson, or a folder"):
        result.export(tmp_path / "a.pdf")


def test_an_answer_says_why_it_is_short(scene):
    collection = embedstore.open(scene[0].uri).collection()
    found = collection.search(np.ones(collection.dim), k=3, where="tissue > 2")
    assert len(found) == 0 and repr(found).splitlines()[1] == f"note: {found.note}" != "note: "
