"""A small store whose tiles and vectors are known, for the tests of queries."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedstore.config import as_record
from embedstore.extractors import Extractor, ExtractorConfig
from embedstore.store import Collection, CollectionRecord, CollectionWriter, FragmentWriter, SlideRow, Store
from tests.collection_records import collection_record

DIM = 8
EDGE = 512


def add_slide(
    store: Store,
    collection: Collection,
    slide_id: str,
    vectors: np.ndarray,
    xy_l0: Sequence[tuple[int, int]] | None = None,
    *,
    names: tuple[str, ...] | None = None,
    edge_l0: int = EDGE,
) -> None:
    """A slide whose tiles lie in a row, unless said otherwise; with names it is a folder of ready-made tiles."""
    n = len(vectors)
    if names is not None:
        xy_l0, edge_l0 = [(0, 0)] * n, 0
    places = np.array(xy_l0 or [(i * EDGE, 0) for i in range(n)], np.int32)
    writer = FragmentWriter(
        table_uri=collection.table.uri, schema=collection.schema, collection=collection.name, slide_id=slide_id,
        xy_l0=places, edge_l0=edge_l0, tissue=np.ones(n, np.float32), names=names,
    )  # fmt: skip
    writer.put(np.arange(n), np.asarray(vectors, np.float16))
    CollectionWriter(collection).commit([writer.finish()])
    kind = "wsi" if names is None else "tiles"
    store.ledger.record([SlideRow(slide_id=slide_id, path=f"/{slide_id}", kind=kind, metadata={})], [])


def new_collection(
    folder: Path, *, name: str = "toy", record: CollectionRecord | None = None
) -> tuple[Store, Collection]:
    store = Store.create(folder / "store")
    return store, Collection.create(store.uri, name, record or collection_record(DIM))


def image_collection(folder: Path, extractor: Extractor, config: ExtractorConfig) -> tuple[Store, Collection]:
    """A collection that says how its extractor is loaded, as ingest writes it."""
    tiling, request = {"tile_px": extractor.tile_px}, {"extractor": as_record(config)}
    record = collection_record(tiling=tiling, request=request, **extractor.record())
    return new_collection(folder, record=record)


def noise(seed: int, n: int, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float16)


def unit(vectors: np.ndarray) -> np.ndarray:
    rows = np.asarray(vectors, np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
