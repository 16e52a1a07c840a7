"""`mistakes`: the labelled tiles where a head and the labels disagree."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.errors import LabelError
from embedstore.labels import LabelledTiles, join_labels, labelled_tiles
from embedstore.search.filters import filter_tiles
from embedstore.sorted_ids import positions_in
from embedstore.store import Collection, Patients, Store, StoredHead, TileLocations, read_tile_locations
from embedstore.store.prediction_schema import decided_labels
from embedstore.store.vectors import vector_blocks
from heads.active.found import FoundTiles, decisions, require_tile_head
from heads.config import MistakesConfig
from heads.record import HeadRecord
from heads.splitting.splits import PART_NAMES, TEST, UNUSED
from heads.stored_examples import StoredExamples

if TYPE_CHECKING:
    from heads.head import Head

#: Where a labelled tile was when the head was fitted; one without a label then, or in no part, is new to it.
_PART_NAMES = {**PART_NAMES, UNUSED: "new"}


def find_mistakes(
    store: Store, stored: StoredHead, config: MistakesConfig, *, labels_of: Store | None = None
) -> FoundTiles:
    """Labelled tiles that a head takes for another class, the most certain first; only labelled tiles are predicted.

    A tile of a test part is predicted by the networks alone that were tested on it, so out of fold: what a network
    was fitted on, it takes for what its label says. Labels of whole slides and patients do not count, nor tiles whose
    labels contradict each other. The order is that of confident learning (Northcutt, Jiang & Chuang 2021): the
    probability of the class of the label, from the smallest on.

    Args:
        labels_of: The store as somebody sees it whose labels alone count; the store itself when None.
    Returns:
        PLACE_COLUMNS, `label` and `label_probability`, `predicted` and `probability`, `part` (train, valid, test, or
        new: labelled since the head was fitted), and `authors` of the labels, joined by a comma.
    Raises:
        TaskNotFoundError: the head's task has no label any more.
        LabelError: no labelled tile of the head's classes passes, or a class is none of the head's.
        HeadMismatchError: the head classifies slides.
        ConfigError: `where` is not valid.
    """
    from heads.head import Head
    from heads.predict import require_extractor

    head, record = Head.from_stored(stored), HeadRecord.from_record(stored.record)
    require_tile_head(head)
    for name in filter(None, (config.label, config.predicted)):
        if name not in head.classes:
            raise LabelError(f"head {head.name!r} knows no class {name!r}; it tells apart {', '.join(head.classes)}")
    collection = store.collection(head.collection).pinned()
    require_extractor(head, collection)
    labelled = _labelled(store, labels_of or store, collection, head, record, config.where)
    examples = _Memory.of(stored, record, labelled.locations.tile_id[labelled.rows])
    probabilities, finite = _predict(head, collection, labelled, examples)
    decided = head.decide(probabilities)
    support = np.where(labelled.targets, probabilities, 1 - probabilities).min(axis=1)
    if not head.multi_label:
        support = np.where(labelled.targets, probabilities, 0).sum(axis=1)
    wrong = finite & (decided != labelled.targets).any(axis=1)
    given = decided_labels(head.classes, labelled.targets)
    taken, probability = decisions(head, probabilities)
    shown = (
        wrong & _equals(given, config.label) & _equals(taken, config.predicted) & _equals(examples.part, config.part)
    )
    order = np.flatnonzero(shown)[np.argsort(support[shown], kind="stable")][: config.n]
    notes = [f"the head disagrees with {int(wrong.sum()):,} of {int(finite.sum()):,} labelled tiles"]
    if int(shown.sum()) < int(wrong.sum()):
        notes[0] += f"; {int(shown.sum()):,} of these are of what was asked for"
    remembered = pc.is_in(examples.part, value_set=pa.array(["train", "valid"])).to_numpy(zero_copy_only=False)
    if seen := int((remembered & finite).sum()):
        notes.append(
            f"{seen:,} labelled tiles are of the parts train and valid: the head was fitted to their labels, which "
            "hides mistakes; a head that is fitted with folds is tested on every tile"
        )
    if not finite.all():
        notes.append(f"{int((~finite).sum()):,} labelled tiles have a vector that is not finite; left out")
    rows = labelled.rows[order]
    chosen = pa.array(order)
    return FoundTiles(
        table=pa.table(
            {
                "rank": pa.array(np.arange(1, len(order) + 1)),
                **_places(store, labelled.locations, rows),
                "label": given.take(chosen),
                "label_probability": pa.array(support[order].astype(np.float32)),
                "predicted": taken.take(chosen),
                "probability": probability.take(chosen),
                "part": examples.part.take(chosen),
                "authors": _authors(labelled.labels, rows),
            }
        ),
        title=f"labels of {head.task} that {head.name} disagrees with",
        notes=tuple(notes),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Labelled:
    """The m tiles that labels of places give classes of a head.

    Attributes:
        locations: Where the tiles of slides with labels lie.
        rows: (m,) index into it.
        targets: (m, classes) bool.
        labels: Which labels are about which tiles.
    """

    locations: TileLocations
    rows: NDArray[np.int64]
    targets: NDArray[np.bool_]
    labels: LabelledTiles


def _labelled(
    store: Store, labels_of: Store, collection: Collection, head: "Head", record: HeadRecord, where: str | None
) -> _Labelled:
    labels, patients = labels_of.labels.of_task(head.task), labels_of.ledger.patients()
    slides = set(labels["slide_id"].unique().to_pylist()) - {None}
    locations = read_tile_locations(collection, slides=slides)
    named = set(labels["label"].unique().to_pylist())
    classes = [name for name in head.classes if name in named]
    joined = join_labels(
        locations, labels, patients, task=head.task, config=record.config.join, classes=classes,
        multi_label=head.multi_label, min_classes=0,
    )  # fmt: skip
    about = labelled_tiles(locations, labels, patients, task=head.task, config=record.config.join)
    by_place = np.zeros(len(locations), bool)
    by_place[about.tile] = True
    rows = np.flatnonzero(joined.labelled & by_place)
    if where is not None:
        passing = filter_tiles(store, collection, where, columns=["tile_id"])["tile_id"].to_numpy()
        rows = rows[np.isin(locations.tile_id[rows], passing)]
    if not len(rows):
        raise LabelError(
            f"no tile of collection {collection.name!r} that passes has a label of {', '.join(head.classes)} of task "
            f"{head.task!r}; `embedstore label ls` shows what its labels are about"
        )
    targets = np.zeros((len(rows), len(head.classes)), bool)
    for k, name in enumerate(joined.classes):
        targets[:, head.classes.index(name)] = joined.targets[rows, k]
    return _Labelled(locations=locations, rows=rows, targets=targets, labels=about)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Memory:
    """What a head was fitted on of m tiles.

    Attributes:
        part: (m,) train, valid, test or new; test where it was tested on in one of the folds.
        members: (M, m) bool: the networks that a tile is predicted by.
    """

    part: pa.Array
    members: NDArray[np.bool_]

    @classmethod
    def of(cls, stored: StoredHead, record: HeadRecord, tile_ids: NDArray[np.int64]) -> "_Memory":
        examples = StoredExamples.from_bytes(stored.examples)
        known = examples.known[record.task_index]
        ids, parts = examples.ids[known], examples.parts[:, known]
        at = positions_in(ids, tile_ids, order=np.argsort(ids))
        parts = np.concatenate([parts, np.full((len(parts), 1), UNUSED, np.int8)], axis=1)[:, at]  # (folds, m)
        tested: NDArray[np.bool_] = np.equal(parts, TEST)
        fold = [record.fold_names.index(member.fold) for member in record.members]

        best = parts.max(axis=0)  # test is the last of the parts
        return cls(
            part=pa.array([_PART_NAMES[code] for code in best.tolist()], pa.string()),
            members=tested[fold] | ~tested.any(axis=0),
        )


def _predict(
    head: "Head", collection: Collection, labelled: _Labelled, memory: _Memory
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(m, classes) probabilities, and (m,) whether the vector is finite; memory holds a block of vectors."""
    parts, finite, done = [], [], 0
    locations = labelled.locations
    for block in vector_blocks(collection, locations.row[labelled.rows], locations.version):
        usable: NDArray[np.bool_] = np.asarray(np.isfinite(block).all(axis=1))
        members = memory.members[:, done : done + len(block)]
        parts.append(head.probabilities(np.where(usable[:, None], block, np.float16(0)), members))
        finite.append(usable)
        done += len(block)
    return np.concatenate(parts), np.concatenate(finite)


def _places(store: Store, locations: TileLocations, rows: NDArray[np.int64]) -> dict[str, pa.Array]:
    """The columns of PLACE_COLUMNS but `rank`."""
    code, names = Patients(store).of_tiles(locations, rows)
    file_names = [None] * len(rows) if locations.names is None else locations.names[rows].tolist()
    x, y = locations.xy_l0[rows].T
    return {
        "tile_id": pa.array(locations.tile_id[rows]),
        "slide_id": pa.array([locations.slides[i] for i in locations.slide[rows]], pa.string()),
        "patient": pa.array([None if i < 0 else names[i] for i in code], pa.string()),
        "x": pa.array(np.ascontiguousarray(x)),
        "y": pa.array(np.ascontiguousarray(y)),
        "edge_l0": pa.array(locations.edge_l0[rows]),
        "name": pa.array(file_names, pa.string()),
    }


def _authors(labels: LabelledTiles, rows: NDArray[np.int64]) -> pa.Array:
    """Who gave the labels of some tiles: names, joined by a comma."""
    about = np.isin(labels.tile, rows)
    names = labels.table["author"].take(pa.array(labels.row[about])).to_pylist()
    authors: dict[int, set[str]] = {}
    for tile, name in zip(labels.tile[about].tolist(), names, strict=True):
        authors.setdefault(tile, set()).add(name)
    return pa.array([", ".join(sorted(authors[row])) for row in rows.tolist()], pa.string())


def _equals(texts: pa.Array, wanted: str | None) -> NDArray[np.bool_]:
    """(m,) whether each text is the one that is wanted; all where none is."""
    if wanted is None:
        return np.ones(len(texts), bool)
    return pc.equal(texts, wanted).to_numpy(zero_copy_only=False)
