"""A query by a label: what the tiles that have it are like on average."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import JoinConfig
from embedstore.errors import LabelError
from embedstore.labels import TileTargets, join_labels
from embedstore.search.queries.query import PLACE_COLUMNS, Query, counted, mean_direction, unit_rows
from embedstore.search.queries.tile_query import most_like
from embedstore.store import Collection, Store, TileLocations, read_tile_locations, read_vectors

#: A mean of more tiles is the same to three digits: its error falls with the square root of their number.
MOST_TILES = 20_000
SEED = 0  # of the sample: the same tiles give the same prototype


def prototype_query(store: Store, collection: Collection, task: str, label: str) -> Query:
    """The mean of the tiles that have a label, as unit vectors; of MOST_TILES drawn from them where they are more.

    A tile has a label where its centre lies in what is labelled (`join_labels`); tiles whose labels contradict each
    other count for none. All tiles that have the label are the query's own.

    Raises:
        TaskNotFoundError: no label is of the task; the message names the tasks that there are.
        LabelError: the task has no such class, or no tile is of it; the message names those that there are.
        VectorError: a vector is not finite, or they cancel out.
    """
    labels = store.labels.of_task(task)
    _check_class(labels, task, label)
    places = read_tile_locations(collection)
    answers = join_labels(
        places, labels, store.ledger.patients(), task=task, config=JoinConfig(rule="centre"), min_classes=1
    )
    rows = np.flatnonzero(_of_class(answers, label, collection.name))
    chosen = _sample(rows)
    vectors = unit_rows(read_vectors(collection, places.row[chosen], version=places.version))
    slides = tuple(places.slides[i] for i in np.unique(places.slide[rows]))
    title = f"{label} of {task} (mean of {counted(len(rows), 'tile')} on {counted(len(slides), 'slide')})"
    mean = mean_direction(vectors.sum(axis=0, dtype=np.float64), len(vectors), what=title)
    return Query(
        vector=mean,
        title=title,
        slides=slides,
        tile_ids=places.tile_id[rows],
        tiles=tuple(_row(places, i) for i in chosen[most_like(vectors @ mean)].tolist()),
    )


def _check_class(labels: pa.Table, task: str, label: str) -> None:
    names = labels.column("label").unique().to_pylist()
    if label not in names:
        raise LabelError(f"task {task!r} has no class {label!r}; its labels name {_listed(names)}")


def _of_class(answers: TileTargets, label: str, collection: str) -> NDArray[np.bool_]:
    """(n,) whether each tile is of a class."""
    if label in answers.classes:
        return answers.targets[:, answers.classes.index(label)]
    counts = zip(answers.classes, answers.targets.sum(axis=0).tolist(), strict=True)
    found = _listed(f"{name} {count}" for name, count in counts)
    conflicts = f", and {answers.conflicts} whose labels contradict each other" if answers.conflicts else ""
    raise LabelError(
        f"task {answers.task!r}: no tile of collection {collection!r} is of class {label!r}; found {found}{conflicts}; "
        "`embedstore label ls` shows what its labels are about"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "no class"


def _sample(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most MOST_TILES of the rows, in their order."""
    if len(rows) <= MOST_TILES:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, MOST_TILES, replace=False))


def _row(places: TileLocations, i: int) -> dict[str, object]:
    name = None if places.names is None else places.names[i]
    x, y = places.xy_l0[i].tolist()
    values = (int(places.tile_id[i]), places.slides[places.slide[i]], x, y, int(places.edge_l0[i]), name)
    return dict(zip(PLACE_COLUMNS, values, strict=True))
