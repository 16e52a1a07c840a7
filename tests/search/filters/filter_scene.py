"""A store of which everything is known, and SQLite's word on which of its tiles a filter finds."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from embedstore.search.filters.selection import Selection
from embedstore.store import (
    Collection,
    CollectionWriter,
    FragmentWriter,
    Label,
    PredictionFacts,
    SlideRow,
    Store,
    attention_batch,
    slide_batch,
    tile_batch,
)  # fmt: skip
from tests.collection_records import collection_record

EDGE = 100
DIM = 4
RECORD = collection_record(DIM)
#: Tiles in a row from x = 0, and what the list of slides says. Slide e has no tile; f is a folder.
SLIDES: dict[str, tuple[int, dict[str, Any]]] = {
    "a.svs": (6, {"patient": "P1", "cohort": "A", "stage": 2, "good": True, "name": "first"}),
    "b.svs": (4, {"patient": "P1", "cohort": "B", "stage": 3, "good": False}),
    "c's.svs": (5, {"patient": None, "cohort": None, "stage": None, "good": None}),
    "d.svs": (3, {"patient": "O'Brien; x", "cohort": "A", "stage": 1, "good": None}),
    "e.svs": (0, {"patient": "P9", "cohort": "C", "stage": 4, "good": True}),
    "f": (3, {"patient": "P1", "cohort": "B", "stage": 1, "good": True}),
}
NAMES = ("x1.png", "x2.png", "y1.png")
#: What the labels below come to.
LESION: dict[str, list[str | None]] = {
    "a.svs": ["tumour", "tumour", None, "stroma", None, None],  # the third lies in both
    "b.svs": ["benign"] * 4,
    "f": ["tumour", None, None],
}
MITOSIS: dict[str, list[str | None]] = {"d.svs": [None, "yes", None]}
GRADING: dict[str, list[str | None]] = {"a.svs": ["high"] * 6, "b.svs": ["low"] * 4, "f": ["high"] * 3}
TUMOUR = {"a.svs": [0.0, 0.25, 0.5, 0.75, 1.0, 0.875], "c's.svs": [0.5, 0.625, 0.75, 0.25, 0.125]}
#: Of a head that has looked at every tile.
WHOLE = {s: np.linspace(0, 1, n).round(2).tolist() for s, (n, _) in SLIDES.items() if n}
GRADE = {"a.svs": 0.75, "b.svs": 0.25, "e.svs": 1.0}
ATTENTION = {"a.svs": [0.0, 0.5, 0.0, 0.25, 0.25, 0.0]}


def build(folder: Path) -> tuple[Store, Collection]:
    store = Store.create(folder / "store")
    collection = Collection.create(store.uri, "toy", RECORD)
    store.ledger.admit_columns([metadata for _, metadata in SLIDES.values()])
    store.ledger.record(
        [
            SlideRow(slide_id=s, path=f"/{s}", kind="tiles" if s == "f" else "wsi", metadata=m)
            for s, (_, m) in SLIDES.items()
        ],
        [],
    )
    CollectionWriter(collection).commit([_deliver(collection, s, n) for s, (n, _) in SLIDES.items() if n])
    store.labels.record(_labels())
    _predict(store)
    return store, collection


def _deliver(collection: Collection, slide_id: str, tiles: int) -> Any:
    names = NAMES if slide_id == "f" else None
    x = np.zeros(tiles) if names else np.arange(tiles) * EDGE
    writer = FragmentWriter(
        table_uri=collection.table.uri, schema=collection.schema, collection=collection.name, slide_id=slide_id,
        xy_l0=np.stack([x, np.zeros(tiles)], axis=1).astype(np.int32), edge_l0=0 if names else EDGE,
        tissue=np.linspace(0.5, 1, tiles).astype(np.float32), names=names,
    )  # fmt: skip
    writer.put(np.arange(tiles), np.ones((tiles, DIM), np.float16))
    return writer.finish()


def _labels() -> list[Label]:
    def area(label: str, left: int, right: int) -> Label:
        drawn = shapely.to_wkb(shapely.box(left, 0, right, EDGE))
        return Label(task="lesion", label=label, kind="area", slide_id="a.svs", geometry=drawn, author="ann")

    return [
        area("tumour", 0, 290),
        area("stroma", 210, 390),
        Label(task="lesion", label="benign", kind="slide", slide_id="b.svs", author="ann"),
        Label(task="lesion", label="tumour", slide_id="f", name="x1.png"),
        Label(task="atypical mitosis", label="yes", kind="point", slide_id="d.svs", x=150, y=50, author="ann"),
        Label(task="elsewhere", label="yes", kind="point", slide_id="unknown.svs", x=150, y=50, author="ann"),
        Label(task="grading", label="high", kind="patient", patient="P1", author="ann"),
        Label(task="grading", label="low", kind="slide", slide_id="b.svs", author="ann"),
    ]


def facts(head: str, **changes: Any) -> PredictionFacts:
    values: dict[str, Any] = {
        "head": head, "head_digest": "sha256:h", "task": "lesion", "collection": "toy", "extractor_digest": "sha256:1",
        "classes": ("normal", "tumour"), "positive": "tumour", "thresholds": {"tumour": 0.5},
    }  # fmt: skip
    return PredictionFacts(**{**values, **changes})


def _two(p: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    both = np.stack([1 - np.asarray(p, np.float32), np.asarray(p, np.float32)], axis=1)
    return both, np.stack([both[:, 1] < 0.5, both[:, 1] >= 0.5], axis=1)


def _predict(store: Store) -> None:
    def tiles(slide_id: str) -> pa.Table:
        where = f"slide_id = '{slide_id.replace(chr(39), chr(39) * 2)}'"
        return store.collection("toy").tiles(where=where)

    of_tiles = facts("tumour-linear")
    batches = [tile_batch(of_tiles, tiles(s), *_two(p)) for s, p in TUMOUR.items()]
    store.predictions("tumour-linear").write(of_tiles, batches, slides=list(TUMOUR))
    of_all = facts("whole")
    store.predictions("whole").write(
        of_all, [tile_batch(of_all, tiles(s), *_two(p)) for s, p in WHOLE.items()], slides=list(WHOLE)
    )
    of_slides = facts("Grade", level="slide")
    batch = slide_batch(of_slides, list(GRADE), [None] * len(GRADE), *_two(list(GRADE.values())))
    store.predictions("Grade").write(of_slides, [batch], slides=list(GRADE))
    looked = [attention_batch(of_slides, tiles(s), np.array(a)) for s, a in ATTENTION.items()]
    store.predictions("Grade", "attention").write(of_slides, looked, slides=list(ATTENTION))
    store.predictions("other").write(facts("other", collection="another"), [], slides=[])


def sqlite(collection: Collection) -> sqlite3.Connection:
    """What is known of each tile, in tables under the names that filters use."""
    tables: dict[str, list[dict[str, Any]]] = {"tile": [], "label": [], "tumour-linear": [], "whole": [], "Grade": []}
    place: dict[str, int] = {}
    for row in collection.tiles(columns=["tile_id", "slide_id", "x", "y", "edge_l0", "name", "tissue"]).to_pylist():
        slide_id, tile = row["slide_id"], {"t": row["tile_id"]}
        i = place[slide_id] = place.get(slide_id, -1) + 1
        none: list[None] = [None] * 6
        tables["tile"].append(row)
        said = {"lesion": LESION, "atypical mitosis": MITOSIS, "elsewhere": {}, "grading": GRADING}
        tables["label"].append({**tile, **{task: by.get(slide_id, none)[i] for task, by in said.items()}})
        p = TUMOUR.get(slide_id, none)[i]
        tables["tumour-linear"].append({**tile, **_said(p)})
        tables["whole"].append({**tile, **_said(WHOLE[slide_id][i])})
        looked = ATTENTION.get(slide_id, none)[i]
        tables["Grade"].append({**tile, **_said(GRADE.get(slide_id)), "attention": looked})
    tables["slide"] = [
        {"s": s, "kind": "tiles" if s == "f" else "wsi", "name": None, **m} for s, (_, m) in SLIDES.items()
    ]
    database = sqlite3.connect(":memory:")
    database.execute("PRAGMA case_sensitive_like = ON")
    for name, rows in tables.items():
        columns = list(rows[0])
        kinds = ", ".join(f'"{column}"' for column in columns)
        database.execute(f'CREATE TABLE "{name}" ({kinds})')
        values = [[row.get(column) for column in columns] for row in rows]
        database.executemany(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(columns))})', values)
    return database


def _said(p: float | None) -> dict[str, Any]:
    if p is None:
        return {"p_normal": None, "p_tumour": None, "label": None}
    return {"p_normal": 1 - p, "p_tumour": p, "label": "tumour" if p >= 0.5 else "normal"}


def by_sqlite(database: sqlite3.Connection, where: str) -> list[int]:
    rows = database.execute(
        "SELECT tile.tile_id FROM tile LEFT JOIN slide ON slide.s = tile.slide_id "
        "LEFT JOIN label ON label.t = tile.tile_id "
        'LEFT JOIN "tumour-linear" ON "tumour-linear".t = tile.tile_id '
        "LEFT JOIN whole ON whole.t = tile.tile_id "
        f'LEFT JOIN "Grade" ON "Grade".t = tile.tile_id WHERE {where}'
    )
    return sorted(row[0] for row in rows)


def let_through(collection: Collection, selection: Selection) -> list[int]:
    """Ids of the tiles that pass."""
    found = collection.tiles(where=selection.where, columns=["tile_id"]).column(0).to_numpy()
    if selection.tile_ids is not None:
        ids = selection.tile_ids
        assert (ids[1:] > ids[:-1]).all() and ids.dtype == np.int64
        found = found[np.isin(found, selection.tile_ids)]
    return sorted(found.tolist())
