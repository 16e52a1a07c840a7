"""A small collection, and slides' worth of rows for it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedstore.store import Collection, FragmentWriter, SlideFragments, Store
from tests.collection_records import collection_record

DIM = 8
RECORD = collection_record(DIM)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@pytest.fixture
def collection(store: Store) -> Collection:
    return Collection.create(store.uri, "toy", RECORD)


@pytest.fixture
def deliver(collection: Collection) -> Callable[..., SlideFragments]:
    """Write a slide's fragments; its vectors follow from its name."""

    def write(slide_id: str, tiles: int = 5, *, block_rows: int = 20_000, version: int = 0) -> SlideFragments:
        writer = FragmentWriter(
            table_uri=collection.table.uri,
            schema=collection.schema,
            collection=collection.name,
            slide_id=slide_id,
            xy_l0=np.stack([np.arange(tiles) * 512, np.zeros(tiles)], axis=1).astype(np.int32),
            edge_l0=512,
            tissue=np.ones(tiles, np.float32),
            block_rows=block_rows,
        )
        writer.put(np.arange(tiles), vectors(slide_id, tiles, version))
        return writer.finish()

    return write


def vectors(slide_id: str, tiles: int, version: int = 0) -> np.ndarray:
    seed = [version, *slide_id.encode()]
    return np.random.default_rng(seed).normal(size=(tiles, DIM)).astype(np.float16)
