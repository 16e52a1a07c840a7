"""Where the authors of a task disagree, and how well each two of them agree."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from embedstore.labels.geometry import NUDGE_L0, concatenate, rows_by_code
from embedstore.labels.task_labels import TaskLabels, task_labels
from embedstore.store.label import PLACE, place_codes

#: What stands for an author who says nothing of a place, and for one who gives it several classes.
SILENT, SEVERAL = -1, -2
#: How near what is said is to a place: it is about the place itself, about an area that covers it, or about the rest.
EXACT, AREA, REST = range(3)

PAIRS = pa.schema(
    [
        pa.field("author", pa.string()),
        pa.field("other", pa.string()),
        pa.field("places", pa.int64()),
        pa.field("equal", pa.float64()),
        pa.field("kappa", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Statements:
    """What each of A authors says of each of P places.

    Attributes:
        authors, classes: Their names, sorted.
        place: (P,) a row of `table` that is about each place.
        said: (P, A) int32 index into `classes`; SILENT, or SEVERAL for an author who gives a place several classes.
        table: The labels.
        texts: {(place, author): the classes, for people} of SEVERAL.
    """

    authors: tuple[str, ...]
    classes: tuple[str, ...]
    place: NDArray[np.int64]
    said: NDArray[np.int32]
    table: pa.Table
    texts: dict[tuple[int, int], str]


def statements(labels: pa.Table, task: str) -> Statements:
    """What the authors of a task say of the places that any of them labelled.

    Places are compared exactly. Of a tile (by its square) or a point, an author who labelled none there says what an
    own area says that covers its centre, or else an own label of the rest. Whole slides and patients are places of
    their own.

    Args:
        labels: Rows of the table of labels (`Labels.table`), of this task and perhaps others.
    Raises:
        TaskNotFoundError: no label is of the task.
    """
    of_task = task_labels(labels, task)
    (codes,) = place_codes(of_task.table)
    place = np.full(codes.max(initial=-1) + 1, -1, np.int64)
    place[codes[::-1]] = np.arange(len(codes))[::-1]
    encoded = of_task.table.column("author").combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    authors = tuple(sorted(names))
    author = np.array([authors.index(name) for name in names], np.int64)[encoded.indices.to_numpy()]

    spots = place[np.isin(of_task.codes["kind"][place], _kinds(of_task, "tile", "point"))]
    covered, areas = _covering(of_task, spots)
    about = np.concatenate([codes, codes[covered]])
    rows = np.concatenate([np.arange(len(codes)), areas])
    rank = np.full(len(about), EXACT)
    is_rest = np.isin(of_task.codes["kind"][areas], _kinds(of_task, "rest"))
    rank[len(codes) :] = np.where(is_rest, REST, AREA)

    cell = about * len(authors) + author[rows]
    nearest = np.full(len(place) * len(authors), REST + 1)
    np.minimum.at(nearest, cell, rank)
    counts = rank == nearest[cell]
    pairs = np.unique(np.stack([cell[counts], of_task.codes["label"][rows[counts]]]), axis=1)
    said = np.full(len(place) * len(authors), SILENT, np.int32)
    said[pairs[0]] = pairs[1]
    cells, first, number = np.unique(pairs[0], return_index=True, return_counts=True)
    said[cells[number > 1]] = SEVERAL
    classes = of_task.values["label"]
    texts = {
        divmod(int(at), len(authors)): " + ".join(classes[k] for k in pairs[1][start : start + n])
        for at, start, n in zip(cells[number > 1], first[number > 1], number[number > 1], strict=True)
    }
    return Statements(
        authors=authors,
        classes=classes,
        place=place,
        said=said.reshape(len(place), len(authors)),
        table=of_task.table,
        texts=texts,
    )


def _kinds(labels: TaskLabels, *kinds: str) -> list[int]:
    return [i for i, kind in enumerate(labels.values["kind"]) if kind in kinds]


def _covering(labels: TaskLabels, spots: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(spot, row of an area or a rest that covers its centre); spots are rows of tiles and points."""
    slide = labels.codes["slide_id"]
    areas = labels.rows_of("area", "rest")
    if not len(areas) or not len(spots):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    shapes = shapely.from_wkb(labels.table.column("geometry").take(areas).to_numpy())
    x, y, edge = (labels.numbers(name) for name in ("x", "y", "edge_l0"))
    centre = np.stack([x, y], axis=1) + np.nan_to_num(edge)[:, None] / 2 + NUDGE_L0
    on_slide = dict(rows_by_code(slide, spots))
    pairs = []
    for code, of_slide in rows_by_code(slide[areas], np.arange(len(areas))):
        there = on_slide.get(code)
        if there is None:
            continue
        drawn = of_slide[~shapely.is_missing(shapes[of_slide])]
        placed = there[np.isfinite(centre[there]).all(axis=1)]
        tree = shapely.STRtree(shapely.points(centre[placed]))
        area, spot = tree.query(shapes[drawn], predicate="contains")
        pairs.append((placed[spot], areas[drawn[area]]))
        whole = areas[np.setdiff1d(of_slide, drawn)]  # the rest of the whole slide
        pairs.append((np.repeat(there, len(whole)), np.tile(whole, len(there))))
    return concatenate(pairs)


def disagreements(found: Statements) -> pa.Table:
    """The places that authors give different classes.

    Returns:
        A row a place: the columns of PLACE, then for each author the class as `label_AUTHOR`; null where the author
        says nothing, and classes joined by ' + ' where an author gives several.
    """
    spoken = found.said != SILENT
    low = np.where(spoken, found.said, np.iinfo(np.int32).max).min(axis=1, initial=np.iinfo(np.int32).max)
    high = np.where(spoken, found.said, np.iinfo(np.int32).min).max(axis=1, initial=np.iinfo(np.int32).min)
    several = (found.said == SEVERAL).any(axis=1)
    different = np.flatnonzero((spoken.sum(axis=1) > 1) & ((low != high) | several))
    rows = found.table.take(pa.array(found.place[different])).select(PLACE)
    names = np.array([*found.classes, None], object)  # the last one for SILENT
    for i, author in enumerate(found.authors):
        values = names[np.maximum(found.said[different, i], SILENT)]
        for at in np.flatnonzero(found.said[different, i] == SEVERAL):
            values[at] = found.texts[int(different[at]), i]
        rows = rows.append_column(f"label_{author}", pa.array(values, pa.string()))
    order = pc.sort_indices(rows, [(name, "ascending") for name in ("slide_id", "y", "x", "name", "kind")])
    return rows.take(order)


def pairs_of_authors(found: Statements) -> pa.Table:
    """How well each two authors agree, a row a pair.

    Returns:
        `author`, `other`, `places` (to which both give one class each), `equal` (share of these to which both give the
        same), and `kappa`: Cohen's, with chance taken from how often each gives each class (Cohen 1960); null where
        both gave all places one and the same class, or have no place in common.
    """
    rows = []
    for i, author in enumerate(found.authors):
        for j in range(i + 1, len(found.authors)):
            both = (found.said[:, [i, j]] >= 0).all(axis=1)
            places, equal, kappa = _agreement(found.said[both, i], found.said[both, j], len(found.classes))
            rows.append((author, found.authors[j], places, equal, kappa))
    columns = zip(*rows, strict=True) if rows else [[] for _ in PAIRS]
    return pa.Table.from_arrays(
        [pa.array(column, each.type) for column, each in zip(columns, PAIRS, strict=True)], schema=PAIRS
    )


def _agreement(
    one: NDArray[np.int32], other: NDArray[np.int32], classes: int
) -> tuple[int, float | None, float | None]:
    """Number of places, share with equal classes, and Cohen's kappa."""
    places = len(one)
    if not places:
        return 0, None, None
    counts = np.bincount(one.astype(np.int64) * classes + other, minlength=classes * classes).reshape(classes, classes)
    share = counts / places
    equal = float(np.trace(share))
    chance = float(share.sum(axis=1) @ share.sum(axis=0))
    return places, equal, None if chance >= 1 else (equal - chance) / (1 - chance)
