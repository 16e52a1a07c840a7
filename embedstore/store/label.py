"""A label: one author's statement that a place is of a class; and which labels are about the same place."""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.store.schema import LABELS
from embedstore.store.table import now, repeated_rows

#: What a label is about: a tile (by file name, or x, y and edge), a point, an area, the rest (whatever no other label
#: of the task is about, in an area, or on the whole slide if there is no geometry), a whole slide, or all slides of a
#: patient.
Kind = Literal["tile", "point", "area", "rest", "slide", "patient"]
#: The author of labels that come with a folder of ready-made tiles.
INGEST = "ingest"
#: The columns that say what a label is about. The patient counts only for the label of a patient, and its slide not.
PLACE = ("kind", "slide_id", "name", "x", "y", "edge_l0", "geometry", "patient")
_KEYS_AT_ONCE = 100_000  # rows whose texts are in memory: some 20 MB


@dataclass(frozen=True, kw_only=True, slots=True)
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


def statement_rows(labels: Sequence[Label] | Mapping[str, pa.Array]) -> pa.Table:
    """Labels as rows of LABELS without the key; `created_at` is None where they were never written.

    Args:
        labels: Labels, or those columns that have values.
    """
    fields = [field for field in LABELS if field.name != "key"]
    if not isinstance(labels, Mapping):
        labels = {
            field.name: pa.array([getattr(label, field.name) for label in labels], field.type) for field in fields
        }
    empty = pa.nulls(len(labels["task"]))
    columns = [labels.get(field.name, empty).cast(field.type) for field in fields]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def label_rows(labels: Sequence[Label] | pa.Table) -> pa.Table:
    """Labels as rows of LABELS, each with its key.

    Args:
        labels: Labels, or rows of LABELS; those without the column `key` get it.
    """
    rows = labels if isinstance(labels, pa.Table) else statement_rows(labels)
    if "key" in rows.column_names:
        return rows
    keys = [_keys(rows.slice(start, _KEYS_AT_ONCE)) for start in range(0, len(rows), _KEYS_AT_ONCE)]
    return rows.add_column(0, LABELS.field("key"), pa.chunked_array(keys, pa.string()))


def _keys(rows: pa.Table) -> pa.Array:
    """The keys of a few rows."""

    def text(name: str) -> pa.ChunkedArray:
        return pc.fill_null(rows.column(name), "")

    of_ingest = pc.equal(rows.column("author"), INGEST)
    given = pc.and_(pc.equal(text("source"), ""), pc.invert(of_ingest))
    whose = pc.if_else(pc.and_(given, pc.not_equal(rows.column("kind"), "patient")), "", text("patient"))
    parts = [rows.column("task"), text("slide_id"), text("name"), rows.column("author")]
    more = [rows.column("kind"), pc.if_else(given, "", rows.column("label"))]
    more += [_number_texts(rows.column(name)) for name in ("x", "y", "edge_l0")]
    said = pc.binary_join_element_wise(*parts, *more, whose, text("source"), "\0")
    named = pc.and_(of_ingest, pc.is_valid(rows.column("name")))
    if pc.any(named).as_py():
        said = pc.if_else(named, pc.binary_join_element_wise(*parts, "\0"), said)
    said = said.cast(pa.binary())
    if rows.column("geometry").null_count < len(rows):
        said = pc.binary_join_element_wise(said, pc.fill_null(rows.column("geometry"), b""), b"")
    return pa.array([hashlib.blake2b(each, digest_size=16).hexdigest() for each in said.to_pylist()], pa.string())


def _number_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers as Python writes them, and None; 0.0 of -0.0."""
    encoded = pc.add(column, 0.0).combine_chunks().dictionary_encode()
    texts = pa.array([str(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return pc.fill_null(texts.take(encoded.indices), "None")


def last_of_key(rows: pa.Table) -> pa.Table:
    """The last row with each key, where the first of them is."""
    repeated = repeated_rows(rows.column("key"))
    if not len(repeated):
        return rows
    codes = column_codes(rows.column("key").take(repeated)) - 1
    first, last = np.full(int(codes.max()) + 1, len(rows), np.int64), np.zeros(int(codes.max()) + 1, np.int64)
    np.minimum.at(first, codes, repeated)
    np.maximum.at(last, codes, repeated)
    kept = np.arange(len(rows))
    kept[repeated] = -1
    kept[first] = last
    return rows.take(kept[kept >= 0])


def distinct_labels(rows: pa.Table) -> pa.Table:
    """The first of those rows of LABELS that say the same."""
    repeated = repeated_rows(rows.column("key"))
    if not len(repeated):
        return rows
    found = rows.take(repeated)
    codes = column_codes(found.column("key")) - 1
    for name in ("label", "split", "patient"):
        codes = combined_codes(codes, column_codes(found.column(name)))
    kept = np.ones(len(rows), bool)
    kept[repeated] = False
    kept[repeated[np.unique(codes, return_index=True)[1]]] = True
    return rows.filter(pa.array(kept))


def place_codes(*tables: pa.Table) -> list[NDArray[np.int64]]:
    """A number for the place of each label, the same for the same place; places are compared exactly.

    Args:
        tables: Rows with the columns of PLACE.
    Returns:
        (n,) for each table of n rows; numbers are from 0, over all tables.
    """
    rows = pa.concat_tables([table.select(PLACE).cast(_PLACES) for table in tables])
    of_patient = pc.fill_null(pc.equal(rows.column("kind"), "patient"), False)
    codes, most = np.zeros(len(rows), np.int64), 1  # codes are below `most`
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
        values = column_codes(column)
        kinds = int(values.max(initial=0)) + 1
        if most * kinds >= 1 << 62:
            codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
            most = len(rows)
        codes, most = codes * kinds + values, most * kinds
    codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return np.split(codes, np.cumsum([len(table) for table in tables])[:-1])


_PLACES = pa.schema([LABELS.field(name) for name in PLACE])


def combined_codes(codes: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) a number for each pair of numbers, from 0."""
    return np.unique(codes * (values.max(initial=0) + 1) + values, return_inverse=True)[1].astype(np.int64)


def column_codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """(n,) a number for each value of a column, from 1 in the order in which they come; 0 for none."""
    indices = column.combine_chunks().dictionary_encode().indices
    return pc.fill_null(pc.add(indices.cast(pa.int64()), 1), 0).to_numpy()
