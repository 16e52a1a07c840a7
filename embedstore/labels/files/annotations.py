"""What was drawn on a slide, whichever program wrote it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

Origin = Literal["bounds", "level0"]

#: QuPath's marks of classes that are to be left out: `Ignore*`, `Region*`.
IGNORED = "*"


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotation:
    """A shape of a class.

    Attributes:
        label: The class.
        groups: The groups that the class belongs to, the nearest first.
        geometry: A Point, or a valid Polygon or MultiPolygon; pixels in the frame of its file.
        rest: Whether it bounds what no other annotation covers, instead of being of the class itself.
        split, patient: As `Label` has them.
    """

    label: str
    geometry: shapely.Geometry
    groups: tuple[str, ...] = ()
    rest: bool = False
    split: str | None = None
    patient: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotationFile:
    """What a file of annotations holds.

    Attributes:
        path: The file.
        annotations: Those that can be labels, in the file's order.
        skipped: Why others cannot, and how many: lines, shapes without a class, and the like.
        origin: Where the file says that its coordinates begin; None where it does not say.
        slide_id: The slide that it says it is about.
        rest: Classes of all that is not drawn on.
        notes: What a user should know.
    """

    path: Path
    annotations: tuple[Annotation, ...]
    skipped: Mapping[str, int] = field(default_factory=Counter)
    origin: Origin | None = None
    slide_id: str | None = None
    rest: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def usable_parts(geometry: shapely.Geometry) -> tuple[list[shapely.Geometry], list[str]]:
    """What of a geometry can be a label.

    Polygons stay together, with their holes; rings that cross themselves are mended. Points are parted.

    Returns:
        A Polygon or MultiPolygon at most, and Points; and why other parts are left out, a reason a part.
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
        mended = _polygonal(shapely.make_valid(shapely.MultiPolygon(areas) if len(areas) > 1 else areas[0]))
        if mended is None:
            reasons.append("without an area")
        else:
            parts.append(mended)
    return parts, reasons


def subtract(area: shapely.Geometry, other: shapely.Geometry) -> shapely.Geometry | None:
    """What is left of an area, None if nothing is."""
    return _polygonal(shapely.difference(area, other))


def _flat(geometries: Iterable[shapely.Geometry]) -> Iterable[shapely.Geometry]:
    for geometry in geometries:
        if geometry.geom_type.startswith("Multi") or geometry.geom_type == "GeometryCollection":
            yield from _flat(shapely.get_parts(geometry))
        else:
            yield geometry


def _polygonal(geometry: shapely.Geometry) -> shapely.Geometry | None:
    """Its polygons, in the one order and turn that shapely calls normal."""
    found: NDArray[np.object_] = np.array([g for g in _flat([geometry]) if g.geom_type == "Polygon" and g.area > 0])
    if not len(found):
        return None
    return shapely.normalize(found[0] if len(found) == 1 else shapely.MultiPolygon(list(found)))
