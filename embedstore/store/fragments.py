"""Writes a slide's rows as fragments of a table. Readers do not see them before the committer commits them."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from lance.fragment import write_fragments

from embedstore.config import ViewConfig
from embedstore.errors import SlideError
from embedstore.store.outage import through_outages
from embedstore.store.schema import BLOCK_ROWS, batch_rows
from embedstore.tile_id import tile_ids, tile_keys
from embedstore.views import draw_parameters


@dataclass(frozen=True, kw_only=True)
class SlideFragments:
    """A slide's finished fragments, on their way to the committer.

    Attributes:
        collection: The collection's name.
        slide_id: The slide that the rows belong to.
        fragments: The fragments' metadata as JSON, in the order of the slide's tiles.
        rows: Number of rows in all fragments.
        views: The fragments of the table of views, likewise; empty if no views are made.
        view_rows: Number of rows in the fragments of views.
    """

    collection: str
    slide_id: str
    fragments: tuple[str, ...]
    rows: int
    views: tuple[str, ...] = ()
    view_rows: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewRows:
    """Where a slide's views are written, and how they are drawn.

    Attributes:
        table_uri: URI of the table of views.
        schema: Its schema.
        config: How the views of each tile are drawn.
    """

    table_uri: str
    schema: pa.Schema
    config: ViewConfig


class FragmentWriter:
    """Writes a slide's embeddings, which may arrive in any order, as fragments in the order of its tiles.

    Only incomplete blocks are in memory. If tiles arrive nearly in order, these are one or two, whatever the size of
    the slide.

    Args:
        table_uri: URI of the collection's table.
        schema: The collection's schema.
        collection: The collection's name.
        slide_id: The slide.
        xy_l0: (n, 2) int32, top-left corner of every planned tile, level-0 pixels.
        edge_l0: A tile's edge, level-0 pixels: one for all, or (n,) integers.
        tissue: (n,) float32, share of every tile that is tissue; None where that is not known.
        names: File name of every tile, for folders of ready-made tiles.
        views: Where and how views are written; None for no views.
        stored: Ids of the slide's tiles that are in the collection and lack their views. If given, only views of these
            tiles are written, and no tiles.
        block_rows: Rows in a block, which is written at once.
    Raises:
        SlideError: a stored tile is not among the planned tiles, because the tissue mask has changed.
    """

    def __init__(
        self,
        *,
        table_uri: str,
        schema: pa.Schema,
        collection: str,
        slide_id: str,
        xy_l0: np.ndarray,
        edge_l0: int | np.ndarray,
        tissue: np.ndarray | None,
        names: tuple[str, ...] | None = None,
        views: ViewRows | None = None,
        stored: np.ndarray | None = None,
        block_rows: int = BLOCK_ROWS,
    ):
        self.collection, self.slide_id = collection, slide_id
        self._xy, self._tissue, self._names = xy_l0, tissue, names
        self._edge = np.broadcast_to(np.asarray(edge_l0, dtype=np.int32), len(xy_l0))
        self._tiles = self._views = None
        self._kept = np.ones(len(xy_l0), bool) if stored is None else self._is_stored(stored)
        if stored is None:
            self._tiles = _Rows(table_uri, schema, len(xy_l0), self._tile_columns, block_rows)
        if views is not None:
            self._drawn, count = views.config, views.config.count
            whole_tiles = max(1, block_rows // count) * count
            self._views = _Rows(views.table_uri, views.schema, len(xy_l0) * count, self._view_columns, whole_tiles)

    def __len__(self) -> int:
        return len(self._xy)

    @property
    def complete(self) -> bool:
        """Whether every planned tile and view has arrived or is known to be unreadable, and every block is written."""
        return all(rows.complete for rows in (self._tiles, self._views) if rows is not None)

    def put(self, rows: np.ndarray, embeddings: np.ndarray | None) -> None:
        """Add the embeddings of some tiles, or None for tiles that could not be read.

        Args:
            rows: (m,) int, the tiles' positions in the plan.
            embeddings: (m, dim) float16.
        """
        if self._tiles is not None:
            self._tiles.put(rows, embeddings)

    def put_views(self, rows: np.ndarray, embeddings: np.ndarray | None) -> None:
        """Add the embeddings of some views, or None for views of tiles that could not be read.

        Args:
            rows: (m,) int: the tile's position in the plan, times the number of views per tile, plus the view's index.
            embeddings: (m, dim) float16.
        """
        if self._views is None:
            return
        kept = self._kept[rows // self._drawn.count]
        if not kept.all():
            self._views.put(rows[~kept], None)
            rows, embeddings = rows[kept], None if embeddings is None else embeddings[kept]
        self._views.put(rows, embeddings)

    def _is_stored(self, stored: np.ndarray) -> np.ndarray:
        """(n,) bool: whether each planned tile is stored."""
        planned = self._ids(np.arange(len(self)))
        unplanned = int((~np.isin(stored, planned)).sum())
        if unplanned:
            raise SlideError(
                f"slide {self.slide_id!r}: {unplanned:,} of its {len(stored):,} tiles in collection "
                f"{self.collection!r} are not among the {len(planned):,} that are found now, probably because the "
                "tissue mask was changed; these tiles would lack views; restore the earlier mask, or make tiles and "
                f"views again with --force {self.slide_id}"
            )
        return np.isin(planned, stored)

    def _ids(self, planned: np.ndarray) -> np.ndarray:
        names = None if self._names is None else tuple(self._names[i] for i in planned)
        return tile_ids(self.slide_id, tile_keys(self._xy[planned], names))

    def _tile_columns(self, planned: np.ndarray) -> list[pa.Array]:
        xy, n = self._xy[planned], len(planned)
        names = None if self._names is None else [self._names[i] for i in planned]
        return [
            pa.array(self._ids(planned)),
            pa.repeat(self.slide_id, n),
            pa.array(np.ascontiguousarray(xy[:, 0], dtype=np.int32)),
            pa.array(np.ascontiguousarray(xy[:, 1], dtype=np.int32)),
            pa.array(np.ascontiguousarray(self._edge[planned])),
            pa.nulls(n, pa.string()) if names is None else pa.array(names, pa.string()),
            pa.nulls(n, pa.float32()) if self._tissue is None else pa.array(self._tissue[planned].astype(np.float32)),
        ]

    def _view_columns(self, planned: np.ndarray) -> list[pa.Array]:
        tiles, at = np.unique(planned // self._drawn.count, return_inverse=True)
        ids, view = self._ids(tiles), planned % self._drawn.count
        drawn = draw_parameters(ids, self._drawn)[at, view]
        return [
            pa.array(ids[at]),
            pa.repeat(self.slide_id, len(planned)),
            pa.array((view + 1).astype(np.int16)),
            *(pa.array(np.ascontiguousarray(column)) for column in drawn.T),
        ]

    def finish(self) -> SlideFragments:
        """The slide's fragments; call it once `complete`."""
        tiles, views = ((rows.result() if rows is not None else ((), 0)) for rows in (self._tiles, self._views))
        return SlideFragments(
            collection=self.collection, slide_id=self.slide_id, fragments=tiles[0], rows=tiles[1], views=views[0],
            view_rows=views[1],
        )  # fmt: skip


class _Rows:
    """Rows of one table, written in blocks, each as soon as it is complete.

    Args:
        total: Number of planned rows.
        columns: Returns, for some planned rows, every column but the last, which is the vector.
    """

    def __init__(
        self, table_uri: str, schema: pa.Schema, total: int, columns: Callable[[np.ndarray], list[pa.Array]],
        block_rows: int,
    ):  # fmt: skip
        self._uri, self._schema, self._total, self._columns = table_uri, schema, total, columns
        self._dim = schema.field("vector").type.list_size
        self._block_rows = block_rows
        self._blocks: dict[int, _Block] = {}
        self._written: dict[int, tuple[str, ...]] = {}
        self._rows = 0
        self._seen = 0

    @property
    def complete(self) -> bool:
        return self._seen == self._total and not self._blocks

    def put(self, rows: np.ndarray, embeddings: np.ndarray | None) -> None:
        for number in np.unique(rows // self._block_rows):
            chosen = rows // self._block_rows == number
            start = int(number) * self._block_rows
            block = self._blocks.setdefault(
                int(number), _Block(min(self._block_rows, self._total - start), self._dim, start)
            )
            block.put(rows[chosen] - start, None if embeddings is None else embeddings[chosen])
            if block.missing == 0:
                self._written[int(number)] = self._write(self._blocks.pop(int(number)))
        self._seen += len(rows)

    @through_outages
    def _write(self, block: "_Block") -> tuple[str, ...]:
        keep = np.flatnonzero(block.readable)
        if len(keep) == 0:
            return ()
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.vectors[keep].reshape(-1)), self._dim)
        table = pa.Table.from_arrays([*self._columns(keep + block.start), vectors], schema=self._schema)
        reader = pa.RecordBatchReader.from_batches(self._schema, table.to_batches(max_chunksize=batch_rows(self._dim)))
        fragments = write_fragments(reader, self._uri, schema=self._schema, mode="append")
        self._rows += len(keep)
        return tuple(json.dumps(fragment.to_json()) for fragment in fragments)

    def result(self) -> tuple[tuple[str, ...], int]:
        """The fragments in the order of the rows, and the number of rows in them."""
        assert self.complete, f"{self._seen} of {self._total} rows of {self._uri} have arrived"
        return tuple(f for number in sorted(self._written) for f in self._written[number]), self._rows


class _Block:
    """A range of planned rows that is being filled."""

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
