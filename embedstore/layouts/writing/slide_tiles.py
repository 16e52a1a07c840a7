"""A slide on its way into the files of a layout: what they say of it, and its tiles."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import TilingConfig
from embedstore.errors import LayoutExportError
from embedstore.extractor_ref import ExtractorRecord

#: Columns of the tiles that every layout starts from.
COLUMNS = ("tile_id", "x", "y", "edge_l0", "name", "tissue")


@dataclass(frozen=True, kw_only=True, eq=False)
class SlideTiles:
    """A slide and its tiles.

    Attributes:
        slide_id: The slide, as the store knows it.
        name: What its files are called: a relative path without suffix.
        rows: (n rows) `COLUMNS`, then the columns that were asked for.
        blocks: Gives its vectors in the same order, (rows, dim) float16, a block at a time; each call begins anew.
        dim: Length of a vector.
        collection: Name of the collection.
        extractor: What made the vectors.
        tiling: How the collection's slides were cut.
        slide_mpp: Micrometres per level-0 pixel; None where that is not known.
        size_l0: (width, height) of level 0, pixels; None where that is not known.
        bounds_l0: (x, y, width, height) of the part that holds an image, level-0 pixels.
        about: What the export was made of, for files that have room for it: JSON values.
        mark: What tells the files of this export from others; see `mark`.
    """

    slide_id: str
    name: str
    rows: pa.Table
    blocks: Callable[[], Iterator[NDArray[np.float16]]]
    dim: int
    collection: str
    extractor: ExtractorRecord
    tiling: TilingConfig
    slide_mpp: float | None
    size_l0: tuple[int, int] | None
    bounds_l0: tuple[int, int, int, int] | None
    about: dict[str, Any]
    mark: dict[str, str]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def xy_l0(self) -> NDArray[np.int64]:
        """(n, 2) top-left corners, level-0 pixels."""
        return np.stack([self.rows["x"].to_numpy(), self.rows["y"].to_numpy()], axis=1).astype(np.int64)

    @cached_property
    def edges_l0(self) -> NDArray[np.int32]:
        """(n,) edges, level-0 pixels; 0 for ready-made tiles."""
        return self.rows["edge_l0"].to_numpy()

    def edge_l0(self, layout: str) -> int:
        """The edge of all its tiles, level-0 pixels.

        Raises:
            LayoutExportError: they are not of one size.
        """
        low, high = int(self.edges_l0.min()), int(self.edges_l0.max())
        if low != high:
            raise LayoutExportError(
                f"slide {self.slide_id!r} has tiles of {low} to {high} level-0 pixels; {layout} keeps one size for a "
                "slide; export it with --layout anndata, spatialdata or parquet, which keep the size of each tile"
            )
        return low

    @property
    def extra(self) -> list[str]:
        """The columns that were asked for."""
        return [name for name in self.rows.column_names if name not in COLUMNS]
