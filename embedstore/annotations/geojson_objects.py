"""Objects that QuPath imports: GeoJSON features with stable ids, and the file that holds them."""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import shapely

from embedstore.output_files import atomic_write, require_own

#: How each file begins that `write_collection` writes.
_BEGINNING = '{"type": "FeatureCollection", "embedstore": '


def feature(key: str, geometry: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """A feature whose id, a UUID as QuPath requires, is the same in every export of the same object.

    Args:
        key: Unique name of the object; the id is derived from it.
        geometry: A GeoJSON geometry, pixels in the frame of the file.
        properties: `objectType`, `classification`, `measurements` and the like.
    """
    uid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"embedstore:{key}"))
    return {"type": "Feature", "id": uid, "geometry": geometry, "properties": properties}


def geometry_objects(areas: Sequence[bytes | None]) -> list[dict[str, Any] | None]:
    """GeoJSON geometries of areas in WKB."""
    return [None if text is None else json.loads(text) for text in shapely.to_geojson(shapely.from_wkb(list(areas)))]


def write_collection(path: Path, about: Mapping[str, Any], features: Iterable[Mapping[str, Any]]) -> int:
    """Write a FeatureCollection, one line for each feature; returns the number of features.

    Args:
        path: The file; one that stands there is replaced if embedstore wrote it and nobody saved it since: programs
            such as QuPath do not keep the member `embedstore`.
        about: The member `embedstore`: the slide, the origin of the coordinates, and what made the features.
        features: The features, which are written as they are generated.
    Raises:
        ExportError: a file of somebody else stands there, or nothing can be written there.
    """
    require_own(
        path,
        lambda line: line.startswith(_BEGINNING.encode()),
        problem="embedstore did not write the file that stands there, or somebody saved it since, and it may hold "
        "what a person drew; name another place, or move it away",
    )
    written = 0
    with atomic_write(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(f'{_BEGINNING}{json.dumps(about)}, "features": [')
        for entry in features:
            file.write((",\n" if written else "\n") + json.dumps(entry, allow_nan=False))
            written += 1
        file.write("\n]}\n")
    return written
