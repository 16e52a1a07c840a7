"""The targets of whole slides and patients."""

from typing import Any

import pytest

from embedstore.errors import LabelError
from embedstore.labels import SlideTargets, slide_targets
from embedstore.store import Label

from .toy_labels import TASK, label, label_table

PATIENTS = {"a.svs": "p1", "b.svs": "p1", "c.svs": "p2", "d.svs": None, "e.svs": "p3"}


def of_slide(class_name: str, slide_id: str, **values: Any) -> Label:
    return label(class_name, slide_id, kind="slide", **values)


def targets_of(labels, **options) -> SlideTargets:
    return slide_targets(PATIENTS, label_table(labels), task=TASK, **options)


def classes_of(targets: SlideTargets) -> dict[str, str | None]:
    return {
        name: targets.classes[int(row.argmax())] if known else None
        for name, row, known in zip(targets.ids, targets.targets, targets.labelled, strict=True)
    }


def test_a_slide_has_its_own_label_or_its_patients():
    rows = [
        label("x", None, kind="patient", patient="p1"),
        of_slide("y", "b.svs"),
        of_slide("y", "d.svs"),
    ]
    targets = targets_of(rows)
    assert classes_of(targets) == {"a.svs": "x", "b.svs": "y", "c.svs": None, "d.svs": "y", "e.svs": None}
    assert targets.weak == 1
    assert targets.slides == tuple((name,) for name in targets.ids)
    assert [targets.patients[i] if i >= 0 else None for i in targets.patient] == ["p1", "p1", "p2", None, "p3"]


def test_a_patient_has_its_own_label_or_those_of_all_its_slides():
    rows = [
        of_slide("x", "a.svs", split="train"), of_slide("y", "b.svs"),
        of_slide("x", "c.svs", split="test"), of_slide("y", "d.svs"),
        label("y", None, kind="patient", patient="p3"), of_slide("x", "e.svs"),
    ]  # fmt: skip
    targets = targets_of(rows, level="patient")
    assert classes_of(targets) == {"p1": None, "p2": "x", "p3": "y"}
    assert targets.slides == (("a.svs", "b.svs"), ("c.svs",), ("e.svs",))
    assert targets.conflict_examples == ("patient p1: x and y",)
    assert (targets.conflicts, targets.without_patient) == (1, 1)
    assert [targets.split_names[i] if i >= 0 else None for i in targets.split] == [None, "test", None]
    both = targets_of(rows, level="patient", multi_label=True)
    assert both.targets.tolist() == [[True, True], [True, False], [False, True]]


def test_a_labels_own_patient_wins():
    rows = [
        of_slide("x", "a.svs", patient="p9"),
        of_slide("y", "b.svs"),
        of_slide("y", "d.svs"),
    ]
    targets = targets_of(rows, level="patient")
    assert dict(zip(targets.ids, targets.slides, strict=True))["p9"] == ("a.svs",)
    assert classes_of(targets)["p9"] == "x"


def test_only_slides_that_are_asked_for_count():
    rows = [of_slide("x", "a.svs"), of_slide("y", "b.svs"), of_slide("z", "c.svs")]
    targets = targets_of(rows, slides={"a.svs", "b.svs"})
    assert classes_of(targets) == {"a.svs": "x", "b.svs": "y"}
    assert targets.missed == ("z",)


def test_classes_that_are_given_keep_their_order():
    rows = [of_slide("x", "a.svs"), of_slide("y", "b.svs"), of_slide("z", "c.svs")]
    targets = targets_of(rows, classes=("y", "x"))
    assert (targets.classes, targets.ignored) == (("y", "x"), 1)
    assert targets.targets[0].tolist() == [False, True]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([label("x", "a.svs", kind="point", x=1.0, y=1.0)], "no label of a whole slide or patient, only of kind point"),
        (
            [of_slide("x", "z.svs"), label("y", None, kind="patient", patient="p9")],
            "about none of the 5 slides",
        ),
        ([of_slide("x", "a.svs")], "needs two classes, found x 1"),
    ],
)
def test_labels_that_say_nothing_say_why(rows, message):
    with pytest.raises(LabelError, match=message):
        targets_of(rows)


def test_slides_without_a_patient_are_told_from_slides_that_are_not_there():
    rows = [
        of_slide("x", "d.svs"),
        of_slide("y", "d.svs"),
        label("x", "a.svs", kind="point", x=1.0, y=1.0),
    ]
    with pytest.raises(LabelError, match=r"\(d\.svs\) are about slides of which no patient is known; .*column patient"):
        targets_of(rows, level="patient")
    elsewhere = [of_slide("x", f"{name}.svs") for name in "vwyz"]
    with pytest.raises(LabelError, match=r"\(v\.svs, w\.svs, y\.svs, …\) are about none of the 5 slides or their"):
        targets_of(elsewhere)


@pytest.mark.parametrize("column", ["split", "patient"])
def test_two_splits_or_patients_of_a_slide_are_a_conflict(column):
    rows = [
        of_slide("x", "a.svs", **{column: "one"}), of_slide("y", "a.svs", **{column: "two"}),
        of_slide("x", "b.svs"), of_slide("y", "c.svs"),
    ]  # fmt: skip
    targets = targets_of(rows, multi_label=True)  # where two classes alone would be none
    assert classes_of(targets) == {"a.svs": None, "b.svs": "x", "c.svs": "y", "d.svs": None, "e.svs": None}
    assert targets.conflict_examples == (f"slide a.svs: {column} one and two",)
    assert targets_of(rows).conflict_examples == (f"slide a.svs: x and y; {column} one and two",)


def test_a_contradiction_is_named_where_too_few_classes_are_left():
    rows = [of_slide("x", "a.svs"), of_slide("y", "a.svs"), of_slide("y", "b.svs")]
    with pytest.raises(LabelError, match="found x 0, y 1, and 1 whose labels contradict each other; import"):
        targets_of(rows)


def test_a_fold_of_each_of_many_slides():
    slides = {f"s{i:03}.svs": None for i in range(300)}
    rows = [of_slide("xy"[i % 2], slide, split=f"fold {i}") for i, slide in enumerate(slides)]
    targets = slide_targets(slides, label_table(rows), task=TASK)
    assert [targets.split_names[code] for code in targets.split] == [f"fold {i}" for i in range(300)]
