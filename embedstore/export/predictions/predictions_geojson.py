"""Predictions as GeoJSON for QuPath: an object for each tile, or an annotation for neighbouring tiles of one class."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from embedstore.annotations import Origin, feature, write_collection
from embedstore.errors import ExportError
from embedstore.export.predictions.export_scope import ExportScope, attention_ranks
from embedstore.export.tile_squares import DIGITS, rounded, squares
from embedstore.labels.class_colours import class_colours
from embedstore.labels.files.coordinate_frames import corner_l0
from embedstore.store import PredictionFacts
from embedstore.store.prediction_schema import LABEL_JOINT, decided_classes, probability_matrix


def write_geojson(
    scope: ExportScope,
    slide_id: str,
    path: str | Path,
    *,
    origin: Origin = "bounds",
    merge: bool = False,
    min_probability: float = 0.0,
) -> int:
    """Write a head's predictions on the tiles of a slide, for QuPath 0.4 or newer.

    QuPath reads the file by File > Import objects, or by drag and drop. A tile is a square Polygon of objectType `tile`
    with its class, and with the probabilities as measurements "p: CLASS". For a head for slides or patients, tiles have
    no class but the measurements "attention" and "attention rank" (0 to 1 within the slide).

    Args:
        scope: The head and its slides.
        slide_id: One of them.
        path: The file.
        origin: Where coordinates begin. `bounds`: the corner of the part of the slide that holds an image according to
            OpenSlide, as in QuPath. `level0`: the corner of level 0. The file's member `embedstore` records it, and the
            import of labels reads it from there.
        merge: Merge neighbouring tiles of one class into annotations, with the number of tiles and their mean
            probability.
        min_probability: Leave out tiles whose class has a smaller probability.
    Returns:
        How many objects were written.
    Raises:
        ExportError: the head has no values for tiles, or attention was to be merged.
    """
    facts, table = scope.head_facts("geojson"), scope.tile_values("geojson")
    rows = table.table(slides=[slide_id])
    slide = scope.slides[slide_id]
    corner = corner_l0(slide, origin)
    about = {
        "origin": origin,
        "slide_id": slide_id,
        "head": facts.head,
        "head_digest": facts.head_digest,
        "task": facts.task,
        "collection": facts.collection,
    }
    if facts.level != "tile":
        if merge:
            raise ExportError(
                f"head {facts.head!r} gives no tile a class, so tiles cannot be merged; leave out --merge"
            )
        features = _attention_features(facts, rows, corner)
    elif merge:
        features = _merged_features(facts, rows, corner, min_probability, slide_id)
    else:
        features = _tile_features(facts, rows, corner, min_probability)
    return write_collection(Path(path), about, features)


def _tile_features(
    facts: PredictionFacts, rows: pa.Table, corner: tuple[int, int], min_probability: float
) -> Iterator[dict[str, Any]]:
    colours = class_colours(facts.classes, facts.positive)
    probabilities, decided = probability_matrix(facts, rows), decided_classes(facts, rows)
    probability = np.where(decided, probabilities, -1).max(axis=1, initial=-1)
    no_class = ~decided.any(axis=1)  # in a multi-label task
    keep = np.flatnonzero((probability >= min_probability) | (no_class & (min_probability <= 0)))
    labels, ids = rows["label"].to_pylist(), rows["tile_id"].to_numpy()
    polygons = squares(rows, corner)
    for i in keep.tolist():
        measurements = {f"p: {name}": p for name, p in zip(facts.classes, rounded(probabilities[i]), strict=True)}
        properties: dict[str, Any] = {"objectType": "tile"}
        if labels[i]:
            properties["classification"] = _classification(labels[i], colours)
        yield feature(f"{facts.head}/{ids[i]}", polygons[i], {**properties, "measurements": measurements})


def _attention_features(facts: PredictionFacts, rows: pa.Table, corner: tuple[int, int]) -> Iterator[dict[str, Any]]:
    attention, ids = rows["attention"].to_numpy(), rows["tile_id"].to_numpy()
    polygons, rank = squares(rows, corner), rounded(attention_ranks(attention))
    for i in range(len(ids)):
        measurements = {"attention": float(attention[i]), "attention rank": rank[i]}
        yield feature(f"{facts.head}/{ids[i]}", polygons[i], {"objectType": "tile", "measurements": measurements})


def _merged_features(
    facts: PredictionFacts, rows: pa.Table, corner: tuple[int, int], min_probability: float, slide_id: str
) -> Iterator[dict[str, Any]]:
    colours = class_colours(facts.classes, facts.positive)
    probabilities, decided = probability_matrix(facts, rows), decided_classes(facts, rows)
    x, y, edge = (rows[name].to_numpy().astype(np.float64) for name in ("x", "y", "edge_l0"))
    x, y = x - corner[0], y - corner[1]
    for column, name in enumerate(facts.classes):
        chosen = np.flatnonzero(decided[:, column] & (probabilities[:, column] >= min_probability))
        if len(chosen) == 0:
            continue
        left, top, side = x[chosen], y[chosen], edge[chosen]
        union = shapely.union_all(shapely.box(left, top, left + side, top + side))
        parts = shapely.get_parts(shapely.simplify(union, 0))
        centres = shapely.points(left + side / 2, top + side / 2)
        tile, part = shapely.STRtree(parts).query(centres, predicate="within")
        tiles = np.bincount(part, minlength=len(parts))
        means = np.bincount(part, probabilities[chosen[tile], column], minlength=len(parts)) / np.maximum(tiles, 1)
        for i, area in enumerate(parts):
            yield feature(
                f"{facts.head}/{slide_id}/{name}/{i}",
                json.loads(shapely.to_geojson(area)),
                {
                    "objectType": "annotation",
                    "classification": _classification(name, colours),
                    "measurements": {"tiles": int(tiles[i]), f"p: {name} mean": round(float(means[i]), DIGITS)},
                },
            )


def _classification(label: str, colours: Mapping[str, tuple[int, int, int]]) -> dict[str, Any]:
    """A class of QuPath; several classes become its derived class 'a: b', in the colour of the first."""
    names = [label] if label in colours else label.split(LABEL_JOINT)
    return {"name": ": ".join(names), "color": list(colours.get(names[0], (128, 128, 128)))}
