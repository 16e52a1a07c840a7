"""A head's values on the tiles of a slide as a raster, a value a tile, for viewers that colour it themselves."""

import json
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors.numpy import load, save

from embedstore.errors import ExportError
from embedstore.export.predictions.export_scope import ExportScope, attention_ranks
from embedstore.store.prediction_schema import decided_classes, probability_matrix

#: Cells of a raster, of which most may lie between tiles; a slide of 100,000 × 100,000 px has 0.2 million of 224 px.
MOST_CELLS = 16 << 20
#: A value as one byte: 0 to 254 stand for 0 to 1, and this for no tile.
NO_BYTE = 255
_SCALE = 254
#: No class was decided on, or no tile is there.
NO_CLASS = -1
#: The name of the raster of an attention head.
ATTENTION = "attention"

RasterType = Literal["uint8", "float16"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictionRaster:
    """Values on a grid of cells, rows from top to bottom.

    The tile in a cell is a square of `edge_l0` whose top-left corner is that of the cell; where `step_l0` is smaller,
    neighbours overlap.

    Attributes:
        slide_id: The slide.
        head, head_digest: Name of the head, and digest of its parameters.
        task: The head's task.
        level: What the head classifies: a tile; or a slide or patient, whose tiles have attention.
        planes: What each plane of `values` is of: a class; or 'attention', as ranks within the slide.
        positive: The positive class of a task with two classes.
        thresholds: {class: probability from which it is predicted}.
        origin_l0: (x, y) of the top-left corner of the first cell, level-0 pixels.
        step_l0: Distance between neighbouring cells, level-0 pixels.
        edge_l0: Edge of a tile, level-0 pixels.
        values: (planes, rows, columns) float32, 0 to 1; NaN where there is no tile.
        decided: (rows, columns) int16, the class decided on, as an index into `planes`; -1 where there is none.
    """

    slide_id: str
    head: str
    head_digest: str
    task: str
    level: Literal["tile", "slide", "patient"]
    planes: tuple[str, ...]
    positive: str | None
    thresholds: dict[str, float]
    origin_l0: tuple[int, int]
    step_l0: int
    edge_l0: int
    values: NDArray[np.float32]
    decided: NDArray[np.int16]

    def as_record(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON values."""
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("values", "decided")}
        rows, columns = self.decided.shape
        lists = {"planes": list(self.planes), "origin_l0": list(self.origin_l0)}
        return {**plain, **lists, "rows": rows, "columns": columns}

    def to_bytes(self, kind: RasterType = "uint8") -> bytes:
        """As safetensors: `values` and `decided`, and in the header's metadata the fields as JSON under `raster`.

        Args:
            kind: Of `values`: `uint8`, 0 to 254 for 0 to 1 and 255 for no tile; or `float16`, NaN for no tile.
        """
        values: NDArray[Any] = self.values.astype(np.float16)
        if kind == "uint8":
            with np.errstate(invalid="ignore"):
                values = np.where(np.isnan(self.values), NO_BYTE, np.rint(self.values * _SCALE)).astype(np.uint8)
        about = json.dumps(self.as_record(), ensure_ascii=False)
        return save({"values": values, "decided": self.decided}, metadata={"raster": about})

    @classmethod
    def from_bytes(cls, data: bytes) -> "PredictionRaster":
        """A raster from what `to_bytes` gave."""
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        about = json.loads(header["__metadata__"]["raster"])
        arrays = load(data)
        values = arrays["values"].astype(np.float32)
        if arrays["values"].dtype == np.uint8:
            values = np.where(arrays["values"] == NO_BYTE, np.nan, values / _SCALE).astype(np.float32)
        about["planes"], about["origin_l0"] = tuple(about["planes"]), tuple(about["origin_l0"])
        plain = {each.name: about[each.name] for each in fields(cls) if each.name in about}
        return cls(**plain, values=values, decided=arrays["decided"])


def prediction_raster(scope: ExportScope, slide_id: str) -> PredictionRaster:
    """The values of a head on the tiles of one slide of a scope.

    Raises:
        ExportError: the head has no values for tiles, the slide is a folder of ready-made tiles, or its tiles lie on
            no grid.
    """
    facts, table = scope.head_facts("a raster"), scope.tile_values("a raster")
    scope.located_slides("a raster", named=True)
    rows = table.table(slides=[slide_id])
    tiling = scope.store.collection(scope.collection).tiling()
    grid = _Grid.under(rows, slide_id, steps_per_edge=tiling.tile_px / (tiling.stride_px or tiling.tile_px))
    if facts.level == "tile":
        planes, of_tile = facts.classes, probability_matrix(facts, rows)
        decided = np.full(len(of_tile), NO_CLASS, np.int16)
        if not facts.multi_label:
            decisions = decided_classes(facts, rows)
            decided[decisions.any(axis=1)] = decisions.argmax(axis=1)[decisions.any(axis=1)]
    else:
        planes, of_tile = (ATTENTION,), attention_ranks(rows[ATTENTION].to_numpy())[:, None].astype(np.float32)
        decided = np.full(len(of_tile), NO_CLASS, np.int16)
    return PredictionRaster(
        slide_id=slide_id,
        head=facts.head,
        head_digest=facts.head_digest,
        task=facts.task,
        level=facts.level,
        planes=planes,
        positive=facts.positive,
        thresholds=dict(facts.thresholds),
        origin_l0=grid.origin_l0,
        step_l0=grid.step_l0,
        edge_l0=grid.edge_l0,
        values=np.stack([grid.filled(of_tile[:, plane], np.nan) for plane in range(len(planes))]),
        decided=grid.filled(decided, NO_CLASS),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Grid:
    """The grid that tiles lie on.

    Attributes:
        row, column: (n,) of each tile.
        shape: (rows, columns).
    """

    origin_l0: tuple[int, int]
    step_l0: int
    edge_l0: int
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    shape: tuple[int, int]

    @classmethod
    def under(cls, rows: pa.Table, slide_id: str, *, steps_per_edge: float) -> "_Grid":
        """The grid that has the top-left corner of every tile, each in a cell of its own.

        Where tiles lie scattered, the coarsest such grid has cells larger than the distance at which tiles were cut, a
        multiple of it; that distance is taken then.
        """
        x, y, edge = (rows[name].to_numpy().astype(np.int64) for name in ("x", "y", "edge_l0"))
        edges = np.unique(edge)
        if len(edges) != 1 or edges[0] < 1:
            raise ExportError(f"tiles of slide {slide_id!r} are of {len(edges)} sizes, {_OTHERWISE}")
        corner = int(x.min()), int(y.min())
        away = np.concatenate([x - corner[0], y - corner[1]])
        coarsest = int(np.gcd.reduce(away))
        times = max(1, round(coarsest * steps_per_edge / edges[0]))
        step = (coarsest // times if coarsest % times == 0 else coarsest) or max(1, round(edges[0] / steps_per_edge))
        row, column = (y - corner[1]) // step, (x - corner[0]) // step
        shape = int(row.max()) + 1, int(column.max()) + 1
        if shape[0] * shape[1] > MOST_CELLS:
            raise ExportError(f"tiles of slide {slide_id!r} lie on no grid, {_OTHERWISE}")
        if len(np.unique(row * shape[1] + column)) < len(row):
            raise ExportError(f"slide {slide_id!r} has several tiles at one place, {_OTHERWISE}")
        return cls(origin_l0=corner, step_l0=step, edge_l0=int(edges[0]), row=row, column=column, shape=shape)

    def filled(self, of_tile: NDArray[Any], nothing: float) -> NDArray[Any]:
        """(rows, columns): the value (n,) of the tile in each cell."""
        cells = np.full(self.shape, nothing, of_tile.dtype)
        cells[self.row, self.column] = of_tile
        return cells


_OTHERWISE = "so a raster, which has a cell for each tile, cannot show them; take them as GeoJSON or as a table"
