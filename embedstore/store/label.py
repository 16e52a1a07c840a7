"""A label: one author's statement that a place is of a class; and which labels are about the same place."""

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.store.schema import LABELS
from embedstore.store.table import now

#: What a label is about: a tile (by file name, or x, y and edge), a point, an area, the rest (whatever no other label
#: of the task is about, in an area, or on the whole slide if there is no geometry), a whole slide, or all slides of a
#: patient.
Kind = Literal["tile", "point", "area", "rest", "slide", "patient"]
#: The author of labels that come with a folder of ready-made tiles.
INGEST = "ingest"
#: The columns that say what a label is about. The patient counts only for the label of a patient, and its slide not.
PLACE = ("kind", "slide_id", "name", "x", "y", "edge_l0", "geometry", "patient")


@dataclass(frozen=True, kw_only=True)
class Label:
    """One author's statement that a place is of a class.

    Attributes:
        task: The question that the label answers.
        label: The class.
        kind: What the label is about.
        slide_id: The slide; None for a patient's label.
        name: The file of a ready-made tile in its folder.
        x, y: A point, or the top-left corner of a tile; level-0 pixels.
        edge_l0: Edge of a tile, level-0 pixels.
        geometry: An area as WKB, level-0 pixels.
        split: The published part of the data that it belongs to, such as 'train'.
        patient: Patient or case, if known.
        author: Who gave the label.
        source: The file that it comes from; empty where it was given without one.
        created_at: When it was first written to the store; None before that.
    """

    task: str
    label: str
    kind: Kind = "tile"
    slide_id: str | None = None
    name: str | None = None
    x: float | None = None
    y: float | None = None
    edge_l0: float | None = None
    geometry: bytes | None = None
    split: str | None = None
    patient: str | None = None
    author: str = INGEST
    source: str = ""
    created_at: dt.datetime | None = None

    def row(self, created_at: dt.datetime | None = None) -> dict[str, Any]:
        """{column: value} of the table of labels."""
        values = {name: getattr(self, name) for name in LABELS.names if name != "created_at"}
        return {**values, "created_at": created_at or now()}

    @classmethod
    def from_table(cls, table: pa.Table) -> "list[Label]":
        """The labels of the rows of a table of labels."""
        columns = [name for name in LABELS.names if name != "key"]
        return [cls(**row) for row in table.select(columns).to_pylist()]

    @property
    def key(self) -> str:
        """The primary key: of ingest, one label a ready-made tile; of people, one a place for each class and file, and
        one a place where they give labels without a file."""
        parts = [self.task, self.slide_id or "", self.name or "", self.author]
        if self.name is None or self.author != INGEST:
            given = not self.source and self.author != INGEST
            place = (None if value is None else float(value) + 0.0 for value in (self.x, self.y, self.edge_l0))
            patient = "" if given and self.kind != "patient" else self.patient or ""
            parts += [self.kind, "" if given else self.label, *map(str, place), patient, self.source]
        digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=16)
        digest.update(self.geometry or b"")
        return digest.hexdigest()


def label_rows(labels: Sequence[Label]) -> pa.Table:
    """Labels as rows of LABELS, each with its key."""
    columns = [[getattr(label, name) for label in labels] for name in LABELS.names]
    return pa.Table.from_arrays(
        [pa.array(*column) for column in zip(columns, LABELS.types, strict=True)], schema=LABELS
    )


def place_codes(*tables: pa.Table) -> list[NDArray[np.int64]]:
    """A number for the place of each label, the same for the same place; places are compared exactly.

    Args:
        tables: Rows with the columns of PLACE.
    Returns:
        (n,) for each table of n rows; numbers are from 0, over all tables.
    """
    rows = pa.concat_tables([table.select(PLACE).cast(_PLACES) for table in tables])
    of_patient = pc.fill_null(pc.equal(rows.column("kind"), "patient"), False)
    codes = np.zeros(len(rows), np.int64)
    for name in PLACE:
        column = rows.column(name)
        if name == "patient":
            column = pc.if_else(of_patient, column, pa.scalar(None, pa.string()))
        elif name == "kind":
            column = pc.fill_null(column, "tile")  # an older version wrote no others
        elif name == "geometry":
            column = pc.if_else(pc.equal(pc.binary_length(column), 0), pa.scalar(None, pa.binary()), column)
        elif name == "slide_id":
            column = pc.if_else(of_patient, pa.scalar(None, pa.string()), column)
        elif pa.types.is_floating(column.type):
            column = pc.add(column, 0.0)  # -0 is 0
        values = _codes(column)
        codes = np.unique(codes * (values.max(initial=0) + 1) + values, return_inverse=True)[1].astype(np.int64)
    return np.split(codes, np.cumsum([len(table) for table in tables])[:-1])


_PLACES = pa.schema([LABELS.field(name) for name in PLACE])


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """(n,) a number for each value of a column, 0 for none."""
    encoded = column.dictionary_encode()
    indices = [pc.fill_null(pc.add(chunk.indices.cast(pa.int64()), 1), 0).to_numpy() for chunk in encoded.chunks]
    return np.concatenate(indices) if indices else np.empty(0, np.int64)
