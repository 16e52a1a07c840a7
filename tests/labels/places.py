"""Tiles and labels made by hand, for the tests of the join."""

from typing import Any

import numpy as np
import shapely

from embedstore.store import Label, TileLocations

TASK = "t"


def grid(slides: dict[str, tuple[int, int]], *, edge: int = 100, stride: int | None = None) -> TileLocations:
    """Slides of (columns, rows) tiles, row by row from (0, 0)."""
    stride = stride or edge
    xy, slide = [], []
    for number, (columns, rows) in enumerate(slides.values()):
        y, x = np.divmod(np.arange(columns * rows), columns)
        xy.append(np.stack([x, y], axis=1) * stride)
        slide.append(np.full(columns * rows, number))
    at = np.concatenate(xy).astype(np.int32)
    n = len(at)
    return TileLocations(
        version=1, row=np.arange(n), tile_id=np.arange(n), slide=np.concatenate(slide).astype(np.int32),
        slides=tuple(slides), xy_l0=at, edge_l0=np.full(n, edge, np.int32), collection="toy",
    )  # fmt: skip


def folder(names: dict[str, list[str]]) -> TileLocations:
    """Folders of ready-made tiles."""
    files = [name for theirs in names.values() for name in theirs]
    n = len(files)
    slide = np.repeat(np.arange(len(names)), [len(theirs) for theirs in names.values()])
    return TileLocations(
        version=1, row=np.arange(n), tile_id=np.arange(n), slide=slide.astype(np.int32), slides=tuple(names),
        xy_l0=np.zeros((n, 2), np.int32), edge_l0=np.zeros(n, np.int32), names=np.array(files, object),
        collection="toy",
    )  # fmt: skip


def area(label: str, shape: shapely.Geometry, slide_id: str = "a.svs", **said: Any) -> dict[str, Any]:
    kind = said.pop("kind", "area")
    return Label(task=TASK, label=label, kind=kind, slide_id=slide_id, geometry=shapely.to_wkb(shape), **said).row()


def label(label: str, kind: str = "tile", slide_id: str | None = "a.svs", **said: Any) -> dict[str, Any]:
    return Label(task=said.pop("task", TASK), label=label, kind=kind, slide_id=slide_id, **said).row()  # type: ignore[arg-type]
