"""Collections of made-up slides in which copies, leaks and strangers are planted."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.store import Collection, CollectionWriter, FragmentWriter, SlideRow, Store
from tests.collection_records import collection_record

DIM = 16
EDGE = 512
RECORD = collection_record(DIM)


def noise(tiles: int, seed: int) -> NDArray[np.float64]:
    """Vectors of one kind of tissue: they vary around a common direction."""
    return np.random.default_rng(seed).normal(size=(tiles, DIM)) + 2


def plant(
    folder: Path,
    slides: Mapping[str, NDArray[np.floating]],
    *,
    patients: Mapping[str, str] | None = None,
    fingerprints: Mapping[str, str] | None = None,
    named: frozenset[str] = frozenset(),
) -> tuple[Store, Collection]:
    """A store with one collection of these slides, by id; those that are `named` are folders of ready-made tiles."""
    store = Store.create(folder / "store")
    collection = Collection.create(store.uri, "toy", RECORD)
    if patients:
        store.ledger.admit_columns([{"patient": "p"}])
    deliveries = []
    for slide, vectors in slides.items():
        n = len(vectors)
        columns = {"names": tuple(f"{i}.png" for i in range(n))} if slide in named else {}
        grid = np.stack([np.arange(n) % 8, np.arange(n) // 8], axis=1) * EDGE
        writer = FragmentWriter(
            table_uri=collection.table.uri, schema=collection.schema, collection="toy", slide_id=slide,
            xy_l0=(np.zeros((n, 2)) if columns else grid).astype(np.int32), edge_l0=0 if columns else EDGE,
            tissue=np.ones(n, np.float32), **columns,
        )  # fmt: skip
        writer.put(np.arange(n), vectors.astype(np.float16))
        deliveries.append(writer.finish())
        patient = (patients or {}).get(slide)
        facts = SlideRow(
            slide_id=slide, path=f"/{slide}", kind="tiles" if columns else "wsi",
            fingerprint=(fingerprints or {}).get(slide), metadata={} if patient is None else {"patient": patient},
        )  # fmt: skip
        store.ledger.record([facts], [])
    CollectionWriter(collection).commit(deliveries)
    return store, collection
