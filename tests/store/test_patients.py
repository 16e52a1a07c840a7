"""Who slides and tiles are of, and what counts as a patient where that is not known."""

import numpy as np
import pytest

from embedstore.errors import QueryError
from embedstore.store import Label, Patients, SlideRow, Store
from embedstore.store.patients import group_by_patient
from tests.labels.toy_labels import locations


@pytest.fixture
def patients(store: Store) -> Patients:
    of_slide = {"a": "P", "b": "P", "c": "Q", "d": None, "folder": "R"}
    store.ledger.admit_columns([{"patient": "P"}])
    facts = [
        SlideRow(slide_id=slide, path="/", kind="wsi", metadata={"patient": patient})
        for slide, patient in of_slide.items()
    ]
    store.ledger.record(facts, [])
    store.labels.record([Label(task="t", label="x", slide_id="folder", name="1.png", patient="S", author="me")])
    return Patients(store)


def test_the_labels_of_a_ready_made_tile_come_before_its_slide(patients: Patients):
    assert [patients.of_tile("folder", name) for name in ("1.png", "2.png", None)] == ["S", "R", "R"]
    assert [patients.of_tile(slide, None) for slide in ("a", "c", "d", "unknown")] == ["P", "Q", None, None]


def test_tiles_at_once_have_the_same_patients_as_one_by_one(patients: Patients):
    spot = [(0, 0, 9)]
    tiles = locations({"a": spot, "d": spot, "folder": spot * 2}, names=[None, None, "1.png", "2.png"])
    code, names = patients.of_tiles(tiles, np.array([3, 2, 1, 0]))
    assert [names[c] if c >= 0 else None for c in code] == ["R", "S", None, "P"]


def test_slides_of_the_same_patient(patients: Patients):
    assert patients.require_slides_with_same(["a", "c"]) == ["a", "b", "c"]
    assert list(patients.slides_with_same("d")) == ["d"]
    assert patients.unknown_among(["a", "d", "folder", "z"]) == ["d", "z"]
    with pytest.raises(QueryError, match=r"patient of slide 'd' is not known.*column patient"):
        patients.require_slides_with_same(["a", "d"])


def test_where_no_patient_is_known_slides_and_ready_made_tiles_count_as_one_and_it_is_said():
    groups = group_by_patient(
        np.array([0, -1, -1, -1, -1, 0], np.int32),
        ("P",),
        slide=np.array([0, 1, 1, 2, 2, 0]),
        slides=("a", "b", "folder"),
        ready_made=np.array([False, False, False, True, True, False]),
        things="places",
        consequence="that is bad",
    )
    assert groups.code[0] == groups.code[5] == 0
    assert groups.code[1] == groups.code[2] and len(set(groups.code[[0, 1, 3, 4]])) == 4
    assert groups.names[groups.code[1]] == "slide b"
    assert groups.notes[0].startswith(
        "NO PATIENT IS KNOWN for 4 of 6 places: each slide counts as a patient, each ready-made tile counts as a "
        "patient of its own. If some are of one patient, that is bad; give a column `patient`"
    )
    known = group_by_patient(
        np.zeros(1, np.int32), ("P",), slide=np.zeros(1, int), slides=("a",), ready_made=np.zeros(1, bool),
        things="", consequence="",
    )  # fmt: skip
    assert (known.names, known.notes) == (("P",), ())
