"""Writing a slide's rows: fragments of a collection that nobody sees until the committer commits them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from lance.fragment import write_fragments

from embedstore.store.schema import BLOCK_ROWS, batch_rows, place, tile_ids


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A slide's finished fragments, on their way to the committer.

    Attributes:
        collection: The collection's name.
        slide_id: Whose rows these are.
        fragments: The fragments' metadata as JSON, in the order of the slide's tiles.
        rows: How many rows they hold together.
    """

    collection: str
    slide_id: str
    fragments: tuple[str, ...]
    rows: int


class SlideWriter:
    """Turns a slide's embeddings, which may come in any order, into fragments in the order of its tiles.

    Holds at most a block of rows for each block that is not complete yet: with tiles arriving nearly in order that is
    one or two, whatever the slide's size.

    Args:
        table_uri: Where the collection's table is.
        schema: The collection's schema.
        collection: The collection's name.
        slide_id: The slide.
        xy_l0: (n, 2) int32, top-left of every planned tile, level-0 pixels.
        edge_l0: A tile's edge, level-0 pixels.
        tissue: (n,) float32, share of tissue of every tile.
        names: File of every tile, for folders of ready-made tiles.
    """

    def __init__(
        self,
        *,
        table_uri: str,
        schema: pa.Schema,
        collection: str,
        slide_id: str,
        xy_l0: np.ndarray,
        edge_l0: int,
        tissue: np.ndarray,
        names: tuple[str, ...] | None = None,
        block_rows: int = BLOCK_ROWS,
    ):
        self._uri, self._schema = table_uri, schema
        self.collection, self.slide_id = collection, slide_id
        self._xy, self._edge, self._tissue, self._names = xy_l0, edge_l0, tissue, names
        self._dim = schema.field("vector").type.list_size
        self._block_rows = block_rows
        self._blocks: dict[int, _Block] = {}
        self._written: dict[int, tuple[str, ...]] = {}
        self._rows = 0
        self._seen = 0

    def __len__(self) -> int:
        return len(self._xy)

    @property
    def complete(self) -> bool:
        """Every planned tile has come, as an embedding or as unreadable, and every block is written."""
        return self._seen == len(self) and not self._blocks

    def put(self, rows: np.ndarray, embeddings: np.ndarray | None) -> None:
        """Take embeddings of some tiles, or None for tiles that could not be read.

        Args:
            rows: (m,) int, the tiles' positions in the plan.
            embeddings: (m, dim) float16.
        """
        for number in np.unique(rows // self._block_rows):
            chosen = rows // self._block_rows == number
            start = int(number) * self._block_rows
            block = self._blocks.setdefault(
                int(number), _Block(min(self._block_rows, len(self) - start), self._dim, start)
            )
            block.put(rows[chosen] - start, None if embeddings is None else embeddings[chosen])
            if block.missing == 0:
                self._written[int(number)] = self._write(self._blocks.pop(int(number)))
        self._seen += len(rows)

    def _write(self, block: "_Block") -> tuple[str, ...]:
        keep = np.flatnonzero(block.readable)
        if len(keep) == 0:
            return ()
        planned = keep + block.start
        table = self._table(planned, block.vectors[keep])
        reader = pa.RecordBatchReader.from_batches(self._schema, table.to_batches(max_chunksize=batch_rows(self._dim)))
        fragments = write_fragments(reader, self._uri, schema=self._schema, mode="append")
        self._rows += len(keep)
        return tuple(json.dumps(fragment.to_json()) for fragment in fragments)

    def _table(self, planned: np.ndarray, vectors: np.ndarray) -> pa.Table:
        xy = self._xy[planned]
        names = None if self._names is None else tuple(self._names[i] for i in planned)
        n = len(planned)
        return pa.Table.from_arrays(
            [
                pa.array(tile_ids(self.slide_id, place(xy, names))),
                pa.repeat(self.slide_id, n),
                pa.array(np.ascontiguousarray(xy[:, 0], dtype=np.int32)),
                pa.array(np.ascontiguousarray(xy[:, 1], dtype=np.int32)),
                pa.array(np.full(n, self._edge, dtype=np.int32)),
                pa.nulls(n, pa.string()) if names is None else pa.array(names, pa.string()),
                pa.array(self._tissue[planned].astype(np.float32)),
                pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), self._dim),
            ],
            schema=self._schema,
        )

    def delivery(self) -> Delivery:
        """The finished slide; call it once complete."""
        assert self.complete, f"slide {self.slide_id!r}: {self._seen} of {len(self)} tiles have come"
        ordered: Sequence[str] = [f for number in sorted(self._written) for f in self._written[number]]
        return Delivery(collection=self.collection, slide_id=self.slide_id, fragments=tuple(ordered), rows=self._rows)


class _Block:
    """A run of a slide's tiles, being filled."""

    def __init__(self, size: int, dim: int, start: int):
        self.start = start
        self.vectors = np.empty((size, dim), dtype=np.float16)
        self.readable = np.zeros(size, dtype=bool)
        self.missing = size

    def put(self, rows: np.ndarray, embeddings: np.ndarray | None) -> None:
        if embeddings is not None:
            self.vectors[rows] = embeddings
            self.readable[rows] = True
        self.missing -= len(rows)
