"""A few tiles of a collection, spread evenly over its slides, with their vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import require
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

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the sample."""
        if not self.pointless:
            return ()
        return (f"{self.pointless:,} tile(s) of the sample have a vector of zeros, NaN or infinity; left out",)


def sample_tiles(
    collection: Collection,
    n: int,
    *,
    slides: Sequence[str] | None = None,
    tile_ids: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> TileSample:
    """Draw tiles, of each slide as many, and all of a slide that has fewer.

    The ids of slides are read of every tile that may be drawn (4 bytes of memory each, 12 where slides are given),
    vectors of those drawn only.

    Args:
        n: How many; 0 takes all.
        slides: Draw from these slides only.
        tile_ids: Draw from these tiles only.
    Raises:
        ConfigError: n is negative.
    """
    require(n >= 0, f"the sample is of {n} tiles; expected 1 or more, or 0 for all")
    collection = collection.pinned()  # positions hold for one version
    columns = [
        "slide_id",
        *(["tile_id"] if tile_ids is not None else []),
        *(["_rowoffset"] if slides is not None else []),
    ]
    codes, keep, offsets, names = [], [], [], dict[str, int]()
    for batch in collection.batches(slides=slides, columns=columns, batch_size=1 << 20):
        slide = batch.column("slide_id").dictionary_encode()
        known = np.array([names.setdefault(name, len(names)) for name in slide.dictionary.to_pylist()], np.int32)
        codes.append(known[slide.indices.to_numpy()] if len(known) else np.empty(0, np.int32))
        if tile_ids is not None:
            keep.append(np.isin(batch.column("tile_id").to_numpy(), tile_ids))
        if slides is not None:
            offsets.append(batch.column("_rowoffset").to_numpy())
    code = np.concatenate(codes) if codes else np.empty(0, np.int32)
    wanted = np.ones(len(code), bool) if tile_ids is None else np.concatenate([*keep, np.empty(0, bool)])
    candidates = np.flatnonzero(wanted)
    rows = candidates[_drawn(code[candidates], n or len(candidates), np.random.default_rng(seed))]
    rows = np.concatenate(offsets)[rows] if offsets else rows
    dataset, step = collection.dataset(), batch_rows(collection.dim)
    parts = [
        dataset.take(rows[start : start + step].tolist(), columns=[*TILE_COLUMNS, "vector"])
        for start in range(0, len(rows), step)
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
