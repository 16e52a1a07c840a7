"""Labels as GeoJSON, the way QuPath reads and writes annotations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import shapely.geometry

from embedstore.annotations import OWN, Origin, feature, write_collection
from embedstore.labels.class_colours import Colour, class_colours
from embedstore.labels.files.coordinate_frames import corner_l0
from embedstore.store import Label, SlideRow


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
    return write_collection(Path(path), about, (_feature(label, corner, colours[label.label]) for label in drawn))


def _feature(label: Label, corner: tuple[int, int], colour: Colour) -> dict[str, Any]:
    shape = shapely.Point(label.x, label.y) if label.kind == "point" else shapely.from_wkb(label.geometry)
    moved = shapely.transform(shape, lambda xy: xy - np.asarray(corner))
    own = {name: getattr(label, name) for name in ("kind", "split", "patient", "author", "source")}
    properties = {
        "objectType": "annotation",
        "classification": {"name": label.label, "color": list(colour)},
        OWN: {name: value for name, value in own.items() if value is not None},
    }
    return feature(f"label:{label.key}", shapely.geometry.mapping(moved), properties)
