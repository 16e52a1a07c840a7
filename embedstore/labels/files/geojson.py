"""Annotations as GeoJSON, the way QuPath writes and reads them."""

import gzip
import json
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import shapely.geometry

from embedstore.errors import LabelFormatError
from embedstore.labels.class_colours import Colour, class_colours
from embedstore.labels.files.annotations import IGNORED, Annotation, AnnotationFile, Origin, usable_parts
from embedstore.labels.files.coordinate_frames import corner_l0
from embedstore.output_files import atomic_write
from embedstore.store import Label, SlideRow

#: A member of a file and of properties that embedstore writes for itself; GeoJSON (RFC 7946, 6.1) lets it be.
OWN = "embedstore"
GEOMETRIES = frozenset({"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"})


def read_geojson(path: str | Path, *, named: Collection[str] = ()) -> AnnotationFile:
    """Read annotations that QuPath exported: a FeatureCollection, a list of features, or one feature; also gzipped.

    The class is the name of `classification`; in old files, `classification` itself; in files of other programs, the
    property `class` or `label`. Polygons are areas, with their holes; self-intersecting rings are repaired. Skipped and
    counted are lines, shapes without a class, and classes that end in `*` (QuPath's `Ignore*` and `Region*`) unless
    they are `named`.

    Coordinates stay in the file's frame; `level_0` shifts them.

    Raises:
        LabelFormatError: the file cannot be read or is not GeoJSON, or a geometry is malformed; the message names it.
    """
    path = Path(path)
    content = _read(path)
    about = _own(content) if isinstance(content, dict) else {}
    features = list(_features(content, path))
    geometries = _geometries(features, path)
    annotations: list[Annotation] = []
    skipped: Counter[str] = Counter()
    for feature, geometry in zip(features, geometries, strict=True):
        properties = feature.get("properties") or {}
        label = _class(properties)
        own = _own(properties)
        if geometry is None:
            skipped["without a geometry"] += 1
        elif not label:
            skipped["without a class"] += 1
        elif label.endswith(IGNORED) and label not in named:
            skipped[f"of class {label}"] += 1
        else:
            parts, reasons = usable_parts(geometry)
            skipped.update(reasons)
            annotations += [
                Annotation(
                    label=label,
                    geometry=part,
                    rest=own.get("kind") == "rest",
                    split=own.get("split"),
                    patient=own.get("patient"),
                )
                for part in parts
            ]
    origin = about.get("origin")
    if origin not in (None, "bounds", "level0"):
        raise LabelFormatError(f"{path}: its origin is {origin!r}; expected bounds or level0")
    head = about.get("head")
    return AnnotationFile(
        path=path,
        annotations=tuple(annotations),
        skipped=skipped,
        origin=origin,
        slide_id=about.get("slide_id"),
        rest=tuple(about.get("rest") or ()),
        notes=(f"{path.name} holds what head {head} says, not what a person drew",) if head else (),
    )


def _read(path: Path) -> Any:
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (OSError, EOFError) as error:
        raise LabelFormatError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except ValueError as error:
        raise LabelFormatError(
            f"{path} is no GeoJSON: {error}; in QuPath: File > Export objects as GeoJSON; "
            "files of another kind want another --format"
        ) from error


def _features(node: Any, path: Path) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for item in node:
            yield from _features(item, path)
        return
    kind = node.get("type") if isinstance(node, dict) else None
    if kind == "FeatureCollection" and isinstance(node.get("features"), list):
        yield from _features(node["features"], path)
    elif kind == "Feature" and isinstance(node.get("properties") or {}, dict):
        yield node
    elif kind in GEOMETRIES or kind == "GeometryCollection":
        yield {"type": "Feature", "geometry": node, "properties": {}}
    else:
        raise LabelFormatError(
            f"{path} is no GeoJSON: expected a FeatureCollection or features, found "
            f"{f'an object of type {kind!r}' if isinstance(node, dict) else type(node).__name__}"
        )


def _geometries(features: Sequence[dict[str, Any]], path: Path) -> list[shapely.Geometry | None]:
    """Geometries of features, None where there is none; a million cells are parsed at once."""
    given = [feature.get("geometry") for feature in features]
    texts = np.array([None if geometry is None else json.dumps(geometry) for geometry in given], object)
    parsed = shapely.from_geojson(texts, on_invalid="ignore")
    found: list[shapely.Geometry | None] = []
    for number, (geometry, shape) in enumerate(zip(given, parsed, strict=True), start=1):
        if geometry is not None and (shape is None or not _finite(shape)):
            shape = _one_geometry(geometry, f"{path}, feature {number}")  # rings that are not closed, or an error
        found.append(shape)
    return found


def _one_geometry(geometry: Any, where: str) -> shapely.Geometry:
    try:
        shape = shapely.geometry.shape(geometry)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, shapely.errors.ShapelyError) as error:
        raise LabelFormatError(f"{where}: malformed geometry: {error}") from error
    if not _finite(shape):
        raise LabelFormatError(f"{where}: malformed geometry: a coordinate is no finite number")
    return shape


def _finite(shape: shapely.Geometry) -> bool:
    return bool(np.isfinite(shapely.get_coordinates(shape)).all())


def _own(members: Mapping[str, Any]) -> Mapping[str, Any]:
    own = members.get(OWN)
    return own if isinstance(own, dict) else {}


def _class(properties: Mapping[str, Any]) -> str:
    """The class of a feature, '' where it has none."""
    value = properties.get("classification") or properties.get("class") or properties.get("label")
    if isinstance(value, Mapping):
        names = value.get("names")  # QuPath's derived classes, such as Tumor: Positive
        value = value.get("name") or (": ".join(map(str, names)) if isinstance(names, list) else "")
    return str(value).strip() if isinstance(value, str | int) else ""


# -- out --------------------------------------------------------------------------------------


def write_label_geojson(
    labels: Sequence[Label],
    slide: SlideRow,
    path: str | Path,
    *,
    task: str,
    origin: Origin = "bounds",
) -> int:
    """Write a slide's areas, points and rests as annotations that QuPath opens and `read_geojson` reads.

    Args:
        labels: Of one slide; areas, points and rests.
        slide: The slide's row.
        path: The file.
        task: Name of the task.
        origin: Where coordinates begin: at the corner of the slide's image, as in QuPath, or of level 0.
    Returns:
        How many annotations were written.
    """
    corner = corner_l0(slide, origin)
    colours = class_colours(sorted({label.label for label in labels}))
    drawn = [label for label in labels if label.geometry is not None or label.kind == "point"]
    rest = sorted({label.label for label in labels if label.kind == "rest" and label.geometry is None})
    about = {"origin": origin, "slide_id": slide.slide_id, "task": task, "rest": rest}
    features = [_feature(label, corner, colours[label.label]) for label in drawn]
    with atomic_write(path) as part:
        part.write_text(json.dumps({"type": "FeatureCollection", OWN: about, "features": features}), encoding="utf-8")
    return len(features)


def _feature(label: Label, corner: tuple[int, int], colour: Colour) -> dict[str, Any]:
    shape = shapely.Point(label.x, label.y) if label.kind == "point" else shapely.from_wkb(label.geometry)
    moved = shapely.transform(shape, lambda xy: xy - np.asarray(corner))
    own = {name: getattr(label, name) for name in ("kind", "split", "patient", "author", "source")}
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"embedstore:label:{label.key}")),
        "geometry": shapely.geometry.mapping(moved),
        "properties": {
            "objectType": "annotation",
            "classification": {"name": label.label, "color": list(colour)},
            OWN: {name: value for name, value in own.items() if value is not None},
        },
    }
