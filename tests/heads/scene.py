"""Small stores whose vectors hold a signal: what heads are fitted on in the tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.store import Collection, CollectionWriter, FragmentWriter, Label, SlideRow, Store
from tests.collection_records import collection_record

DIM = 12
EDGE = 512
COLLECTION = "toy"


def make_store(
    folder: Path,
    *,
    slides: int = 12,
    tiles: int = 40,
    classes: Sequence[str] = ("normal", "tumour"),
    signal: float = 1.0,
    seed: int = 0,
    patients: bool = True,
    broken: tuple[str, int] | None = None,
    draw: int | None = None,
    prefix: str = "",
    shift: float = 0.0,
    digest: str = "sha256:1",
) -> Store:
    """A store of slides whose tiles are of classes, with a label a tile (`tissue`), a slide and a patient (`grade`).

    A slide is 'high' where a third of its tiles are of the last class, else 'low'. Two slides are of one patient, and
    of one site of three. Vectors are noise plus `signal` times a direction a class; that of the `broken` (slide, tile)
    holds NaN. Stores of one seed and another `draw` have the same classes and other noise; `prefix` stands before the
    names of slides and patients, and `shift` moves all vectors, towards the last class from the first.
    """
    rng = np.random.default_rng(seed)
    store = Store.create(folder / "store")
    collection = Collection.create(store.uri, COLLECTION, collection_record(DIM, digest=digest))
    store.ledger.admit_columns([{"patient": "p", "site": "s"}])
    directions = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0][: len(classes)] * 2 * signal
    rng = rng if draw is None else np.random.default_rng((seed, draw))
    moved = shift * (directions[-1] - directions[0])
    deliveries, labels = [], []
    for s in range(slides):
        slide, patient = f"{prefix}s{s:02}.svs", f"{prefix}P{s // 2:02}"
        high = (s // 2) % 2 == 1
        share = np.array([1.0] * (len(classes) - 1) + [0.6 if high else 0.15])
        of = rng.choice(len(classes), tiles, p=share / share.sum())
        xy = np.stack([np.arange(tiles) % 8, np.arange(tiles) // 8], axis=1).astype(np.int32) * EDGE
        vectors = rng.normal(size=(tiles, DIM)) + directions[of] + moved
        if broken is not None and broken[0] == slide:
            vectors[broken[1], 3] = np.nan
        deliveries.append(_write(collection, slide, xy, vectors))
        metadata = {"patient": patient, "site": "ABC"[(s // 2) % 3]} if patients else {"site": "A"}
        store.ledger.record([SlideRow(slide_id=slide, path=f"/{slide}", kind="wsi", metadata=metadata)], [])
        labels += [
            Label(task="tissue", label=classes[k], slide_id=slide, x=x, y=y, edge_l0=EDGE, author="me", source="t.csv")
            for k, (x, y) in zip(of, xy.tolist(), strict=True)
        ]
        labels.append(
            Label(task="grade", label="high" if high else "low", kind="slide", slide_id=slide, author="me", source="g")
        )
    CollectionWriter(collection).commit(deliveries)
    store.labels.record(labels)
    return store


def _write(collection: Collection, slide: str, xy: NDArray[np.int32], vectors: NDArray[np.float64]):
    writer = FragmentWriter(
        table_uri=collection.table.uri, schema=collection.schema, collection=collection.name, slide_id=slide,
        xy_l0=xy, edge_l0=EDGE, tissue=np.ones(len(xy), np.float32),
    )  # fmt: skip
    writer.put(np.arange(len(xy)), vectors.astype(np.float16))
    return writer.finish()
