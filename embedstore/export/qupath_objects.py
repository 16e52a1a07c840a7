"""Objects as QuPath imports them: features of GeoJSON with a lasting id, squares of tiles, and the file around them."""

import json
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.output_files import atomic_write

DIGITS = 5  # of a probability or distance


def feature(key: str, geometry: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """A feature whose id, which QuPath wants to be a UUID, is the same in every export of the same thing.

    Args:
        key: What the thing is called.
        geometry: As GeoJSON has it, pixels in the frame of the file.
        properties: `objectType`, `classification`, `measurements` and the like.
    """
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"embedstore:{key}"))
    return {"type": "Feature", "id": name, "geometry": geometry, "properties": properties}


def squares(rows: pa.Table, corner: tuple[int, int]) -> list[dict[str, Any]]:
    """The square of each tile, closed, clockwise on the screen from its top left.

    Args:
        rows: With the columns x, y and edge_l0, level-0 pixels.
        corner: Where (0, 0) of the file lies, level-0 pixels: see `corner_l0`.
    """
    x, y, edge = (rows[name].to_numpy().astype(np.int64) for name in ("x", "y", "edge_l0"))
    left, top = x - corner[0], y - corner[1]
    right, bottom = left + edge, top + edge
    rings = np.stack([left, top, right, top, right, bottom, left, bottom, left, top], axis=1).reshape(-1, 1, 5, 2)
    return [{"type": "Polygon", "coordinates": ring} for ring in rings.tolist()]


def rounded(values: NDArray[np.floating]) -> list[float]:
    """Measurements to as many digits as mean something."""
    return np.round(values.astype(np.float64), DIGITS).tolist()


def write_collection(path: Path, about: Mapping[str, Any], features: Iterable[Mapping[str, Any]]) -> int:
    """Write features as they come, a line each, and return how many.

    Args:
        path: The file.
        about: The member `embedstore`, which says whose file it is and where its coordinates begin.
        features: What is on the slide.
    """
    written = 0
    with atomic_write(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection", "embedstore": {json.dumps(about)}, "features": [')
        for each in features:
            file.write((",\n" if written else "\n") + json.dumps(each, allow_nan=False))
            written += 1
        file.write("\n]}\n")
    return written
