"""Annotations of a slide, in one form for all programs that write them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import shapely

Origin = Literal["bounds", "level0"]

#: Ending of QuPath's classes that are to be left out: `Ignore*`, `Region*`.
IGNORED = "*"
SHOWN = 3  # features that a note names
#: Outlines that cross themselves more often are refused: repairing one of 110,000 crossings takes 4 s and 0.3 GB, and
#: of 2,000,000 80 s and 4 GB. Drawn by hand, they have a few.
MOST_CROSSINGS = 50_000
CHUNK = 4  # edges that are compared with all others at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotation:
    """A shape and its class.

    Attributes:
        label: The class; '' where it has none.
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

    @property
    def is_ignored(self) -> bool:
        """Whether its class is one that QuPath leaves out."""
        return self.label.endswith(IGNORED)


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotationFile:
    """The content of a file of annotations.

    Attributes:
        path: The file.
        annotations: Its areas and points, in the file's order.
        skipped: {why others are left out: how many}, such as lines and empty shapes.
        origin: Where coordinates begin; None if the file does not say.
        usual_origin: Where they begin in files of that program.
        slide_id: The slide that the file is about; None if it does not say.
        rest: Classes of everything on the slide that is not annotated.
        notes: Warnings for the user.
    """

    path: Path
    annotations: tuple[Annotation, ...]
    skipped: Mapping[str, int] = field(default_factory=Counter)
    origin: Origin | None = None
    usual_origin: Origin = "bounds"
    slide_id: str | None = None
    rest: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def begins(self, given: Origin | None) -> Origin:
        """Where coordinates begin: as the file says, else as the user says, else as the program usually counts."""
        return self.origin or given or self.usual_origin

    def counted(self) -> str:
        """What is left out, in words."""
        return ", ".join(f"{count} {why}" for why, count in sorted(self.skipped.items()))

    def classified(self, *, named: Collection[str] = (), unclassified: str | None = None) -> "AnnotationFile":
        """Only the annotations that can be labels; the others are counted in `skipped`.

        Args:
            named: Classes that count although they end in `*`.
            unclassified: The class of annotations that have none; they are left out when None.
        """
        kept: list[Annotation] = []
        skipped = Counter(self.skipped)
        for annotation in self.annotations:
            if not annotation.label and unclassified:
                annotation = replace(annotation, label=unclassified)
            if not annotation.label:
                skipped["without a class"] += 1
            elif annotation.is_ignored and annotation.label not in named:
                skipped[f"of class {annotation.label}"] += 1
            else:
                kept.append(annotation)
        return replace(self, annotations=tuple(kept), skipped=skipped)


def usable_parts(geometry: shapely.Geometry) -> tuple[list[shapely.Geometry], list[str]]:
    """The parts of a geometry that can be labels.

    All polygons are one part, with their holes; self-intersecting rings are repaired. Each point is a part.

    Returns:
        At most one Polygon or MultiPolygon, and Points; and for each part that is left out, why.
    Raises:
        ValueError: the outlines cross themselves too often to be repaired; the message says so.
    """
    areas, parts, reasons = [], [], []
    for part in _flat([shapely.force_2d(geometry)]):
        if part.geom_type == "Polygon" and not part.is_empty:
            areas.append(part)
        elif part.geom_type == "Point" and not part.is_empty:
            parts.append(part)
        else:
            reasons.append("empty" if part.is_empty else "drawn as a line")
    if areas:
        valid = _polygonal(_repaired(areas))
        if valid is None:
            reasons.append("without an area")
        else:
            parts.append(valid)
    return parts, reasons


def _repaired(areas: list[shapely.Geometry]) -> shapely.Geometry:
    """A valid geometry that covers what the polygons cover together."""
    area = shapely.MultiPolygon(areas) if len(areas) > 1 else areas[0]
    if area.is_valid:
        return area
    if _crosses_itself_too_often(area):
        raise ValueError(f"expected outlines that cross themselves at most {MOST_CROSSINGS:,} times, found more")
    with np.errstate(all="ignore"):
        return shapely.make_valid(area, method="structure", keep_collapsed=False)


def _crosses_itself_too_often(area: shapely.Geometry) -> bool:
    rings = shapely.get_rings(area)
    if int(shapely.get_num_coordinates(area)) ** 2 // 2 <= MOST_CROSSINGS:
        return False
    corners, ring = shapely.get_coordinates(rings, return_index=True)
    of_one_ring = ring[1:] == ring[:-1]
    edges = shapely.linestrings(np.stack([corners[:-1][of_one_ring], corners[1:][of_one_ring]], axis=1))
    tree, crossings = shapely.STRtree(edges), 0
    for start in range(0, len(edges), CHUNK):
        some = edges[start : start + CHUNK]
        crossings += len(tree.query(some, predicate="intersects")[0]) - 3 * len(some)  # itself, and its two neighbours
        if crossings > 2 * MOST_CROSSINGS:
            return True
    return False


def subtract(area: shapely.Geometry, other: shapely.Geometry) -> shapely.Geometry | None:
    """The area without the other; None if nothing is left."""
    return _polygonal(shapely.difference(area, other))


def _flat(geometries: Iterable[shapely.Geometry]) -> Iterable[shapely.Geometry]:
    for geometry in geometries:
        if geometry.geom_type.startswith("Multi") or geometry.geom_type == "GeometryCollection":
            if geometry.is_empty:
                yield shapely.Point()
            yield from _flat(shapely.get_parts(geometry))
        else:
            yield geometry


def _polygonal(geometry: shapely.Geometry) -> shapely.Geometry | None:
    """The polygons of a geometry, in shapely's normal form; None if there are none."""
    polygons = [part for part in _flat([geometry]) if part.geom_type == "Polygon" and part.area > 0]
    if not polygons:
        return None
    return shapely.normalize(polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons))
