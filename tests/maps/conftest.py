"""A small store whose tiles form three groups, and its map by principal components, which takes no time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedstore.map_config import MapConfig
from embedstore.map_record import MapFacts
from embedstore.maps import make_map
from embedstore.store import Collection, CollectionWriter, FragmentWriter, SlideRow, Store
from tests.collection_records import collection_record

DIM = 8
PCA = MapConfig(method="pca")
#: {slide: tiles}, each of a third of the groups.
SLIDES = {"a": 30, "b": 30, "c": 12}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return build(tmp_path)


def build(folder: Path) -> Store:
    store = Store.create(folder / "store")
    Collection.create(store.uri, "toy", collection_record(DIM))
    for slide_id, tiles in SLIDES.items():
        add_slide(store, slide_id, vectors(tiles, seed=len(slide_id) + tiles))
    return store


@pytest.fixture
def collection(store: Store) -> Collection:
    return store.collection("toy")


@pytest.fixture
def mapped(store: Store, collection: Collection) -> MapFacts:
    return make_map(store, collection, PCA)


@pytest.fixture
def add(store: Store) -> Callable[..., None]:
    return lambda slide_id, values: add_slide(store, slide_id, values)


def group_of(tiles: int) -> np.ndarray:
    """The group of each of the tiles of a slide."""
    return np.arange(tiles) % 3


def vectors(tiles: int, *, seed: int) -> np.ndarray:
    """(tiles, DIM) float16 about three directions, in turn."""
    directions = 4 * np.eye(3, DIM)
    return (directions[group_of(tiles)] + np.random.default_rng(seed).normal(0, 0.2, (tiles, DIM))).astype(np.float16)


def add_slide(store: Store, slide_id: str, values: np.ndarray) -> None:
    collection = store.collection("toy")
    writer = FragmentWriter(
        table_uri=collection.table.uri,
        schema=collection.schema,
        collection="toy",
        slide_id=slide_id,
        xy_l0=np.stack([np.arange(len(values)) * 128, np.zeros(len(values))], axis=1).astype(np.int32),
        edge_l0=128,
        tissue=np.linspace(0.5, 1, len(values), dtype=np.float32),
    )
    writer.put(np.arange(len(values)), values)
    CollectionWriter(collection).commit([writer.finish()])
    row = SlideRow(slide_id=slide_id, path="/nowhere", kind="wsi", slide_mpp=0.5, metadata={"patient": f"P-{slide_id}"})
    store.ledger.admit_columns([row.metadata])
    store.ledger.record([row], [])
