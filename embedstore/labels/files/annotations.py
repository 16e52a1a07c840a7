"""Annotations of a slide, in one form for all programs that write them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import shapely

Origin = Literal["bounds", "level0"]

#: Ending of QuPath's classes that are to be left out: `Ignore*`, `Region*`.
IGNORED = "*"


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotation:
    """A shape of a class.

    Attributes:
        label: The class.
        groups: The groups that the class belongs to, innermost first.
        geometry: A Point, or a valid Polygon or MultiPolygon; pixels in the frame of its file.
        rest: The class holds for everything inside that no other annotation covers.
        split, patient: As in `Label`.
    """

    label: str
    geometry: shapely.Geometry
    groups: tuple[str, ...] = ()
    rest: bool = False
    split: str | None = None
    patient: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotationFile:
    """The content of a file of annotations.

    Attributes:
        path: The file.
        annotations: Annotations that can be labels, in the file's order.
        skipped: {why others cannot: how many}, such as lines and shapes without a class.
        origin: Where coordinates begin; None if the file does not say.
        slide_id: The slide that the file is about; None if it does not say.
        rest: Classes of everything on the slide that is not annotated.
        notes: Warnings for the user.
    """

    path: Path
    annotations: tuple[Annotation, ...]
    skipped: Mapping[str, int] = field(default_factory=Counter)
    origin: Origin | None = None
    slide_id: str | None = None
    rest: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def usable_parts(geometry: shapely.Geometry) -> tuple[list[shapely.Geometry], list[str]]:
    """The parts of a geometry that can be labels.

    All polygons are one part, with their holes; self-intersecting rings are repaired. Each point is a part.

    Returns:
        At most one Polygon or MultiPolygon, and Points; and for each part that is left out, why.
    """
    areas, parts, reasons = [], [], []
    for part in _flat([shapely.force_2d(geometry)]):
        if part.geom_type == "Polygon":
            areas.append(part)
        elif part.geom_type == "Point" and not part.is_empty:
            parts.append(part)
        else:
            reasons.append("empty" if part.is_empty else "a line")
    if areas:
        valid = _polygonal(shapely.make_valid(shapely.MultiPolygon(areas) if len(areas) > 1 else areas[0]))
        if valid is None:
            reasons.append("without an area")
        else:
            parts.append(valid)
    return parts, reasons


def subtract(area: shapely.Geometry, other: shapely.Geometry) -> shapely.Geometry | None:
    """The area without the other; None if nothing is left."""
    return _polygonal(shapely.difference(area, other))


def _flat(geometries: Iterable[shapely.Geometry]) -> Iterable[shapely.Geometry]:
    for geometry in geometries:
        if geometry.geom_type.startswith("Multi") or geometry.geom_type == "GeometryCollection":
            yield from _flat(shapely.get_parts(geometry))
        else:
            yield geometry


def _polygonal(geometry: shapely.Geometry) -> shapely.Geometry | None:
    """The polygons of a geometry, in shapely's normal form; None if there are none."""
    polygons = [part for part in _flat([geometry]) if part.geom_type == "Polygon" and part.area > 0]
    if not polygons:
        return None
    return shapely.normalize(polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons))
