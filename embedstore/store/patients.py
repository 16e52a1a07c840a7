"""Who slides and tiles are of: the one rule, for searches, audits and splits alike."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import QueryError
from embedstore.store.store import Store
from embedstore.store.tile_locations import TileLocations


class Patients:
    """The patients of a store's slides and tiles, as they are known when this is made.

    The patient of a ready-made tile is the one that its labels name, else its slide's. The patient of any other tile is
    its slide's, as the ledger has it. Where none is known, a slide counts as a patient, and a ready-made tile as a
    patient of its own.
    """

    def __init__(self, store: Store):
        patients = store.ledger.patients()
        self.of_slide = {slide: patient for slide, patient in patients.items() if patient is not None}
        self._labels = store.labels

    @cached_property
    def _of_ready_made(self) -> Mapping[tuple[str, str], str]:
        """The patients that labels of ready-made tiles name, by slide and file name."""
        rows = self._labels.table(columns=["slide_id", "name", "patient"]).drop_null()
        columns = (rows.column(name).to_pylist() for name in ("slide_id", "name", "patient"))
        return {(slide, name): patient for slide, name, patient in zip(*columns, strict=True)}

    @cached_property
    def _slides_of(self) -> Mapping[str, Sequence[str]]:
        slides: dict[str, list[str]] = {}
        for slide, patient in self.of_slide.items():
            slides.setdefault(patient, []).append(slide)
        return slides

    def of_tile(self, slide_id: str, name: str | None) -> str | None:
        """The patient of a tile; None where none is known.

        Args:
            name: The file of a ready-made tile, None of others.
        """
        patient = None if name is None else self._of_ready_made.get((slide_id, name))
        return self.of_slide.get(slide_id) if patient is None else patient

    def of_tiles(self, tiles: TileLocations, rows: NDArray[np.integer]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """The patients of some tiles: (n,) index into their names, -1 where none is known; and the names."""
        names: dict[str, int] = {}
        of_slide = [self.of_slide.get(slide) for slide in tiles.slides]
        codes = [-1 if patient is None else names.setdefault(patient, len(names)) for patient in of_slide]
        patient_code = np.array([*codes, -1], np.int32)[tiles.slide[rows]]
        if tiles.names is not None:
            for i, (slide, name) in enumerate(zip(tiles.slide[rows], tiles.names[rows], strict=True)):
                labelled = None if name is None else self._of_ready_made.get((tiles.slides[slide], name))
                if labelled is not None:
                    patient_code[i] = names.setdefault(labelled, len(names))
        return patient_code, tuple(names)

    def slides_with_same(self, slide_id: str) -> Sequence[str]:
        """All slides of a slide's patient; the slide alone where its patient is not known."""
        patient = self.of_slide.get(slide_id)
        return (slide_id,) if patient is None else self._slides_of[patient]

    def require_slides_with_same(self, slide_ids: Iterable[str]) -> list[str]:
        """All slides of the patients of some slides, sorted.

        Raises:
            QueryError: the patient of one of them is not known.
        """
        slides: set[str] = set()
        for slide_id in sorted(slide_ids):
            if slide_id not in self.of_slide:
                raise QueryError(
                    f"the patient of slide {slide_id!r} is not known, so slides of the same patient cannot be left "
                    "out; ingest with a list of slides that has the column patient, or use --exclude-same slide"
                )
            slides.update(self.slides_with_same(slide_id))
        return sorted(slides)

    def unknown_among(self, slide_ids: Iterable[str]) -> list[str]:
        """Those of some slides that have no patient in the ledger, and no ready-made tile with one in its labels."""
        labelled = {slide for slide, _ in self._of_ready_made}
        return [slide for slide in slide_ids if slide not in self.of_slide and slide not in labelled]


def patients_of_task(store: Store, task: str) -> dict[str, str | None]:
    """{slide: its patient} as heads for patients are fitted: the one that the task's label of the slide names, else the
    ledger's; None where none is known."""
    labels = store.labels.table(task=task, columns=["slide_id", "kind", "patient"]).to_pylist()
    named = {
        row["slide_id"]: row["patient"]
        for row in reversed(labels)  # the first one counts
        if row["kind"] == "slide" and row["slide_id"] and row["patient"]
    }
    patients = store.ledger.patients()
    return {slide: named.get(slide) or patient for slide, patient in patients.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class PatientGroups:
    """What belongs together, as it is of one patient.

    Attributes:
        code: (n,) int32 index into `names`.
        names: Patients, and what counts as one; in an order that does not follow that of the slides.
        notes: A warning where patients are not known.
    """

    code: NDArray[np.int32]
    names: tuple[str, ...]
    notes: tuple[str, ...]


def group_by_patient(
    patient: NDArray[np.int32],
    patients: tuple[str, ...],
    *,
    slide: NDArray[np.integer],
    slides: Sequence[str],
    ready_made: NDArray[np.bool_],
    things: str,
    consequence: str,
) -> PatientGroups:
    """Groups of n tiles or slides by patient; where none is known, by the rule of `Patients`.

    Args:
        patient: (n,) index into `patients`, -1 where none is known.
        slide: (n,) index into `slides`.
        ready_made: (n,) whether each is a ready-made tile.
        things, consequence: See `no_patient_note`.
    """
    unknown = patient < 0
    if not unknown.any():
        return PatientGroups(code=patient, names=patients, notes=())
    by_name = np.argsort(slides)  # slides stand in a table as they were ingested, which is to decide nothing
    rank = np.argsort(by_name)[slide]
    place = np.argsort(np.argsort(rank, kind="stable"))
    keys = np.where(ready_made, place, -1 - rank)
    units, unit = np.unique(keys[unknown], return_inverse=True)
    code = patient.copy()
    code[unknown] = len(patients) + unit
    names = [f"place {key}" if key >= 0 else f"slide {slides[by_name[-1 - key]]}" for key in units.tolist()]
    alone = ready_made[unknown]
    note = no_patient_note(
        int(unknown.sum()),
        f"{len(patient):,} {things}",
        slides=not alone.all(),
        tiles=bool(alone.any()),
        consequence=consequence,
    )
    return PatientGroups(code=code, names=(*patients, *names), notes=(note,))


def no_patient_note(unknown: int, of: str, *, slides: bool, tiles: bool, consequence: str) -> str:
    """The warning that patients are not known.

    Args:
        unknown: Of how many.
        of: Of so many of what.
        slides, tiles: Whether slides, and ready-made tiles, count as patients instead.
        consequence: What that does, if some of them are of one patient.
    """
    counts = [words for holds, words in (
        (slides, "each slide counts as a patient"),
        (tiles, "each ready-made tile counts as a patient of its own"),
    ) if holds]  # fmt: skip
    return (
        f"NO PATIENT IS KNOWN for {unknown:,} of {of}: {', '.join(counts)}. If some are of one patient, {consequence}; "
        "give a column `patient` in the list of slides (or `group` in labels.csv) and ingest again"
    )
