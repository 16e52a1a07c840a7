"""Queries by a vector, from memory and from files."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedstore.errors import QueryError, VectorError
from embedstore.search.queries.vector_file import vector_query
from embedstore.store import Collection
from tests.search.queries.query_scene import DIM, new_collection, unit

VALUES = np.linspace(-1, 2.5, DIM, dtype=np.float32)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return new_collection(tmp_path_factory.mktemp("vector"))[1]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("values", [VALUES, VALUES[None], VALUES.astype(np.float16), VALUES.astype(np.float64) * 7])
def test_an_array(collection: Collection, values: np.ndarray):
    query = vector_query(collection, values)
    np.testing.assert_allclose(query.vector, unit(values.ravel()), atol=1e-6)
    assert (query.vector.dtype, query.vector.shape) == (np.float32, (DIM,))
    assert (query.title, query.slides, len(query.tile_ids), query.tiles) == ("a given vector", (), 0, ())


@pytest.mark.parametrize("scale", [1e-30, 1e30, 1e100])
def test_of_any_length(collection: Collection, scale: float):
    np.testing.assert_allclose(
        vector_query(collection, VALUES.astype(np.float64) * scale).vector, unit(VALUES), atol=1e-6
    )


@given(st.lists(st.integers(-9, 9), min_size=DIM, max_size=DIM).filter(any))
def test_whole_numbers(collection: Collection, values: list[int]):
    np.testing.assert_allclose(vector_query(collection, np.array(values)).vector, unit(values), atol=1e-6)


@pytest.mark.parametrize("shape", [(DIM,), (1, DIM)])
def test_npy(collection: Collection, tmp_path: Path, shape: tuple[int, ...]):
    np.save(tmp_path / "q.npy", VALUES.reshape(shape))
    query = vector_query(collection, tmp_path / "q.npy")
    np.testing.assert_allclose(query.vector, unit(VALUES), atol=1e-6)
    assert query.title == "vector of q.npy"


WORDS = [f"{value:.9g}" for value in VALUES]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("q.csv", ",".join(WORDS)),
        ("q.csv", ", ".join(WORDS) + "\n"),
        ("q.csv", "\ufeff" + ";".join(WORDS) + "\r\n"),
        ("q.csv", ",\n".join(WORDS)),
        ("q.TXT", " ".join(WORDS)),
        ("q.txt", "\n".join(WORDS) + "\n\n"),
        ("q.txt", "\t".join(WORDS)),
        ("q.json", json.dumps(VALUES.tolist())),
        ("q.json", json.dumps([VALUES.tolist()])),
    ],
)
def test_text(collection: Collection, tmp_path: Path, name: str, text: str):
    query = vector_query(collection, str(written(tmp_path / name, text)))
    np.testing.assert_allclose(query.vector, unit(VALUES), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("q.csv", "a,b,c", "could not convert string to float: 'a'"),
        ("q.csv", "1,2\n3", "cannot be read"),
        ("q.csv", "1,2,3,4\n5,6,7,8", r"vector of q.csv has shape \(2, 4\); expected one vector"),
        ("q.json", '{"vector": [1]}', "expected numbers"),
        ("q.json", "[true, false]", "holds bool values; expected numbers"),
        ("q.json", '["1", "2"]', "expected numbers"),
        ("q.json", "[1, 2", "cannot be read"),
        ("q.npy", "not one", "cannot be read"),
        ("q.npy", "", "cannot be read"),
        ("q.npy", "\x93NUMPY\x01\0\x10\0{'shape': (2, 3    ", "cannot be read"),
        ("q.json", "[" * 9999, "cannot be read"),
        ("q.parquet", "", r"ends in .parquet; expected .npy, .csv, .txt, .json"),
        ("q", "", "ends in nothing"),
    ],
)
def test_a_file_that_holds_none(collection: Collection, tmp_path: Path, name: str, text: str, said: str):
    with pytest.raises(QueryError, match=said):
        vector_query(collection, written(tmp_path / name, text))


def test_a_file_that_is_not_there(collection: Collection, tmp_path: Path):
    with pytest.raises(QueryError, match=r"none.csv cannot be read: No such file"):
        vector_query(collection, tmp_path / "none.csv")


@pytest.mark.parametrize("content", ["zip", "text"])
def test_what_only_ends_in_npy(collection: Collection, tmp_path: Path, content: str):
    """NumPy would open an archive, and for a text tell how pickles are read."""
    np.savez(tmp_path / "zip", VALUES)
    data = (tmp_path / "zip.npz").read_bytes() if content == "zip" else b"some text"
    (tmp_path / "q.npy").write_bytes(data)
    with pytest.raises(QueryError, match=r"magic string is not correct.*; expected one vector of numbers"):
        vector_query(collection, tmp_path / "q.npy")


def test_a_pickle_is_not_opened(collection: Collection, tmp_path: Path):
    np.save(tmp_path / "q.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(QueryError, match="cannot be read"):
        vector_query(collection, tmp_path / "q.npy")


def test_several_vectors(collection: Collection):
    with pytest.raises(QueryError, match=r"a given vector has shape \(3, 8\); expected one vector; pick a row"):
        vector_query(collection, np.ones((3, DIM)))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones(DIM + 1), r"collection 'toy' has vectors of 8 values; the query has shape \(9,\)"),
        (np.empty(0), r"shape \(0,\)"),
        (np.zeros(DIM), "no direction"),
        (np.where(np.arange(DIM) == 2, np.nan, 1), "no direction"),
    ],
)
def test_a_vector_that_cannot_be_compared(collection: Collection, values: np.ndarray, said: str):
    with pytest.raises(VectorError, match=said):
        vector_query(collection, values)
