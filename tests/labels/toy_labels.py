"""Tiles and labels made by hand, joined without a store."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from embedstore.config import JoinConfig
from embedstore.labels import TileTargets, join_labels
from embedstore.store import Label, TileLocations
from embedstore.store.schema import LABELS

TASK = "t"
CENTRE = JoinConfig()
HALF = JoinConfig(rule="overlap")


def locations(
    slides: dict[str, Sequence[tuple[int, int, int]]], *, names: Sequence[str | None] | None = None
) -> TileLocations:
    """Where tiles lie: {slide: (x, y, edge) of each tile, level-0 pixels}."""
    corners = np.array([tile for tiles in slides.values() for tile in tiles], np.int32).reshape(-1, 3)
    n = len(corners)
    return TileLocations(
        version=1,
        row=np.arange(n),
        tile_id=np.arange(n) + 1000,
        slide=np.repeat(np.arange(len(slides)), [len(tiles) for tiles in slides.values()]).astype(np.int32),
        slides=tuple(slides),
        xy_l0=corners[:, :2],
        edge_l0=corners[:, 2],
        names=None if names is None else np.array(names, object),
        collection="toy",
    )


def row(width: int = 4, edge: int = 100, *, y: int = 0) -> list[tuple[int, int, int]]:
    """Tiles in a row, from x = 0 on."""
    return [(i * edge, y, edge) for i in range(width)]


def grid(columns: int, rows: int, *, edge: int = 100, stride: int | None = None) -> list[tuple[int, int, int]]:
    """Tiles row by row, from (0, 0) on."""
    stride = stride or edge
    return [(x * stride, y * stride, edge) for y in range(rows) for x in range(columns)]


def label(class_name: str, slide_id: str | None = "a", **values: Any) -> Label:
    """A label of a tile, unless `kind` says otherwise."""
    return Label(**{"task": TASK, "label": class_name, "slide_id": slide_id, "author": "ann", **values})


def area(
    class_name: str, polygon: shapely.Geometry, slide_id: str = "a", *, kind: str = "area", **values: Any
) -> Label:
    return label(class_name, slide_id, kind=kind, geometry=shapely.to_wkb(polygon), **values)


def label_table(labels: Iterable[Label]) -> pa.Table:
    """The labels as the store gives them."""
    return pa.Table.from_pylist([label.row() for label in labels], schema=LABELS)


def join(
    tiles: TileLocations,
    labels: Iterable[Label],
    patients: Mapping[str, str | None] | None = None,
    *,
    config: JoinConfig = CENTRE,
    **options: Any,
) -> TileTargets:
    return join_labels(tiles, label_table(labels), patients or {}, task=TASK, config=config, **options)


def classes_of(targets: TileTargets) -> list[str | None]:
    """The classes of each tile, joined; '-' for a tile of none of them; None where nothing is known."""
    names = ["+".join(np.array(targets.classes)[of_tile]) or "-" for of_tile in targets.targets]
    return [name if labelled else None for name, labelled in zip(names, targets.labelled, strict=True)]
