"""What a head was fitted on, by tile, slide and patient: what these tell of it is not how it does on new ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedstore.sorted_ids import positions_in
from embedstore.store import Patients, Store, StoredHead, read_tile_locations
from embedstore.store.patients import patients_of_task
from embedstore.tile_id import tile_ids
from heads.labelled import Labelled
from heads.record import HeadRecord
from heads.splitting.splits import TEST, TRAIN, VALID
from heads.stored_examples import StoredExamples


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What a head was fitted on: examples of the train or validation part of a fold.

    Attributes:
        ids: Of the examples, ascending int64.
        slides: Slides that they are of.
        patients: Patients that they are of.
        lost: How many are no longer in the head's store, which cannot tell their slides and patients.
        tested_ids: Of the examples of its test parts, ascending int64.
    """

    ids: NDArray[np.int64]
    slides: frozenset[str]
    patients: frozenset[str]
    lost: int
    tested_ids: NDArray[np.int64]

    @classmethod
    def of(cls, store: Store, stored: StoredHead) -> "Seen":
        """What a head of a store was fitted on."""
        examples = StoredExamples.from_bytes(stored.examples)
        known = examples.known[HeadRecord.from_record(stored.record).task_index]
        fitted = known & np.isin(examples.parts, (TRAIN, VALID)).any(axis=0)
        ids = np.sort(examples.ids[fitted])
        if stored.level == "tile":
            slides, patients, found = _of_tiles(store, stored, ids)
        else:
            slides, patients, found = _of_names(store, stored, ids)
        of_slide = _patients_of_labels(store)
        patients |= {of_slide[slide] for slide in slides if slide in of_slide}
        return cls(
            ids=ids,
            slides=frozenset(slides),
            patients=frozenset(patients),
            lost=len(ids) - found,
            tested_ids=np.sort(examples.ids[known & (examples.parts == TEST).any(axis=0)]),
        )

    def among(self, labelled: Labelled) -> NDArray[np.bool_]:
        """(n,) which of some examples are among these: by their patient, their slide, or themselves."""
        by_id = positions_in(self.ids, labelled.ids) >= 0
        by_patient = _lookup(labelled.patients, self.patients)[labelled.patient]
        if labelled.members:
            by_slide = np.array([not self.slides.isdisjoint(slides) for slides in labelled.members], bool)
        else:
            by_slide = _lookup(labelled.slides, self.slides)[labelled.slide] & ~labelled.ready_made
        return by_id | by_patient | by_slide

    def tested_among(self, labelled: Labelled) -> NDArray[np.bool_]:
        """(n,) which of some examples are of the head's test parts."""
        return positions_in(self.tested_ids, labelled.ids) >= 0


def _of_tiles(store: Store, stored: StoredHead, ids: NDArray[np.int64]) -> tuple[set[str], set[str], int]:
    """Slides and patients of tiles, and how many tiles are there. A folder of ready-made tiles is no slide."""
    tiles = read_tile_locations(store.collection(stored.collection))
    at = positions_in(tiles.tile_id, ids, order=np.argsort(tiles.tile_id))
    rows = at[at >= 0]
    patient, names = Patients(store).of_tiles(tiles, rows)
    slides = {tiles.slides[i] for i in np.unique(tiles.slide[rows[~tiles.is_ready_made[rows]]])}
    return slides, {names[i] for i in np.unique(patient) if i >= 0}, len(rows)


def _of_names(store: Store, stored: StoredHead, ids: NDArray[np.int64]) -> tuple[set[str], set[str], int]:
    """Slides and patients of slides, or of patients."""
    level, patient_of = stored.level, patients_of_task(store, stored.task)
    names = sorted({name for name in (patient_of if level == "slide" else patient_of.values()) if name is not None})
    found = {name for name, place in zip(names, positions_in(ids, tile_ids(level, names)), strict=True) if place >= 0}
    if level == "slide":
        return found, {patient for slide in found if (patient := patient_of[slide]) is not None}, len(found)
    return {slide for slide, patient in patient_of.items() if patient in found}, found, len(found)


def _patients_of_labels(store: Store) -> dict[str, str]:
    """The patients that labels of slides and of places on them name."""
    rows = store.labels.table(columns=["slide_id", "patient", "name"])
    named = (rows.column(name).to_pylist() for name in ("slide_id", "patient", "name"))
    return {slide: patient for slide, patient, file in zip(*named, strict=True) if slide and patient and file is None}


def _lookup(names: Sequence[str], chosen: frozenset[str]) -> NDArray[np.bool_]:
    """(names + 1,) which names are chosen; the last stands for none, index -1."""
    return np.array([*(name in chosen for name in names), False], bool)
