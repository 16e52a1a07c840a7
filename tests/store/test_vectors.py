"""Vectors of chosen rows: whichever way they are read, they are the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import VectorError
from embedstore.store import (
    Collection,
    CollectionWriter,
    FragmentWriter,
    SlideFragments,
    read_tile_locations,
    read_vectors,
)
from embedstore.store import vectors as module

from .conftest import DIM, vectors

Deliver = Callable[..., SlideFragments]
SLIDES = {"a": 30, "b": 50, "c": 40}


@pytest.fixture
def filled(collection: Collection, deliver: Deliver, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """120 rows in fragments of 16, read 7 at a time."""
    monkeypatch.setattr(module, "batch_rows", lambda dim: 7)
    CollectionWriter(collection).commit([deliver(name, n, block_rows=16) for name, n in SLIDES.items()])
    return collection


def all_vectors(*names: str) -> np.ndarray:
    return np.concatenate([vectors(name, SLIDES[name]) for name in names or SLIDES])


@pytest.mark.parametrize("share", [0.0, 2.0], ids=["scanned", "taken"])
@pytest.mark.parametrize(
    "rows", [[], [0], [119], [3, 4, 5, 64, 65, 111], list(range(120)), list(range(0, 120, 3)), list(range(16, 32))]
)
def test_rows_taken_are_rows_scanned(filled: Collection, monkeypatch: pytest.MonkeyPatch, share: float, rows: list):
    monkeypatch.setattr(module, "TAKE_SHARE", share)
    found = read_vectors(filled, np.array(rows, np.int64), version=filled.dataset().version)
    assert (found.dtype, found.shape) == (np.float16, (len(rows), DIM))
    np.testing.assert_array_equal(found, all_vectors()[rows])


@pytest.mark.parametrize("share", [0.0, 2.0], ids=["scanned", "taken"])
def test_rows_are_counted_without_those_of_removed_slides(filled: Collection, monkeypatch, share: float):
    monkeypatch.setattr(module, "TAKE_SHARE", share)
    before = filled.dataset().version
    CollectionWriter(filled).remove(["b"])
    places = read_tile_locations(filled)
    found = read_vectors(filled, places.row[5:60], version=places.version)
    np.testing.assert_array_equal(found, all_vectors("a", "c")[5:60])
    old = read_vectors(filled, np.arange(20, 90), version=before)
    np.testing.assert_array_equal(old, all_vectors()[20:90])


def test_few_rows_of_many_are_taken(filled: Collection, monkeypatch: pytest.MonkeyPatch):
    version = filled.dataset().version
    monkeypatch.setattr(module, "TAKE_SHARE", 0.05)
    reads: list[str] = []
    plain = Collection.dataset

    class Watched:
        def __init__(self, dataset):
            self._dataset = dataset

        def __getattr__(self, name):
            reads.append(name)
            return getattr(self._dataset, name)

    monkeypatch.setattr(Collection, "dataset", lambda self, version=None: Watched(plain(self, version)))
    monkeypatch.setattr(Collection, "dim", DIM)
    read_vectors(filled, np.arange(5), version=version)
    assert "take" in reads and "to_batches" not in reads
    reads.clear()
    read_vectors(filled, np.arange(6), version=version)
    assert "to_batches" in reads and "take" not in reads


def test_vectors_can_be_laid_out_in_a_file(filled: Collection, tmp_path: Path):
    path = tmp_path / "vectors.npy"
    rows = np.arange(10, 80)
    found = read_vectors(filled, rows, version=filled.dataset().version, memory_map=path)
    assert isinstance(found, np.memmap)
    found.flush()
    np.testing.assert_array_equal(np.load(path), all_vectors()[rows])


@pytest.mark.parametrize("share", [0.0, 2.0], ids=["scanned", "taken"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_names_its_tile(collection: Collection, deliver, monkeypatch, share, value):
    monkeypatch.setattr(module, "TAKE_SHARE", share)
    bad = vectors("bad.svs", 6)
    bad[4, 2] = value
    writer = FragmentWriter(
        table_uri=collection.table.uri,
        schema=collection.schema,
        collection="toy",
        slide_id="bad.svs",
        xy_l0=np.stack([np.arange(6) * 512, np.full(6, 2000)], axis=1).astype(np.int32),
        edge_l0=512,
        tissue=np.ones(6, np.float32),
    )
    writer.put(np.arange(6), bad)
    CollectionWriter(collection).commit([deliver("a", 3), writer.finish()])
    version = collection.dataset().version
    with pytest.raises(
        VectorError, match=r"'toy'.*'bad.svs' at 2048, 2000 holds NaN or infinity \(1 such.*ingest the slide again"
    ):
        read_vectors(collection, np.arange(2, 9), version=version)
    assert len(read_vectors(collection, np.array([0, 1, 2, 3, 8]), version=version)) == 5  # the others can be read


def test_the_largest_float16_is_finite(collection: Collection):
    large = np.full((1, DIM), np.finfo(np.float16).max)
    writer = FragmentWriter(
        table_uri=collection.table.uri,
        schema=collection.schema,
        collection="toy",
        slide_id="a",
        xy_l0=np.zeros((1, 2), np.int32),
        edge_l0=512,
        tissue=np.ones(1, np.float32),
    )
    writer.put(np.arange(1), large)
    CollectionWriter(collection).commit([writer.finish()])
    version = collection.dataset().version
    np.testing.assert_array_equal(read_vectors(collection, np.arange(1), version=version), large)
