"""The ground truth of a synthetic slide, as annotations for QuPath."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from synthetic_slides.layout import Layout

COLOURS = {
    "gland": (50, 160, 80),
    "dense nuclei": (200, 0, 0),
    "stroma": (150, 200, 150),
    "fat": (250, 230, 120),
    "pen mark": (0, 80, 200),
}
FINE = 4  # borders of regions are traced on a grid this many times finer than their map
SMALLEST_PART_UM2 = 2_000.0  # smaller parts of a region are left out: 45 µm a side

Ring = list[list[float]]


def _closed(points: np.ndarray) -> Ring:
    ring = [[round(float(x), 1), round(float(y), 1)] for x, y in points]
    return [*ring, ring[0]]


def _polygons(mask: np.ndarray, px_per_cell: float, smallest_px: float) -> Iterator[list[Ring]]:
    """Outlines of the connected parts of a mask, with their holes, level-0 pixels."""
    contours, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if hierarchy is None:
        return

    def ring(index: int) -> np.ndarray | None:
        points = cv2.approxPolyDP(contours[index], 0.7, True)[:, 0].astype(np.float64)
        large = len(points) >= 3 and cv2.contourArea(contours[index]) * px_per_cell**2 >= smallest_px
        return (points + 0.5) * px_per_cell if large else None

    for index, (_, _, first_hole, parent) in enumerate(hierarchy.reshape(-1, 4)):
        outer = ring(index) if parent < 0 else None
        if outer is None:
            continue
        rings = [_closed(outer)]
        hole = int(first_hole)
        while hole >= 0:
            inner = ring(hole)
            if inner is not None:
                rings.append(_closed(inner))
            hole = int(hierarchy.reshape(-1, 4)[hole][0])
        yield rings


def truth_features(layout: Layout) -> list[dict[str, Any]]:
    """GeoJSON features of everything that is painted.

    Borders of regions are exact to about 5 µm (the painted ones are ragged), those of glands to a pixel.
    """
    cell_px = layout.tissue.cell_um / layout.mpp
    rows, cols = layout.tissue.values.shape
    fine = FINE if max(rows, cols) < 1000 else 1
    px_per_cell = cell_px / fine
    x, y = np.meshgrid(np.arange(cols * fine, dtype=np.float32), np.arange(rows * fine, dtype=np.float32))
    scale = np.float32(layout.tissue.cell_um / fine)
    x_um, y_um = (x + 0.5) * scale, (y + 0.5) * scale
    inside = layout.tissue.at(x_um, y_um) > 0
    inside &= (x_um < layout.size_px[0] * layout.mpp) & (y_um < layout.size_px[1] * layout.mpp)
    fat = inside & (layout.fat.at(x_um, y_um) > 0)
    dense = inside & (layout.dense.at(x_um, y_um) > 0) & ~fat
    outlines = [outline.points_um / layout.mpp for outline in layout.glands]
    glands = np.zeros(inside.shape, np.uint8)
    cv2.fillPoly(
        glands, [np.round((points / px_per_cell - 0.5) * 16).astype(np.int32) for points in outlines], 1, shift=4
    )
    stroma = inside & ~fat & ~dense & (glands == 0)

    smallest_px = SMALLEST_PART_UM2 / layout.mpp**2
    parts: list[tuple[str, list[Ring]]] = []
    for name, mask in (("stroma", stroma), ("fat", fat), ("dense nuclei", dense)):
        parts.extend((name, rings) for rings in _polygons(mask, px_per_cell, smallest_px))
    parts.extend(("gland", [_closed(points)]) for points in outlines)
    if layout.pen is not None:
        tip = max(round(layout.pen.width_um / layout.mpp / px_per_cell), 1)
        pen = np.zeros(inside.shape, np.uint8)
        line = np.round((layout.pen.points_um / layout.mpp / px_per_cell - 0.5) * 8).astype(np.int32)
        cv2.polylines(pen, [line], False, 1, tip, shift=3)
        parts.extend(("pen mark", rings) for rings in _polygons(pen, px_per_cell, 0.0))
    return [_feature(name, rings, f"{layout.seed}/{index}") for index, (name, rings) in enumerate(parts)]


def _feature(name: str, rings: list[Ring], key: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, key)),
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {"objectType": "annotation", "classification": {"name": name, "color": list(COLOURS[name])}},
    }


def write_truth(path: Path, layout: Layout) -> None:
    """Write the ground truth as a GeoJSON FeatureCollection."""
    path.write_text(json.dumps({"type": "FeatureCollection", "features": truth_features(layout)}), encoding="utf-8")
