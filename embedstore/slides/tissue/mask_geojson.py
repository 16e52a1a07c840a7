"""Tissue masks as GeoJSON in level-0 pixels, as QuPath reads and writes them."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from embedstore.errors import TissueError
from embedstore.slides.tissue.mask import TissueMask
from embedstore.slides.tissue.thumbnail import MAX_PIXELS

# Outlines run through centres of pixels; on a mask enlarged this many times they are a quarter of a pixel (2 µm) off.
ENLARGE = 2
SIMPLIFY_PX = 0.6  # mask pixels by which an outline may move: 5 µm at 8 µm/px, for a tenth of the points
TISSUE_CLASS = {"name": "Tissue", "color": [0, 160, 80]}
IGNORED = "*"  # end of the names of classes that QuPath leaves out, such as Ignore*


def to_geojson(tissue: TissueMask) -> dict[str, Any]:
    """A mask as a FeatureCollection: one polygon with holes per connected piece, in level-0 pixels."""
    features = []
    for number, rings in enumerate(_polygons(tissue)):
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"embedstore:tissue:{number}:{rings[0][0]}")),
                "geometry": {"type": "Polygon", "coordinates": rings},
                "properties": {"objectType": "annotation", "classification": TISSUE_CLASS},
            }
        )
    return {"type": "FeatureCollection", "features": features}


def write_mask(tissue: TissueMask, path: str | Path) -> None:
    """Write a mask as GeoJSON."""
    Path(path).write_text(json.dumps(to_geojson(tissue)), encoding="utf-8")


def _polygons(tissue: TissueMask) -> Iterator[list[list[list[float]]]]:
    """Closed rings of each piece, the outer one first, (x, y) in level-0 pixels."""
    large = cv2.resize(tissue.mask.astype(np.uint8), None, fx=ENLARGE, fy=ENLARGE, interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if hierarchy is None:
        return
    for outer, (_, _, hole, parent) in zip(contours, hierarchy[0], strict=True):
        if parent != -1:
            continue
        rings = [_ring(outer, tissue)]
        while hole != -1:
            rings.append(_ring(contours[hole], tissue))
            hole = hierarchy[0][hole][0]
        yield [ring for ring in rings if ring] if rings[0] else []


def _ring(contour: Any, tissue: TissueMask) -> list[list[float]]:
    simple = cv2.approxPolyDP(contour, SIMPLIFY_PX * ENLARGE, True)
    points = (simple if len(simple) >= 3 else contour).reshape(-1, 2)
    if len(points) < 3:
        return []
    xy = (points + 0.5) / ENLARGE * tissue.scale_l0 + tissue.origin_l0
    ring = [[round(float(x), 1), round(float(y), 1)] for x, y in xy]
    return [*ring, ring[0]]


def read_mask(path: str | Path, *, bounds_l0: tuple[int, int, int, int], mpp_l0: float, mpp: float) -> TissueMask:
    """Read a GeoJSON mask onto a grid over a slide's bounds.

    Polygons and MultiPolygons of any class are tissue, without their holes; those of a class whose name ends in `*`
    (QuPath's `Ignore*`) are subtracted. Points and lines do not count.

    Args:
        path: A FeatureCollection, a list of features, a feature or a geometry, in level-0 pixels.
        bounds_l0: (x, y, width, height) of the mask to make, level-0 pixels.
        mpp_l0: The slide's level-0 resolution, µm/px.
        mpp: Resolution of the mask, µm/px; not finer than level 0, and at most 8 million pixels.
    Raises:
        TissueError: the file does not exist, is not GeoJSON, or holds no polygon on the slide.
    """
    areas = list(_read_areas(path))
    if not areas:
        raise TissueError(f"tissue mask {str(path)!r} holds no Polygon or MultiPolygon")
    x, y, width, height = bounds_l0
    shrink = max(mpp / mpp_l0, 1.0, (width * height / MAX_PIXELS) ** 0.5)
    columns, rows = max(1, round(width / shrink)), max(1, round(height / shrink))
    scale = width / columns, height / rows
    mask = np.zeros((rows, columns), bool)
    for rings, ignored in sorted(areas, key=lambda area: area[1]):  # ignored areas are subtracted last
        _paint(mask, rings, not ignored, (x, y), scale)
    if not mask.any():
        raise TissueError(
            f"tissue mask {str(path)!r}: its {len(areas)} polygons cover no part of the slide ({width}×{height} px at "
            f"{x},{y}); expected coordinates in level-0 pixels"
        )
    return TissueMask(
        mask=mask,
        origin_l0=(x, y),
        scale_l0=scale,
        mpp=mpp_l0 * (scale[0] + scale[1]) / 2,
        warnings=[f"tissue from the mask {Path(path).name}"],
    )


def _read_areas(path: str | Path) -> Iterator[tuple[list[NDArray[np.float64]], bool]]:
    """The rings of each polygon of a file, the outer one first, and whether its class is ignored."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TissueError(f"tissue mask {str(path)!r}: {error.strerror or error}") from error
    except ValueError as error:
        raise TissueError(f"tissue mask {str(path)!r} is not GeoJSON: {error}") from error
    try:
        for geometry, ignored in _geometries(content, ignored=False):
            polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
            for polygon in polygons:
                rings = [np.asarray(ring, np.float64)[:, :2] for ring in polygon]
                if not rings or not all(len(ring) >= 3 and np.isfinite(ring).all() for ring in rings):
                    raise ValueError("a ring has fewer than three points, or coordinates that are not finite")
                yield rings, ignored
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise TissueError(f"tissue mask {str(path)!r}: malformed GeoJSON: {error}") from error


def _geometries(node: Any, *, ignored: bool) -> Iterator[tuple[dict[str, Any], bool]]:
    if isinstance(node, list):
        for item in node:
            yield from _geometries(item, ignored=ignored)
        return
    kind = node["type"]
    if kind == "FeatureCollection":
        yield from _geometries(node["features"], ignored=ignored)
    elif kind == "Feature":
        named = ((node.get("properties") or {}).get("classification") or {}).get("name") or ""
        yield from _geometries(node["geometry"], ignored=str(named).endswith(IGNORED))
    elif kind == "GeometryCollection":
        yield from _geometries(node["geometries"], ignored=ignored)
    elif kind in ("Polygon", "MultiPolygon"):
        yield node, ignored


def _paint(
    mask: NDArray[np.bool_],
    rings: list[NDArray[np.float64]],
    value: bool,
    origin_l0: tuple[int, int],
    scale_l0: tuple[float, float],
) -> None:
    """Set the mask's pixels of which more than half lies in a polygon."""
    at = [np.rint((ring - origin_l0) / scale_l0 * ENLARGE - 0.5).astype(np.int64) for ring in rings]
    rows, columns = mask.shape
    low = np.maximum(at[0].min(axis=0) // ENLARGE, 0)
    high = np.minimum(at[0].max(axis=0) // ENLARGE + 1, (columns, rows))
    if (low >= high).any():
        return
    shape = (high - low)[::-1] * ENLARGE
    canvas = np.zeros(tuple(shape), np.uint8)
    # OpenCV uses 32-bit coordinates, and fills outlines too: the outline of a hole belongs to the tissue around it.
    local = [np.clip(ring - low * ENLARGE, -(1 << 20), 1 << 20).astype(np.int32) for ring in at]
    cv2.fillPoly(canvas, [local[0]], 1)
    for hole in local[1:]:
        first = np.maximum(hole.min(axis=0), 0)
        part = canvas[first[1] : hole[:, 1].max() + 1, first[0] : hole[:, 0].max() + 1]
        cut = np.zeros(part.shape, np.uint8)
        cv2.fillPoly(cut, [hole - first], 1)
        cv2.polylines(cut, [hole - first], True, 0)
        part[cut == 1] = 0
    covered = canvas.reshape(shape[0] // ENLARGE, ENLARGE, shape[1] // ENLARGE, ENLARGE).sum(axis=(1, 3))
    mask[low[1] : high[1], low[0] : high[0]][covered > ENLARGE * ENLARGE // 2] = value
