"""A query by a label: the mean of the tiles that have it."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import JoinConfig
from embedstore.errors import LabelError
from embedstore.labels import TileTargets, join_labels
from embedstore.search.queries.query import Query, counted, mean_direction, unit_rows
from embedstore.search.queries.tile_query import most_similar
from embedstore.store import Collection, Store, read_tile_locations, read_vectors

#: A mean of more tiles is the same to three digits: its error decreases with the square root of their number.
MOST_TILES = 20_000
SEED = 0  # the same tiles give the same prototype


def prototype_query(store: Store, collection: Collection, task: str, label: str) -> Query:
    """A query by a label: the mean of the unit vectors of the tiles that have it, or of a sample of MOST_TILES.

    A tile has a label where its centre lies in the labelled region (`join_labels`); tiles whose labels contradict each
    other have none. A search leaves out all tiles that have the label.

    Raises:
        TaskNotFoundError: the task has no labels; the message names the tasks.
        LabelError: the task has no such class, or no tile has it; the message names the classes.
        VectorError: a vector is not finite, or they cancel out.
    """
    labels = store.labels.of_task(task)
    _check_class(labels, task, label)
    locations = read_tile_locations(collection)
    targets = join_labels(
        locations, labels, store.ledger.patients(), task=task, config=JoinConfig(rule="centre"), min_classes=1
    )
    rows = np.flatnonzero(_has_class(targets, label, collection.name))
    chosen = _sample(rows)
    vectors = unit_rows(read_vectors(collection, locations.row[chosen], version=locations.version))
    slides = tuple(locations.slides[i] for i in np.unique(locations.slide[rows]))
    title = f"{label} of {task} (mean of {counted(len(rows), 'tile')} on {counted(len(slides), 'slide')})"
    mean = mean_direction(vectors.sum(axis=0, dtype=np.float64), len(vectors), what=title)
    return Query(
        vector=mean,
        title=title,
        slides=slides,
        tile_ids=locations.tile_id[rows],
        tiles=tuple(map(locations.location, chosen[most_similar(vectors @ mean)].tolist())),
    )


def _check_class(labels: pa.Table, task: str, label: str) -> None:
    names = labels.column("label").unique().to_pylist()
    if label not in names:
        raise LabelError(f"task {task!r} has no class {label!r}; its labels name {_listed(names)}")


def _has_class(targets: TileTargets, label: str, collection: str) -> NDArray[np.bool_]:
    """(n,) whether each tile has the class."""
    if label in targets.classes:
        return targets.targets[:, targets.classes.index(label)]
    counts = zip(targets.classes, targets.targets.sum(axis=0).tolist(), strict=True)
    listed = _listed(f"{name} {count}" for name, count in counts)
    conflicts = f", and {targets.conflicts} whose labels contradict each other" if targets.conflicts else ""
    raise LabelError(
        f"task {targets.task!r}: no tile of collection {collection!r} is of class {label!r}; found {listed}{conflicts}"
        "; `embedstore label ls` shows what its labels are about"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "no class"


def _sample(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows, or MOST_TILES of them, in their order."""
    if len(rows) <= MOST_TILES:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, MOST_TILES, replace=False))
