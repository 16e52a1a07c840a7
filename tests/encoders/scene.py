"""A small collection whose vectors are known, and what happens to its slides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.store import Collection, CollectionWriter, FragmentWriter, Outcome, SlideRow, Store
from tests.collection_records import collection_record

EDGE = 512


def make_store(
    folder: Path, slides: Mapping[str, NDArray[np.floating]], *, names: bool = False, **record: Any
) -> Store:
    """A store with a collection `toy`: the vectors (n, dim) of each slide's tiles, which lie in rows of eight.

    Args:
        names: Tiles are ready-made files.
        record: Of the collection, as of `collection_record`.
    """
    store = Store.create(folder / "store")
    dim = next(iter(slides.values())).shape[1]
    Collection.create(store.uri, "toy", collection_record(dim, **record))
    ingest(store, slides, names=names)
    return store


def ingest(
    store: Store, slides: Mapping[str, NDArray[np.floating]], *, names: bool = False, collection: str = "toy"
) -> None:
    """Commit slides as a run does, in place of those that are there, with their outcomes; patients are S[0], S[1] …"""
    table = store.collection(collection)
    store.ledger.admit_columns([{"patient": "p"}])
    deliveries = []
    for slide, vectors in slides.items():
        places = np.arange(len(vectors))
        writer = FragmentWriter(
            table_uri=table.table.uri, schema=table.schema, collection=collection, slide_id=slide,
            xy_l0=(np.stack([places % 8, places // 8], axis=1) * EDGE).astype(np.int32), edge_l0=EDGE,
            tissue=np.ones(len(vectors), np.float32),
            names=[f"{place}.png" for place in places] if names else None,
        )  # fmt: skip
        writer.put(places, vectors.astype(np.float16))
        deliveries.append(writer.finish())
    CollectionWriter(table).commit(deliveries, replacing=frozenset(slides))
    store.ledger.record(
        [SlideRow(slide_id=s, path=f"/{s}", kind="wsi", metadata={"patient": f"P-{s[:2]}"}) for s in slides],
        [
            Outcome(collection=collection, slide_id=s, path=f"/{s}", state="done", tiles=len(vectors))
            for s, vectors in slides.items()
        ],
    )


def random_slides(sizes: Mapping[str, int], *, dim: int = 6, seed: int = 0) -> dict[str, NDArray[np.float16]]:
    """Vectors in float16, as they are stored."""
    rng = np.random.default_rng(seed)
    return {slide: rng.normal(size=(n, dim)).astype(np.float16) for slide, n in sizes.items()}
