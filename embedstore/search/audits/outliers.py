"""Outliers: tiles far from everything, such as artefacts and slides of another stain."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import require
from embedstore.progress import OnProgress, no_progress
from embedstore.search.audits.audit import Audit
from embedstore.search.audits.nearest_elsewhere import nearest_elsewhere
from embedstore.search.tile_sample import sample_tiles
from embedstore.store import Collection

#: Standard deviations of the logarithm of the distance, by median and MAD, beyond which a tile is an outlier. 3.5 is
#: usual (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993), which 1 of 4,300 normal values exceeds;
#: 5 is exceeded by 1 of 3.5 million, as a sample of a store is large and its upper tail heavy.
LIMIT = 5.0
_MAD = 1.4826  # a standard deviation of normal values, in median absolute deviations


@dataclass(frozen=True, kw_only=True, eq=False)
class Outliers(Audit):
    """Tiles of a sample by their distance to other slides.

    Attributes:
        tiles: A row for each tile: TILE_COLUMNS, `distance` (mean cosine distance to its nearest tiles in other
            slides), `score` (its logarithm in standard deviations from the median) and `outlier`; farthest first.
        slides: A row for each slide: slide_id, tiles (of the sample), outliers, share, distance (median); most outliers
            first.
        limit: Score beyond which a tile is an outlier.
        neighbours: The distance is the mean of so many nearest tiles.
    """

    tiles: pa.Table
    slides: pa.Table
    limit: float
    neighbours: int

    def __repr__(self) -> str:
        slides = [
            f"{row['slide_id']}: {row['outliers']:,} of {row['tiles']:,} tiles, median distance {row['distance']:.3g}"
            for row in self.slides.to_pylist()
            if row["outliers"]
        ]
        return self._shown(f"{len(self):,} outliers, beyond a score of {self.limit:g}", slides)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.tiles.column("outlier").to_numpy()))


def find_outliers(
    collection: Collection,
    *,
    sample: int = 2_000,
    neighbours: int = 10,
    limit: float = LIMIT,
    on_progress: OnProgress = no_progress,
) -> Outliers:
    """Rank tiles by the mean distance to their nearest tiles in other slides.

    The distance to the k nearest is the outlier score of Angiulli and Pizzuti (PKDD 2002). Two slides of the same rare
    stain are near each other, and hide each other where their tiles are the nearest `neighbours`. A ready-made tile is
    compared with the other tiles of its folder too, as a folder is not a slide.

    Args:
        sample: Tiles to examine, spread evenly over slides; 0 for all.
        neighbours: How many nearest tiles.
        limit: Score beyond which a tile is an outlier.
    Raises:
        ConfigError: the sample is negative, neighbours below 1, or the limit not positive.
    """
    require(neighbours >= 1, f"neighbours is {neighbours}; expected 1 or more")
    require(limit > 0, f"the limit is {limit}; expected more than 0 standard deviations")
    collection = collection.pinned()
    drawn = sample_tiles(collection, sample)
    notes = drawn.notes
    slides, names = drawn.tiles["slide_id"].to_pylist(), drawn.tiles["name"].to_pylist()
    excluded = [() if name is not None else (slide,) for slide, name in zip(slides, names, strict=True)]
    nearest = nearest_elsewhere(collection, drawn, excluded, k=neighbours, stage="outliers", on_progress=on_progress)
    distance = np.array([np.mean(table["distance"].to_numpy()) if len(table) else np.nan for table in nearest])
    alone = np.isnan(distance)
    if alone.any():
        notes += (
            f"{int(alone.sum()):,} tile(s) have no tile of another slide to be compared with: collection "
            f"{collection.name!r} has one slide only; left out",
        )
    tiles, distance = drawn.tiles.filter(pa.array(~alone)), np.maximum(distance[~alone], 0)
    score = _scores(distance)
    order = np.argsort(-distance, kind="stable")
    for name, values in (("distance", distance), ("score", score), ("outlier", score > limit)):
        tiles = tiles.append_column(name, pa.array(values))
    tiles = tiles.take(order)
    return Outliers(
        tiles=tiles,
        slides=_by_slide(tiles),
        limit=limit,
        neighbours=neighbours,
        sampled=len(tiles),
        candidates=drawn.candidates,
        notes=notes,
    )


def _scores(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviations of the logarithms from their median; 0 for all where most are equal."""
    if not len(distance):
        return np.zeros(0)
    logarithm = np.log(np.maximum(distance, 1e-6))  # exact copies differ by rounding only
    deviation = logarithm - np.median(logarithm)
    spread = _MAD * np.median(np.abs(deviation))
    return deviation / spread if spread > 0 else np.zeros(len(distance))


def _by_slide(tiles: pa.Table) -> pa.Table:
    names, code = np.unique(np.array(tiles.column("slide_id").to_pylist(), str), return_inverse=True)
    outlier, distance = tiles.column("outlier").to_numpy(), tiles.column("distance").to_numpy()
    drawn, outliers = np.bincount(code, minlength=len(names)), np.bincount(code[outlier], minlength=len(names))
    median = np.array([np.median(distance[code == i]) for i in range(len(names))])
    share = outliers / np.maximum(drawn, 1)
    table = pa.table({
        "slide_id": pa.array(names.tolist(), pa.string()), "tiles": drawn, "outliers": outliers, "share": share,
        "distance": median,
    })  # fmt: skip
    return table.take(np.lexsort((-median, -share)))
