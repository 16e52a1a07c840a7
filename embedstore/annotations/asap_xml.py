"""Annotations in the XML of ASAP, as in CAMELYON16 and CAMELYON17."""

import codecs
import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import shapely

from embedstore.annotations.annotation import SHOWN, Annotation, AnnotationFile, usable_parts
from embedstore.annotations.file_content import read_bytes, shown
from embedstore.errors import LabelFormatError, OtherFormatError

# Documents that define entities can grow without bound when parsed; ASAP never writes one.
UNSAFE = re.compile(r"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)
NO_GROUP = ("", "None")
MOST_PX = 1 << 31  # no slide is as wide
NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)  # commas as some locales have
AREAS, POINTS = ("Polygon", "Spline", "Rectangle"), ("Dot", "PointSet")
NOT_A_NUMBER = ("", "nan", "null", "none")


def read_asap(path: str | Path, *, skip_invalid: bool = False) -> AnnotationFile:
    """Read annotations of ASAP; coordinates are level-0 pixels.

    The class is the name of the group that an annotation is part of (in CAMELYON16 `Tumor`, or `_0` and `_1` for tumour
    and `_2` for areas to be cut out of it). Polygon, Spline and Rectangle are areas (a spline is read as the polygon of
    its points); Dot and PointSet are points. Skipped and counted are measurements, and annotations with a coordinate
    that is missing.

    Args:
        path: The file; UTF-8 or UTF-16, or gzipped.
        skip_invalid: Skip and count malformed annotations; an error when False.
    Raises:
        OtherFormatError: it is XML of another kind.
        LabelFormatError: it cannot be read, or a coordinate is not a number; the message names the annotation.
    """
    path = Path(path)
    root = _root(path)
    parents = _parents(root)
    annotations: list[Annotation] = []
    skipped: Counter[str] = Counter()
    odd: list[str] = []
    splines = commas = 0
    for number, node in enumerate(root.findall("./Annotations/Annotation"), start=1):
        label = (node.get("PartOfGroup") or "").strip()
        label = "" if label in NO_GROUP else label
        name = f"annotation {number} ({node.get('Name', 'without a name')[:40]})"
        kind = node.get("Type", "")
        splines += kind == "Spline"
        try:
            points, with_commas = _points(node)
            shape, reason = _shape(kind, points)
            parts, reasons = ([], []) if shape is None else usable_parts(shape)
        except ValueError as problem:
            if not skip_invalid:
                raise LabelFormatError(f"{path}, {name}: {problem}; correct it in ASAP and save again") from None
            skipped["malformed"] += 1
            odd.append(f"{name}: {problem}")
            continue
        commas += with_commas
        if shape is None:
            skipped[reason] += 1
            continue
        skipped.update(reasons)
        annotations += [Annotation(label=label, groups=_groups(label, parents), geometry=part) for part in parts]
    notes = [f"{path.name}: {text}" for text in odd[:SHOWN]]
    if splines:
        notes.append(f"{path.name}: {splines} splines are taken as polygons of their points")
    if commas:
        notes.append(f"{path.name}: {commas} annotations have decimal commas; 512,5 is taken as 512.5")
    return AnnotationFile(
        path=path,
        annotations=tuple(annotations),
        skipped=skipped,
        usual_origin="level0",
        notes=tuple(notes),
    )


def _root(path: Path) -> ET.Element:
    data = read_bytes(path)
    try:
        is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16") if is_utf_16 else data.decode("latin-1")  # Latin-1 shows ASCII as it is
        if "\0" in text or UNSAFE.search(text):
            raise LabelFormatError(f"{path}: expected XML in UTF-8 or UTF-16 without a DOCTYPE, as ASAP writes it")
        root = ET.fromstring(text if is_utf_16 else data)
    except ET.ParseError as error:
        line, column = error.position
        raise LabelFormatError(
            f"{path} is no XML: it is cut or wrong at line {line}, column {column + 1}; save it again in ASAP; "
            "files of another kind want another --format"
        ) from error
    except (UnicodeError, LookupError, ValueError) as error:
        if isinstance(error, LabelFormatError):
            raise
        raise LabelFormatError(f"{path} is no XML: its encoding cannot be read; save it in UTF-8") from error
    if root.tag != "ASAP_Annotations":
        raise OtherFormatError(
            f"{path}: expected the element ASAP_Annotations, found {shown(root.tag)}; "
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


def _points(node: ET.Element) -> tuple[list[tuple[float, float]], bool]:
    """The points in their order, NaN where one is missing; and whether a number has a decimal comma."""
    ordered, commas = [], False
    for i, point in enumerate(node.findall("./Coordinates/Coordinate")):
        x, y = (point.get(axis, "").strip() for axis in ("X", "Y"))
        commas |= "," in x or "," in y
        ordered.append((_number(point.get("Order") or str(i)), _number(x), _number(y)))
    return [(x, y) for _, x, y in sorted(ordered, key=lambda point: point[0])], commas


def _number(text: str) -> float:
    """A coordinate; NaN where it is missing."""
    if text.lower() in NOT_A_NUMBER:
        return math.nan
    if not NUMBER.fullmatch(text):
        raise ValueError(f"expected a coordinate in pixels, found {shown(text)}")
    number = float(text.replace(",", "."))
    if not abs(number) < MOST_PX:
        raise ValueError(f"expected a coordinate of less than {MOST_PX:,} pixels, found {shown(text)}")
    return number


def _shape(kind: str, points: list[tuple[float, float]]) -> tuple[shapely.Geometry | None, str]:
    """The shape and '', or None and why there is none."""
    if kind not in AREAS + POINTS:
        return None, f"of type {kind or 'unknown'}"
    if any(math.isnan(x) or math.isnan(y) for x, y in points):
        return None, "with a coordinate that is missing"
    if kind in POINTS:
        return (shapely.MultiPoint(points), "") if points else (None, "empty")
    if kind == "Rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        return shapely.box(left, top, right, bottom), ""
    return (shapely.Polygon(points), "") if len(set(points)) >= 3 else (None, "without an area")
