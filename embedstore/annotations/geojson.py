"""Annotations in GeoJSON (RFC 7946), as QuPath and other programs write it."""

import contextlib
import gc
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from embedstore.annotations.annotation import SHOWN, Annotation, AnnotationFile, Origin, usable_parts
from embedstore.annotations.file_content import read_bytes, shown
from embedstore.errors import LabelFormatError, OtherFormatError

#: A member of a file and of properties that embedstore writes for itself; GeoJSON (RFC 7946, 6.1) lets it be.
OWN = "embedstore"
GEOMETRIES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection")
#: Properties that hold the class, in the order in which they count: QuPath's, and those of other programs.
CLASS_PROPERTIES = ("classification", "class", "label")
MOST_PX = 1 << 31  # no slide is as wide; beyond it, OpenCV's and GEOS's arithmetic overflows
MOST_NESTED = 32  # GeometryCollections in one another
SHOWN_ID = 40  # characters of an id; QuPath's are UUIDs of 36
HOW_TO_EXPORT = "in QuPath: File > Export objects as GeoJSON"
MISSING = "with a coordinate that is missing (null or NaN)"


class _Malformed(ValueError):
    """A feature that is not as GeoJSON says; the message says what was expected and found."""


class _NoPlace(Exception):
    """A geometry without a place; the message is why it is skipped."""


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Without Python's collection of garbage, which visits every value of a large file again and again in vain."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_without_collection()
def read_geojson(path: str | Path, *, skip_invalid: bool = False) -> AnnotationFile:
    """Read annotations: a FeatureCollection, a list of features, a feature or a geometry; UTF-8 or UTF-16, or gzipped.

    The class is the name of `classification`, or `classification` itself; where there is none, the property `class` or
    `label`. Numbers and false are classes too: 0.0 is the class '0'. Polygons are areas, with their holes;
    self-intersecting rings are repaired. Skipped and counted are lines, empty shapes, and shapes with a coordinate that
    is null or NaN.

    Coordinates stay in the file's frame; `level_0` shifts them.

    Args:
        path: The file.
        skip_invalid: Skip and count malformed features; an error when False.
    Raises:
        OtherFormatError: it is JSON, and not GeoJSON.
        LabelFormatError: it cannot be read, or a feature is malformed; the message names it.
    """
    path = Path(path)
    content = _parse(path)
    features = list(_features(content, path))
    annotations: list[Annotation] = []
    skipped: Counter[str] = Counter()
    odd: list[str] = []
    for number, (feature, shape) in enumerate(zip(features, _quick_shapes(features), strict=True), start=1):
        try:
            parts, reasons = _usable_parts(feature, shape)
            about = _about(feature)
        except _NoPlace as reason:
            skipped[str(reason)] += 1
            if str(reason) == MISSING:
                odd.append(f"{_name(number, feature)} has a coordinate that is null or NaN")
        except _Malformed as problem:
            if not skip_invalid:
                raise LabelFormatError(
                    f"{path}, {_name(number, feature)}: {problem}; correct it, or export the annotations again "
                    f"({HOW_TO_EXPORT})"
                ) from None
            skipped["malformed"] += 1
            odd.append(f"{_name(number, feature)}: {problem}")
        else:
            skipped.update(reasons)
            annotations += [Annotation(geometry=part, **about) for part in parts]
    notes = [f"{path.name}: {text}" for text in odd[:SHOWN]]
    try:
        return _file(path, content, annotations, skipped, notes)
    except _Malformed as problem:
        raise LabelFormatError(f"{path}, member {OWN!r}: {problem}; correct it, or remove the member") from None


def read_geometry(geometry: Any) -> shapely.Geometry:
    """One point, or one area of a polygon or several, from a geometry or a feature as of `read_geojson`.

    Args:
        geometry: Its members, as JSON gives them.
    Raises:
        LabelFormatError: it is malformed, a line, or more than one point.
    """
    try:
        parts, reasons = _usable_parts(geometry, None)
    except _NoPlace as reason:
        parts, reasons = [], [str(reason)]
    except _Malformed as problem:
        raise LabelFormatError(str(problem)) from None
    if len(parts) != 1 or reasons:
        found = ", ".join(reasons) or "several parts"
        raise LabelFormatError(f"expected a geometry of GeoJSON that is one point, or polygons, found one {found}")
    return parts[0]


def _file(
    path: Path, content: Any, annotations: list[Annotation], skipped: Counter[str], notes: list[str]
) -> AnnotationFile:
    """With what a file says of itself."""
    about = _own(content) if isinstance(content, dict) else {}
    origin: Origin | None = about.get("origin")
    if origin is not None and origin not in ("bounds", "level0"):
        raise _Malformed(f"expected the origin bounds or level0, found {shown(origin)}")
    rest = about.get("rest")
    if rest is not None and not isinstance(rest, list):
        raise _Malformed(f"expected rest to be a list of classes, found {shown(rest)}")
    if head := _member(about, "head"):
        notes = [*notes, f"{path.name} holds what head {head} says, not what a person drew"]
    return AnnotationFile(
        path=path,
        annotations=tuple(annotations),
        skipped=skipped,
        origin=origin,
        slide_id=_member(about, "slide_id"),
        rest=tuple(filter(None, (_text(name, "a class of rest") for name in rest or ()))),
        notes=tuple(notes),
    )


# -- the file ---------------------------------------------------------------------------------


def _parse(path: Path) -> Any:
    """The JSON of a file."""
    data = read_bytes(path)
    try:
        return json.loads(data)
    except RecursionError:
        found = "brackets that are nested too deeply"
    except UnicodeDecodeError as error:
        found = f"a byte at {error.start} that is no text in {error.encoding.upper()}; save the file in UTF-8"
    except json.JSONDecodeError as error:
        at_end = not error.doc[error.pos :].strip() or "Unterminated" in error.msg
        where = f"line {error.lineno}, column {error.colno}"
        found = f"a file that ends at {where}: it was cut" if at_end else f"no JSON at {where}"
        found = "XML; ASAP's files end in .xml" if error.doc.lstrip().startswith("<") else found
    except ValueError:  # Python converts no integer of more than 4300 digits
        found = "a number of many digits"
    raise LabelFormatError(f"{path} is no GeoJSON: found {found}; {HOW_TO_EXPORT}")


def _features(content: Any, path: Path) -> Iterator[Any]:
    """The features of a file, in its order, whatever it holds them in; what is none is handed on to be refused."""
    kind = _type(content)
    if isinstance(content, dict) and kind not in ("FeatureCollection", "Feature", *GEOMETRIES):
        raise OtherFormatError(
            f"{path} is no GeoJSON: expected a FeatureCollection or features, found {shown(content)}"
        )
    if not isinstance(content, dict | list) or (content and isinstance(content, list) and not any(map(_type, content))):
        found = f"{shown(content)} without features" if isinstance(content, list) else shown(content)
        raise OtherFormatError(f"{path} is no GeoJSON: expected a FeatureCollection or features, found {found}")
    pending = [content]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += reversed(node)
        elif _type(node) == "FeatureCollection":
            if not isinstance(features := node.get("features"), list):
                raise LabelFormatError(
                    f"{path}: expected features to be a list, found {shown(features)}; {HOW_TO_EXPORT}"
                )
            pending += reversed(features)
        else:
            yield node


def _type(node: Any) -> str | None:
    kind = node.get("type") if isinstance(node, dict) else None
    return kind if isinstance(kind, str) else None


def _name(number: int, feature: Any) -> str:
    """How messages name a feature."""
    name = feature.get("id") if isinstance(feature, dict) else None
    return f"feature {number}" + (f" ({name[:SHOWN_ID]})" if isinstance(name, str) and name.strip() else "")


# -- what features say ------------------------------------------------------------------------


def _about(feature: Any) -> dict[str, Any]:
    """The class of a feature, and what embedstore said of it."""
    properties = feature.get("properties") if _type(feature) == "Feature" else None
    if not isinstance(properties or {}, dict):
        raise _Malformed(f"expected properties to be an object, found {shown(properties)}")
    own = _own(properties or {})
    return {
        "label": _class(properties or {}),
        "rest": own.get("kind") == "rest",
        "split": _member(own, "split"),
        "patient": _member(own, "patient"),
    }


def _class(properties: Mapping[str, Any]) -> str:
    for name in CLASS_PROPERTIES:
        value = properties.get(name)
        if isinstance(value, Mapping):
            names = value.get("names")  # QuPath's derived classes, such as Tumor: Positive
            value = value.get("name") if value.get("name") is not None else names
        texts = [_text(part, "the class") for part in (value if isinstance(value, list) else [value])]
        if text := ": ".join(filter(None, texts)):
            return text
    return ""


def _text(value: Any, what: str) -> str:
    """A text, a number or a truth value as text; '' for what is missing."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        value = (
            int(value) if value.is_integer() and abs(value) < 1 << 53 else value if math.isinf(value) else repr(value)
        )
    if not isinstance(value, str | int | None):  # infinity is no class
        raise _Malformed(f"expected {what} to be a text, found {shown(value)}")
    text = "" if value is None else str(value).strip()
    if "\0" in text or not _is_unicode(text):
        raise _Malformed(f"expected {what} to be a text, found {text!a}")
    return text


def _is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which JSON can spell and no encoding can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _own(members: Mapping[str, Any]) -> Mapping[str, Any]:
    own = members.get(OWN)
    return own if isinstance(own, dict) else {}


def _member(own: Mapping[str, Any], name: str) -> str | None:
    return _text(own.get(name), name) or None


# -- geometry ---------------------------------------------------------------------------------


def _usable_parts(feature: Any, shape: shapely.Geometry | None) -> tuple[list[shapely.Geometry], list[str]]:
    """As `usable_parts`; `shape` is what GEOS made of the feature's geometry, None where it made nothing."""
    if _type(feature) not in ("Feature", *GEOMETRIES):
        raise _Malformed(f"expected a Feature or a geometry, found {shown(feature)}")
    geometry = _geometry(feature)
    if geometry is None:
        raise _NoPlace("without a geometry")
    if shape is None:
        shape = _shape(geometry)
    try:
        return usable_parts(shape)
    except shapely.errors.ShapelyError as error:
        raise _Malformed("expected rings that can be repaired, found some that cannot") from error
    except ValueError as error:
        raise _Malformed(str(error)) from error


def _geometry(feature: Any) -> Any:
    return feature.get("geometry") if _type(feature) == "Feature" else feature


def _quick_shapes(features: list[Any]) -> NDArray[np.object_]:
    """What GEOS reads of the features' geometries, a million cells at once; None where `_shape` must look closer."""
    given = [_geometry(feature) if isinstance(feature, dict) else None for feature in features]
    texts = np.array([_dumped(geometry) if _type(geometry) in GEOMETRIES[:-1] else None for geometry in given], object)
    with np.errstate(all="ignore"):
        shapes = shapely.from_geojson(texts, on_invalid="ignore")
        bounds = np.abs(shapely.bounds(shapes))
    empty = shapely.is_empty(shapes)
    shapes[~(bounds < MOST_PX).all(axis=1) & ~empty] = None
    return shapes


def _dumped(geometry: Any) -> str | None:
    try:
        return json.dumps(geometry)
    except RecursionError:
        return None


def _shape(geometry: Any, depth: int = 0) -> shapely.Geometry:
    """A geometry, read value by value; rings that are not closed are, and those of fewer than three points left out."""
    kind = _type(geometry)
    if kind == "GeometryCollection":
        parts = _list(geometry.get("geometries"), "geometries")
        if depth == MOST_NESTED:
            raise _Malformed(f"expected at most {MOST_NESTED} GeometryCollections in one another, found more")
        return shapely.GeometryCollection([_shape(part, depth + 1) for part in parts if part is not None])
    if kind not in GEOMETRIES:
        raise _Malformed(f"expected a geometry, found {shown(geometry)}")
    given = _list(geometry.get("coordinates"), "coordinates")
    if kind == "Point":
        return shapely.Point(_positions([given])[0]) if given else shapely.Point()
    if kind == "MultiPoint":
        return shapely.MultiPoint(_positions(given))
    if kind == "Polygon":
        return _polygon(given)
    if kind == "MultiPolygon":
        return shapely.MultiPolygon([_polygon(_list(polygon, "a polygon")) for polygon in given])
    for line in [given] if kind == "LineString" else given:
        _positions(_list(line, "a line"))
    return shapely.LineString([(0, 0), (1, 0)])  # lines are skipped, wherever they are


def _polygon(rings: list[Any]) -> shapely.Geometry:
    outer, *holes = [_ring(_list(ring, "a ring")) for ring in rings] or [_ring([])]
    if len(outer) < 3:
        return shapely.Polygon()
    return shapely.Polygon(outer, [hole for hole in holes if len(hole) >= 3])


def _ring(positions: list[Any]) -> NDArray[np.float64]:
    """(n, 2), without the last point where it is the first again."""
    xy = _positions(positions)
    return xy[:-1] if len(xy) > 1 and (xy[0] == xy[-1]).all() else xy


def _positions(given: list[Any]) -> NDArray[np.float64]:
    """(n, 2) x and y."""
    xy = [[_number(value) for value in _position(position)] for position in given]
    return np.array(xy, np.float64).reshape(-1, 2)


def _position(given: Any) -> list[Any]:
    if not _list(given, "a position"):
        raise _NoPlace("empty")
    if len(given) < 2:
        raise _Malformed(f"expected a position of x and y, found {shown(given)}")
    return list(given[:2])


def _number(value: Any) -> float:
    if value is None or value != value:
        raise _NoPlace(MISSING)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Malformed(f"expected a coordinate in pixels, found {shown(value)}")
    if not abs(value) < MOST_PX:
        raise _Malformed(f"expected a coordinate of less than {MOST_PX:,} pixels, found {shown(value)}")
    return float(value)


def _list(value: Any, what: str) -> list[Any]:
    if value is None:
        raise _NoPlace(MISSING)
    if not isinstance(value, list):
        raise _Malformed(f"expected {what} to be a list, found {shown(value)}")
    return value
