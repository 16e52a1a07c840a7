"""A small store with slides whose tiles lie where a test wants them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from embedstore.store import Collection, CollectionWriter, FragmentWriter, SlideRow, Store
from tests.collection_records import collection_record

DIM = 4
EDGE = 128


def make_store(
    folder: Path, slides: dict[str, list[tuple[int, int]]], *, stride_px: int = 256, imported: bool = False
) -> Store:
    """A store with the collection 'toy': {slide: corners of its tiles}; slides know their place, patient and cohort.

    Slide number i has bounds 1000 i from the corner of level 0, in x, and 2000 i in y.
    """
    store = Store.create(folder / "store")
    record = collection_record(DIM, tiling={"stride_px": stride_px})
    record = replace(record, imported={"layout": "clam"} if imported else None)
    collection = Collection.create(store.uri, "toy", record)
    deliveries, facts = [], []
    for number, (slide_id, corners) in enumerate(slides.items()):
        writer = FragmentWriter(
            table_uri=collection.table.uri,
            schema=collection.schema,
            collection="toy",
            slide_id=slide_id,
            xy_l0=np.array(corners, np.int32).reshape(-1, 2),
            edge_l0=EDGE,
            tissue=np.ones(len(corners), np.float32),
        )
        writer.put(np.arange(len(corners)), vectors(slide_id, len(corners)))
        deliveries.append(writer.finish())
        facts.append(
            SlideRow(
                slide_id=slide_id,
                path=str(folder / slide_id),
                kind="wsi",
                width_l0=4096,
                height_l0=4096,
                bounds_x=1000 * number,
                bounds_y=2000 * number,
                bounds_width=1024,
                bounds_height=768,
                slide_mpp=0.5,
                metadata={"patient": f"P{number}", "cohort": "AB"[number % 2]},
            )
        )
    CollectionWriter(collection).commit(deliveries)
    store.ledger.admit_columns([fact.metadata for fact in facts])
    store.ledger.record(facts, [])
    return store


def add_folder(store: Store, slide_id: str, names: tuple[str, ...]) -> None:
    """Add a folder of ready-made tiles."""
    collection = store.collection("toy")
    writer = FragmentWriter(
        table_uri=collection.table.uri,
        schema=collection.schema,
        collection="toy",
        slide_id=slide_id,
        xy_l0=np.zeros((len(names), 2), np.int32),
        edge_l0=0,
        tissue=np.ones(len(names), np.float32),
        names=names,
    )
    writer.put(np.arange(len(names)), vectors(slide_id, len(names)))
    CollectionWriter(collection).commit([writer.finish()])
    store.ledger.record([SlideRow(slide_id=slide_id, path="/nowhere", kind="tiles")], [])


def vectors(slide_id: str, tiles: int) -> np.ndarray:
    return np.random.default_rng(list(slide_id.encode())).normal(size=(tiles, DIM)).astype(np.float16)


def grid(columns: int, rows: int, *, at: tuple[int, int] = (0, 0), edge: int = EDGE) -> list[tuple[int, int]]:
    """Corners of neighbouring tiles, row by row."""
    return [(at[0] + x * edge, at[1] + y * edge) for y in range(rows) for x in range(columns)]
