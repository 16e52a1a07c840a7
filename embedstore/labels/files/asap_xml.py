"""Annotations in the XML of ASAP, as in CAMELYON16 and CAMELYON17."""

import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import shapely

from embedstore.errors import LabelFormatError
from embedstore.labels.files.annotations import IGNORED, Annotation, AnnotationFile, usable_parts

# Documents that define entities can grow without bound when parsed; ASAP never writes one.
UNSAFE = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)
NO_GROUP = ("", "None")


def read_asap(path: str | Path, *, named: Collection[str] = ()) -> AnnotationFile:
    """Read annotations of ASAP; coordinates are level-0 pixels.

    The class is the name of the group that an annotation is part of (in CAMELYON16 `Tumor`, or `_0` and `_1` for tumour
    and `_2` for areas to be cut out of it). Polygon, Spline and Rectangle are areas (a spline is read as the polygon of
    its points); Dot and PointSet are points. Skipped and counted are measurements, annotations without a group, and
    groups that end in `*` unless they are `named`.

    Raises:
        LabelFormatError: the file cannot be read, is not XML of ASAP, or a coordinate is not a number.
    """
    path = Path(path)
    root = _root(path)
    parents = _parents(root)
    annotations: list[Annotation] = []
    skipped: Counter[str] = Counter()
    splines = 0
    for number, node in enumerate(root.findall("./Annotations/Annotation"), start=1):
        where = f"{path}, annotation {number} ({node.get('Name', 'without a name')})"
        label = (node.get("PartOfGroup") or "").strip()
        if label in NO_GROUP:
            skipped["without a class"] += 1
            continue
        if label.endswith(IGNORED) and label not in named:
            skipped[f"of class {label}"] += 1
            continue
        kind = node.get("Type", "")
        splines += kind == "Spline"
        shape, reason = _shape(kind, _points(node, where))
        if shape is None:
            skipped[reason] += 1
            continue
        parts, reasons = usable_parts(shape)
        skipped.update(reasons)
        annotations += [Annotation(label=label, groups=_groups(label, parents), geometry=part) for part in parts]
    notes = (f"{path.name}: {splines} splines are taken as polygons of their points",) if splines else ()
    return AnnotationFile(path=path, annotations=tuple(annotations), skipped=skipped, notes=notes)


def _root(path: Path) -> ET.Element:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabelFormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    if b"\0" in data[:200] or UNSAFE.search(data):
        raise LabelFormatError(f"{path}: expected XML in UTF-8 without a DOCTYPE, as ASAP writes it")
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise LabelFormatError(f"{path} is no XML: {error}; files of another kind want another --format") from error
    if root.tag != "ASAP_Annotations":
        raise LabelFormatError(
            f"{path}: expected the element ASAP_Annotations, found {root.tag!r}; "
            "open the slide with its annotations in QuPath and export GeoJSON"
        )
    return root


def _parents(root: ET.Element) -> dict[str, str]:
    """{group: the group that it is part of}."""
    return {
        node.get("Name", ""): (node.get("PartOfGroup") or "").strip()
        for node in root.findall("./AnnotationGroups/Group")
    }


def _groups(label: str, parents: Mapping[str, str]) -> tuple[str, ...]:
    """The groups that a class is part of, innermost first."""
    above: list[str] = []
    group = parents.get(label, "")
    while group not in NO_GROUP and group != label and group not in above:
        above.append(group)
        group = parents.get(group, "")
    return tuple(above)


def _points(node: ET.Element, where: str) -> list[tuple[float, float]]:
    ordered = []
    for i, point in enumerate(node.findall("./Coordinates/Coordinate")):
        try:
            order, x, y = float(point.get("Order", i)), float(point.get("X", "")), float(point.get("Y", ""))
        except ValueError as error:
            raise LabelFormatError(f"{where}: a coordinate is no number: {point.attrib}") from error
        if not (math.isfinite(x) and math.isfinite(y)):
            raise LabelFormatError(f"{where}: a coordinate is no finite number: {point.attrib}")
        ordered.append((order, x, y))
    return [(x, y) for _, x, y in sorted(ordered, key=lambda point: point[0])]


def _shape(kind: str, points: list[tuple[float, float]]) -> tuple[shapely.Geometry | None, str]:
    """The shape and '', or None and why there is none."""
    if kind in ("Dot", "PointSet"):
        return (shapely.MultiPoint(points), "") if points else (None, "empty")
    if kind == "Rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        return shapely.box(left, top, right, bottom), ""
    if kind in ("Polygon", "Spline", "Rectangle"):
        return (shapely.Polygon(points), "") if len(points) >= 3 else (None, "without an area")
    return None, f"of type {kind or 'unknown'}"
