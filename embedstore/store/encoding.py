"""An encoding of a collection: a vector for each slide, in a table of its own, with what made it in its metadata."""

import base64
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lance.fragment import write_fragments
from numpy.typing import NDArray

from embedstore.encoder_config import check_encoding_name
from embedstore.encoding_record import EncodingFacts, EncodingRecord
from embedstore.errors import EncodingNotFoundError, StoreError
from embedstore.store.collection import Collection
from embedstore.store.derived_table import DerivedTable
from embedstore.store.ledger import Ledger
from embedstore.store.location import table_names
from embedstore.store.schema import FORMAT_VERSION, check_collection_name
from embedstore.store.sql import sql_in
from embedstore.typed_values import guess

PREFIX = "encoded-"
RECORD_KEY = b"embedstore.encoding"
PARAMETERS_KEY = b"embedstore.encoding.parameters"
#: A table with more fragments than this is compacted: each commit of some slides leaves one.
TIDY_FRAGMENTS = 64
#: Compaction keeps versions younger than this, seconds: readers may still use them.
TIDY_KEEP_S = 3600.0


class SlideState(NamedTuple):
    """What the vector of a slide was made from; where it is another now, the slide is encoded again.

    Attributes:
        tiles: Number of its rows in the collection.
        stamp: When its outcome was last written; of a slide without one, the version of the collection's table.
    """

    tiles: int
    stamp: str


def slide_states(ledger: Ledger, collection: Collection) -> dict[str, SlideState]:
    """The present state of each slide of a collection.

    A slide that is ingested again may have the same tiles with other vectors; its outcome is written anew then.
    """
    rows = ledger.outcome_table(collection.name, ["slide_id", "updated_at"]).to_pylist()
    written = {row["slide_id"]: row["updated_at"].isoformat() for row in rows if row["updated_at"] is not None}
    version = f"version {collection.dataset().version}"
    return {slide: SlideState(tiles, written.get(slide, version)) for slide, tiles in collection.slides().items()}


class Encoding(DerivedTable):
    """The vectors of a collection's slides by one encoder; the table may not exist yet.

    Args:
        store_uri: The store.
        collection: Name of the collection.
        name: Name of the encoding; without dots, so that the table's name can be taken apart.
    """

    def __init__(self, store_uri: str, collection: str, name: str):
        self.collection, self.encoder = check_collection_name(collection), check_encoding_name(name)
        super().__init__(store_uri, f"{PREFIX}{collection}.{name}")

    def record(self) -> EncodingRecord:
        """How it was made.

        Raises:
            EncodingNotFoundError: there is none.
        """
        raw = self._metadata().get(RECORD_KEY)
        record = {} if raw is None else json.loads(raw)
        if record.pop("format", None) != FORMAT_VERSION:
            raise StoreError(
                f"encoding {self.encoder!r} of collection {self.collection!r} was not written by this version of "
                "embedstore; make it anew: `embedstore encode-slides --rebuild`"
            )
        return EncodingRecord.from_record(record)

    def parameters(self) -> bytes:
        """What a fitted encoder needs beside its record, such as a codebook, as safetensors; empty where nothing."""
        return base64.b64decode(self._metadata().get(PARAMETERS_KEY, b""))

    def _metadata(self) -> dict[bytes, bytes]:
        if not self.exists():
            others = [name for of, name in encoding_names(table_names(self._store_uri)) if of == self.collection]
            has = f"; it has {', '.join(others)}{guess([self.encoder], others)}" if others else ""
            raise EncodingNotFoundError(
                f"collection {self.collection!r} has no encoding {self.encoder!r}{has}; `embedstore encode-slides "
                f"--collection {self.collection} --encoder {self.encoder}` makes it"
            )
        return self._table.open().schema.metadata or {}

    def states(self) -> dict[str, SlideState]:
        """What each of its slides was made from; nothing where there is no table."""
        if not self.exists():
            return {}
        rows = self._table.open().to_table(columns=["slide_id", "tiles", "stamp"]).to_pylist()
        return {row["slide_id"]: SlideState(row["tiles"], row["stamp"]) for row in rows}

    def facts(self, present: dict[str, SlideState]) -> EncodingFacts:
        """What it holds of the slides of its collection, whose `slide_states` are given."""
        stored = self.states()
        current = sum(stored.get(slide) == state for slide, state in present.items())
        return EncodingFacts(record=self.record(), slides=current, lacking=len(present) - current)

    def rows(self, present: Iterable[str]) -> pa.Table:
        """slide_id and vector of the slides that are encoded, by id.

        Args:
            present: Slides of the collection now; others are left out.
        Raises:
            EncodingNotFoundError: there is none.
        """
        self._metadata()
        known = pa.array(sorted(present), pa.string())
        table = self._table.open().to_table(columns=["slide_id", "vector"]).replace_schema_metadata(None)
        return table.filter(pc.is_in(table["slide_id"], value_set=known)).sort_by("slide_id")

    def version(self) -> int:
        """The version of its table, which each commit raises.

        Raises:
            EncodingNotFoundError: there is none.
        """
        self._metadata()
        return int(self._table.open().version)

    def vectors(self, present: Iterable[str]) -> tuple[list[str], NDArray[np.float32]]:
        """The `rows` as ids, and (n, dim) vectors."""
        rows = self.rows(present)
        flat = rows["vector"].combine_chunks().flatten().to_numpy()
        return rows["slide_id"].to_pylist(), flat.reshape(len(rows), -1)

    # -- writing: the caller holds the lease ------------------------------------------------

    def begin(self, record: EncodingRecord, parameters: bytes) -> None:
        """Make the table without rows, in place of one that there was."""
        about = json.dumps({"format": FORMAT_VERSION, **record.as_record()}, sort_keys=True).encode()
        metadata = {RECORD_KEY: about, PARAMETERS_KEY: base64.b64encode(parameters)}
        self._table.overwrite(_schema(record.ref.dim, metadata), [])

    def put(self, slides: Sequence[str], states: Sequence[SlideState], vectors: NDArray[np.float32]) -> None:
        """Add slides, or replace them, in one commit."""
        if not slides:
            return
        schema = self._table.open().schema
        flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
        columns = [
            pa.array(slides, pa.string()),
            pa.array([state.tiles for state in states], pa.int64()),
            pa.array([state.stamp for state in states], pa.string()),
            pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        ]
        rows = pa.Table.from_arrays(columns, schema=schema)
        self._table.replace(sql_in("slide_id", slides), write_fragments(rows, self._table.uri, mode="append"))
        if len(self._table.open().get_fragments()) > TIDY_FRAGMENTS:
            self._table.tidy(keep_s=TIDY_KEEP_S)


def _schema(dim: int, metadata: dict[bytes, bytes]) -> pa.Schema:
    return pa.schema(
        [
            pa.field("slide_id", pa.string(), nullable=False),
            pa.field("tiles", pa.int64(), nullable=False),
            pa.field("stamp", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ],
        metadata=metadata,
    )


def encoding_names(table_names: Iterable[str]) -> list[tuple[str, str]]:
    """(collection, name) of every encoding."""
    names = (name.removeprefix(PREFIX).rpartition(".") for name in table_names if name.startswith(PREFIX))
    return sorted((collection, name) for collection, _, name in names)
