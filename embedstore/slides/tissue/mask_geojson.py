"""Tissue masks as files of annotations, as QuPath reads and writes them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from embedstore.annotations import Origin, SlideFrame, feature, read_annotations, write_collection
from embedstore.errors import LabelFormatError, TissueError
from embedstore.slides.tissue.mask import TissueMask
from embedstore.slides.tissue.thumbnail import MAX_PIXELS

# Outlines run through centres of pixels; on a mask enlarged this many times they are a quarter of a pixel (2 µm) off.
ENLARGE = 2
SIMPLIFY_PX = 0.6  # mask pixels by which an outline may move: 5 µm at 8 µm/px, for a tenth of the points
TISSUE_CLASS = {"name": "Tissue", "color": [0, 160, 80]}


def write_mask(tissue: TissueMask, path: str | Path, *, slide_id: str | None = None, origin: Origin = "bounds") -> None:
    """Write a mask as GeoJSON: a polygon with holes for each connected piece.

    Args:
        tissue: The mask.
        path: The file.
        slide_id: The slide that it is of, for the member `embedstore`, which also records the origin.
        origin: Where coordinates begin: at the corner of the slide's image, as in QuPath, or of level 0.
    Raises:
        ExportError: nothing can be written there.
    """
    corner = (0, 0) if origin == "level0" else tissue.origin_l0
    about = {"origin": origin} | ({} if slide_id is None else {"slide_id": slide_id})
    write_collection(Path(path), about, mask_features(tissue, corner))


def mask_features(tissue: TissueMask, corner: tuple[float, float]) -> Iterator[dict[str, Any]]:
    """The pieces of a mask as features, in pixels from a corner, which is given in level-0 pixels."""
    for number, rings in enumerate(_polygons(tissue)):
        shifted = [[[round(x - corner[0], 1), round(y - corner[1], 1)] for x, y in ring] for ring in rings]
        yield feature(
            f"tissue:{number}:{rings[0][0]}",
            {"type": "Polygon", "coordinates": shifted},
            {"objectType": "annotation", "classification": TISSUE_CLASS},
        )


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
        if rings[0]:
            yield [ring for ring in rings if ring]


def _ring(contour: Any, tissue: TissueMask) -> list[list[float]]:
    simple = cv2.approxPolyDP(contour, SIMPLIFY_PX * ENLARGE, True)
    points = (simple if len(simple) >= 3 else contour).reshape(-1, 2)
    if len(points) < 3:
        return []
    xy = (points + 0.5) / ENLARGE * tissue.scale_l0 + tissue.origin_l0
    ring = [[round(float(x), 1), round(float(y), 1)] for x, y in xy]
    return [*ring, ring[0]]


def read_mask(
    path: str | Path,
    *,
    bounds_l0: tuple[int, int, int, int],
    mpp_l0: float,
    mpp: float,
    origin: Origin | None = None,
) -> TissueMask:
    """Read a mask onto a grid over a slide's bounds.

    Areas of any class are tissue, without their holes; those of a class whose name ends in `*` (QuPath's `Ignore*`) are
    subtracted. Points and lines do not count.

    Args:
        path: A file of QuPath (GeoJSON) or ASAP (XML).
        bounds_l0: (x, y, width, height) of the mask to make, level-0 pixels.
        mpp_l0: The slide's level-0 resolution, µm/px.
        mpp: Resolution of the mask, µm/px; not finer than level 0, and at most 8 million pixels.
        origin: Where coordinates begin, if the file does not say; `bounds` for GeoJSON and `level0` for ASAP when None.
    Raises:
        TissueError: the file cannot be read, is malformed, or has no area on the slide.
    """
    try:
        file = read_annotations(path)
    except LabelFormatError as error:
        raise TissueError(f"tissue mask {error}") from error
    areas = [annotation for annotation in file.annotations if annotation.geometry.geom_type != "Point"]
    if not areas:
        left_out = f"; left out: {file.counted()}" if file.skipped else ""
        raise TissueError(f"tissue mask {str(path)!r} holds no Polygon or MultiPolygon{left_out}")
    begin = file.begins(origin)
    frame = SlideFrame(image_l0=bounds_l0, option=None if file.origin else "--mask-origin")
    drawn = [area.geometry for area in areas]
    x, y, width, height = bounds_l0
    shrink = max(mpp / mpp_l0, 1.0, (width * height / MAX_PIXELS) ** 0.5)
    columns, rows = max(1, round(width / shrink)), max(1, round(height / shrink))
    scale = width / columns, height / rows
    mask = np.zeros((rows, columns), bool)
    edge = max(scale)  # more than a pixel of the mask beyond it; OpenCV has 32-bit coordinates
    seen = shapely.box(x - edge, y - edge, x + width + edge, y + height + edge)
    shapes = shapely.intersection(frame.level_0(drawn, begin), seen)
    for ignored in (False, True):  # ignored areas are subtracted last
        for area, shape in zip(areas, shapes, strict=True):
            if area.is_ignored == ignored:
                _paint(mask, shape, not ignored, (x, y), scale)
    if not mask.any():
        raise TissueError(
            f"tissue mask {str(path)!r} covers no part of the slide: "
            f"{frame.describe(drawn, np.ones(len(drawn), bool), begin)}"
        )
    notes = [f"tissue from the mask {Path(path).name}", *file.notes]
    notes += [f"{Path(path).name}: left out {file.counted()}"] if file.skipped else []
    over_the_edge = frame.note(drawn, begin, Path(path))
    return TissueMask(
        mask=mask,
        origin_l0=(x, y),
        scale_l0=scale,
        mpp=mpp_l0 * (scale[0] + scale[1]) / 2,
        warnings=[*notes, over_the_edge] if over_the_edge else notes,
    )


def _paint(
    mask: NDArray[np.bool_],
    area: shapely.Geometry,
    value: bool,
    origin_l0: tuple[int, int],
    scale_l0: tuple[float, float],
) -> None:
    """Set the mask's pixels of which more than half lies in an area near the mask, in level-0 pixels."""
    for polygon in shapely.get_parts(area):
        if polygon.geom_type == "Polygon" and not polygon.is_empty:
            rings = shapely.get_rings(polygon)
            _paint_polygon(mask, [shapely.get_coordinates(ring) for ring in rings], value, origin_l0, scale_l0)


def _paint_polygon(
    mask: NDArray[np.bool_],
    rings: list[NDArray[np.float64]],
    value: bool,
    origin_l0: tuple[int, int],
    scale_l0: tuple[float, float],
) -> None:
    """As `_paint`, for the rings of a polygon that lies on the mask, the outer one first."""
    at = [np.rint((ring - origin_l0) / scale_l0 * ENLARGE - 0.5).astype(np.int64) for ring in rings]
    rows, columns = mask.shape
    low = np.maximum(at[0].min(axis=0) // ENLARGE, 0)
    high = np.minimum(at[0].max(axis=0) // ENLARGE + 1, (columns, rows))
    if (low >= high).any():
        return
    shape = (high - low)[::-1] * ENLARGE
    canvas = np.zeros(tuple(shape), np.uint8)
    # OpenCV fills outlines too: the outline of a hole belongs to the tissue around it.
    local = [(ring - low * ENLARGE).astype(np.int32) for ring in at]
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
