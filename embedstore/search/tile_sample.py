"""A few tiles of a collection, spread evenly over its slides, with their vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import require
from embedstore.store import Collection
from embedstore.store.nearest import TILE_COLUMNS
from embedstore.store.vectors import matrix

#: Rows taken at once: 8 MB of vectors at 768 dimensions in half precision.
_TAKE_ROWS = 5_000


@dataclass(frozen=True, kw_only=True, eq=False)
class TileSample:
    """n tiles of a collection, in the order of its rows.

    Attributes:
        tiles: (n) rows with TILE_COLUMNS.
        vectors: (n, dim) float32, length 1.
        of: Tiles that were drawn from.
        slides: Slides that they lie on, of those drawn from.
        pointless: Tiles that were drawn and left out, as their vector is 0 or not finite.
    """

    tiles: pa.Table
    vectors: NDArray[np.float32]
    of: int
    slides: int
    pointless: int = 0

    def __len__(self) -> int:
        return len(self.vectors)


def sample_tiles(
    collection: Collection,
    n: int,
    *,
    slides: Sequence[str] | None = None,
    tile_ids: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> TileSample:
    """Draw tiles, of each slide as many, and all of a slide that has fewer.

    The ids of slides are read of every tile (4 bytes of memory each), vectors of those drawn only.

    Args:
        n: How many; 0 takes all.
        slides: Draw from these slides only.
        tile_ids: Draw from these tiles only.
    Raises:
        ConfigError: n is negative.
    """
    require(n >= 0, f"the sample is of {n} tiles; expected 1 or more, or 0 for all")
    dataset = collection.dataset()
    columns = ["slide_id"] if tile_ids is None else ["slide_id", "tile_id"]
    codes, keep, names = [], [], dict[str, int]()
    for batch in dataset.to_batches(columns=columns, batch_size=1 << 20):
        slide = batch.column("slide_id").dictionary_encode()
        known = np.array([names.setdefault(name, len(names)) for name in slide.dictionary.to_pylist()], np.int32)
        codes.append(known[slide.indices.to_numpy()] if len(known) else np.empty(0, np.int32))
        if tile_ids is not None:
            keep.append(np.isin(batch.column("tile_id").to_numpy(), tile_ids))
    code = np.concatenate(codes) if codes else np.empty(0, np.int32)
    wanted = np.ones(len(code), bool) if tile_ids is None else np.concatenate([*keep, np.empty(0, bool)])
    if slides is not None:
        wanted &= np.isin(code, [names[name] for name in slides if name in names])
    candidates = np.flatnonzero(wanted)
    rows = candidates[_drawn(code[candidates], n or len(candidates), np.random.default_rng(seed))]
    parts = [
        dataset.take(rows[start : start + _TAKE_ROWS].tolist(), columns=[*TILE_COLUMNS, "vector"])
        for start in range(0, len(rows), _TAKE_ROWS)
    ]
    found = pa.concat_tables(parts) if parts else dataset.to_table(columns=[*TILE_COLUMNS, "vector"], filter="false")
    vectors, whole = directions(matrix(found.column("vector").combine_chunks(), collection.dim))
    return TileSample(
        tiles=found.drop_columns(["vector"]).filter(pa.array(whole)),
        vectors=vectors,
        of=len(candidates),
        slides=len(np.unique(code[candidates])),
        pointless=int((~whole).sum()),
    )


def directions(vectors: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors (n, dim) at length 1, without those that are 0 or not finite, and which are left (n,)."""
    given = vectors.astype(np.float32)
    length = np.linalg.norm(given, axis=1)
    whole = np.isfinite(length) & (length > 0)
    return given[whole] / length[whole, None], whole


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
