"""What nested folders above tiles mean."""

import re
from itertools import product

import pytest

from embedstore.slides.sources.folder_levels import read_levels

CLASSES, PATIENTS = ("normal", "tumour"), ("P1", "P2")


def crossed(*levels: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(product(*levels))


@pytest.mark.parametrize(
    ("folders", "label", "patient", "split"),
    [
        ([()], None, None, None),
        (crossed(CLASSES), 0, None, None),
        (crossed(CLASSES, PATIENTS), 0, 1, None),
        (crossed(PATIENTS, CLASSES), 1, 0, None),
        ([("P1", "normal"), ("P2", "tumour")], 1, 0, None),
        (crossed(("Smith", "Jones"), CLASSES), 1, 0, None),
        (crossed(tuple(str(10250 + i) for i in range(30)), ("0", "1")), 1, 0, None),  # the breast set on IDC
        (crossed(("train", "valid", "test"), CLASSES), 1, None, 0),
        (crossed(CLASSES, ("train", "test")), 0, None, 1),
        (crossed(("fold1", "Fold 2", "fold_3"), CLASSES), 1, None, 0),
        (crossed(("train", "test"), CLASSES, PATIENTS), 1, 2, 0),
        ([("train",), ("test",)], None, None, 0),
        (crossed(CLASSES, ("40X", "100X")), 0, None, None),
        (crossed(CLASSES, ("images",)), 0, None, None),
        (
            [("benign", "SOB", "adenosis", "SOB_B_A_14-22549AB", "40X"),
             ("benign", "SOB", "fibroadenoma", "SOB_B_F_14-9133", "100X"),
             ("malignant", "SOB", "lobular_carcinoma", "SOB_M_LC_14-12204", "40X")],
            0, 3, None,
        ),  # BreakHis
        (crossed(("TCGA-3C-AALI", "TCGA-4H-AAAK")), None, 0, None),
        (crossed(("patient_001", "patient_002"), ("slide_0011", "slide_0021"), CLASSES), 2, 0, None),
        (crossed(("site A", "site B"), ("P001", "P002"), CLASSES), 2, 1, None),
        ([("tumour",), ("normal", "blurred")], 0, None, None),
    ],
)  # fmt: skip
def test_levels(folders, label, patient, split):
    levels = read_levels(folders)
    assert (levels.label, levels.patient, levels.split) == (label, patient, split)


@pytest.mark.parametrize(
    ("folders", "one_set"),
    [
        (crossed(CLASSES, PATIENTS), True),
        (crossed(PATIENTS, CLASSES), True),
        ([("P1", "normal"), ("P2", "tumour")], True),
        ([("normal", "alice"), ("tumour", "bob")], True),
        (crossed(("train", "test"), CLASSES), True),
        (crossed(CLASSES, ("40X", "100X")), True),
        ([("one", "normal"), ("one", "tumour"), ("two",)], False),
        ([("polyps", "HP"), ("polyps", "SSA"), ("nodes", "normal"), ("nodes", "tumour")], False),
        ([("polyps", "train", "HP"), ("polyps", "train", "SSA"), ("nodes", "train", "normal")], False),
        (crossed(("set",), CLASSES), False),
    ],
)
def test_folders_that_belong_together(folders, one_set):
    assert read_levels(folders).one_set == one_set


@pytest.mark.parametrize(
    ("folders", "doubt"),
    [
        (crossed(("P1", "P2", "P3")), "P1, P2, P3 look like identifiers"),
        (crossed(tuple(f"class {chr(65 + i)}" for i in range(26))), "26 classes .* are many"),
        (crossed(("a1", "a2"), ("b1", "b2")), "could be the other way round"),
        (crossed(("01_TUMOR", "02_STROMA")), None),
        (crossed(("images", "masks")), "look like kinds of files"),
        (crossed(CLASSES, ("40X", "100X")), "several magnifications"),
        (crossed(CLASSES), None),
    ],
)
def test_what_is_improbable_is_a_doubt(folders, doubt):
    doubts = read_levels(folders).doubts
    assert re.search(doubt, "; ".join(doubts)) if doubt else not doubts
