"""A sample of the tiles of a collection, spread evenly over its slides, with their vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import require
from embedstore.sorted_ids import positions_in
from embedstore.store import Collection
from embedstore.store.nearest import TILE_COLUMNS
from embedstore.store.schema import batch_rows
from embedstore.store.vectors import matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class TileSample:
    """n tiles of a collection, in the order of its rows.

    Attributes:
        tiles: (n) rows with TILE_COLUMNS.
        vectors: (n, dim) float32, length 1.
        candidates: Tiles that the sample was drawn from.
        slides: Slides that the sample was drawn from.
        left_out: Tiles that were drawn and left out, as their vector is 0 or not finite and has no direction.
    """

    tiles: pa.Table
    vectors: NDArray[np.float32]
    candidates: int
    slides: int
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the sample."""
        if not self.left_out:
            return ()
        return (f"{self.left_out:,} tile(s) of the sample have a vector of zeros, NaN or infinity; left out",)


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnRows:
    """Rows of a collection that were drawn.

    Attributes:
        collection: The collection at the version whose rows they are.
        rows: (n,) positions in the table, ascending.
        candidates, slides: Tiles and slides that they were drawn from.
    """

    collection: Collection
    rows: NDArray[np.int64]
    candidates: int
    slides: int

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Columns of the rows."""
        dataset, step = self.collection.dataset(), batch_rows(self.collection.dim)
        parts = [
            dataset.take(self.rows[start : start + step].tolist(), columns=list(columns))
            for start in range(0, len(self.rows), step)
        ]
        return pa.concat_tables(parts) if parts else dataset.to_table(columns=list(columns), filter="false")


def draw_rows(
    collection: Collection,
    n: int,
    *,
    slides: Sequence[str] | None = None,
    tile_ids: NDArray[np.int64] | None = None,
    exclude: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> DrawnRows:
    """Draw the same number of tiles from each slide, and all tiles of a slide that has fewer.

    The slide of every candidate is read: 4 bytes of memory each, 8 more where slides are given, and 1 where ids are.

    Args:
        n: Tiles to draw; 0 for all.
        slides: Draw from these slides only.
        tile_ids: Draw from these tiles only.
        exclude: Do not draw these tiles.
    Raises:
        ConfigError: n is negative.
    """
    require(n >= 0, f"the sample has {n} tiles; expected 1 or more, or 0 for all")
    collection = collection.pinned()  # row numbers are those of one version
    by_id = tile_ids is not None or exclude is not None
    among, without = (None if ids is None else np.unique(ids) for ids in (tile_ids, exclude))
    columns = ["slide_id", *(["tile_id"] if by_id else []), *(["_rowoffset"] if slides is not None else [])]
    codes, keep, offsets, names = [], [], [], dict[str, int]()
    for batch in collection.batches(slides=slides, columns=columns, batch_size=1 << 20):
        slide = batch.column("slide_id").dictionary_encode()
        batch_codes = np.array([names.setdefault(name, len(names)) for name in slide.dictionary.to_pylist()], np.int32)
        codes.append(batch_codes[slide.indices.to_numpy()] if len(batch_codes) else np.empty(0, np.int32))
        if by_id:
            keep.append(_allowed(batch.column("tile_id").to_numpy(), among, without))
        if slides is not None:
            offsets.append(batch.column("_rowoffset").to_numpy())
    code = np.concatenate(codes) if codes else np.empty(0, np.int32)
    allowed = np.concatenate([*keep, np.empty(0, bool)]) if by_id else np.ones(len(code), bool)
    candidates = np.flatnonzero(allowed)
    rows = candidates[_drawn(code[candidates], n or len(candidates), np.random.default_rng(seed))]
    return DrawnRows(
        collection=collection,
        rows=np.concatenate(offsets)[rows] if offsets else rows,
        candidates=len(candidates),
        slides=len(np.unique(code[candidates])),
    )


def _allowed(
    ids: NDArray[np.int64], among: NDArray[np.int64] | None, exclude: NDArray[np.int64] | None
) -> NDArray[np.bool_]:
    """(n,) whether each id may be drawn; `among` and `exclude` are ascending, as this is asked fragment by fragment."""
    allowed = np.ones(len(ids), bool) if among is None else positions_in(among, ids) >= 0
    return allowed if exclude is None else allowed & (positions_in(exclude, ids) < 0)


def sample_tiles(
    collection: Collection,
    n: int,
    *,
    slides: Sequence[str] | None = None,
    tile_ids: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> TileSample:
    """Draw tiles as `draw_rows` does, and read the vectors of those that are drawn. Arguments and errors as there."""
    sample = draw_rows(collection, n, slides=slides, tile_ids=tile_ids, seed=seed)
    table = sample.read([*TILE_COLUMNS, "vector"])
    vectors, valid = directions(matrix(table.column("vector").combine_chunks(), collection.dim))
    return TileSample(
        tiles=table.drop_columns(["vector"]).filter(pa.array(valid)),
        vectors=vectors,
        candidates=sample.candidates,
        slides=sample.slides,
        left_out=int((~valid).sum()),
    )


def directions(vectors: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Unit vectors of the (n, dim) vectors that have a direction, and (n,) which these are: not 0 and finite."""
    wide = vectors.astype(np.float32)
    length = np.linalg.norm(wide, axis=1)
    valid = np.isfinite(length) & (length > 0)
    return wide[valid] / length[valid, None], valid


def _drawn(code: NDArray[np.int32], n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Ascending positions of n tiles; no slide has two fewer than another, unless that is all it has."""
    if n >= len(code):
        return np.arange(len(code))
    shuffled = rng.permutation(len(code))
    order = shuffled[np.argsort(code[shuffled], kind="stable")]  # by slide, each in a random order
    counts = np.bincount(code)
    turn = np.empty(len(code), np.int64)
    turn[order] = np.arange(len(code)) - (np.cumsum(counts) - counts)[code[order]]  # 0 for the first of each slide
    return np.sort(shuffled[np.argsort(turn[shuffled], kind="stable")[:n]])
