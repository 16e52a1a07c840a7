"""Answers for whole slides and patients."""

import pytest

from embedstore.errors import LabelError
from embedstore.labels import SlideTargets, slide_targets

from .places import TASK, label

PATIENTS = {"a.svs": "p1", "b.svs": "p1", "c.svs": "p2", "d.svs": None, "e.svs": "p3"}


def answered(labels, **options) -> SlideTargets:
    return slide_targets(PATIENTS, labels, task=TASK, **options)


def said(answers: SlideTargets) -> dict[str, str | None]:
    return {
        name: answers.classes[int(row.argmax())] if known else None
        for name, row, known in zip(answers.ids, answers.targets, answers.labelled, strict=True)
    }


def test_a_slide_has_its_own_label_or_its_patients():
    rows = [label("x", "patient", None, patient="p1"), label("y", "slide", "b.svs"), label("y", "slide", "d.svs")]
    answers = answered(rows)
    assert said(answers) == {"a.svs": "x", "b.svs": "y", "c.svs": None, "d.svs": "y", "e.svs": None}
    assert answers.weak == 1
    assert answers.slides == tuple((name,) for name in answers.ids)
    assert [answers.patients[i] if i >= 0 else None for i in answers.patient] == ["p1", "p1", "p2", None, "p3"]


def test_a_patient_has_its_own_label_or_those_of_all_its_slides():
    rows = [
        label("x", "slide", "a.svs", split="train"), label("y", "slide", "b.svs"),
        label("x", "slide", "c.svs", split="test"), label("y", "slide", "d.svs"),
        label("y", "patient", None, patient="p3"), label("x", "slide", "e.svs"),
    ]  # fmt: skip
    answers = answered(rows, level="patient")
    assert said(answers) == {"p1": None, "p2": "x", "p3": "y"}
    assert answers.slides == (("a.svs", "b.svs"), ("c.svs",), ("e.svs",))
    assert answers.conflict_examples == ("patient p1: x and y",)
    assert (answers.conflicts, answers.without_patient) == (1, 1)
    assert [answers.split_names[i] if i >= 0 else None for i in answers.split] == [None, "test", None]
    both = answered(rows, level="patient", multi_label=True)
    assert both.targets.tolist() == [[True, True], [True, False], [False, True]]


def test_a_labels_own_patient_wins():
    rows = [label("x", "slide", "a.svs", patient="p9"), label("y", "slide", "b.svs"), label("y", "slide", "d.svs")]
    answers = answered(rows, level="patient")
    assert dict(zip(answers.ids, answers.slides, strict=True))["p9"] == ("a.svs",)
    assert said(answers)["p9"] == "x"


def test_only_slides_that_are_asked_for_count():
    rows = [label("x", "slide", "a.svs"), label("y", "slide", "b.svs"), label("z", "slide", "c.svs")]
    answers = answered(rows, slides={"a.svs", "b.svs"})
    assert said(answers) == {"a.svs": "x", "b.svs": "y"}
    assert answers.missed == ("z",)


def test_classes_that_are_given_keep_their_order():
    rows = [label("x", "slide", "a.svs"), label("y", "slide", "b.svs"), label("z", "slide", "c.svs")]
    answers = answered(rows, classes=("y", "x"))
    assert (answers.classes, answers.ignored) == (("y", "x"), 1)
    assert answers.targets[0].tolist() == [False, True]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([label("x", "point", x=1.0, y=1.0)], "no label of a whole slide or patient, only of kind point"),
        ([label("x", "slide", "z.svs"), label("y", "patient", None, patient="p9")], "about none of the 5 slides"),
        ([label("x", "slide", "a.svs")], "needs two classes, found x 1"),
    ],
)
def test_labels_that_say_nothing_say_why(rows, message):
    with pytest.raises(LabelError, match=message):
        answered(rows)


def test_slides_without_a_patient_are_told_from_slides_that_are_not_there():
    rows = [label("x", "slide", "d.svs"), label("y", "slide", "d.svs"), label("x", "point", x=1.0, y=1.0)]
    with pytest.raises(LabelError, match=r"\(d\.svs\) are about slides of which no patient is known; .*column patient"):
        answered(rows, level="patient")
    elsewhere = [label("x", "slide", f"{name}.svs") for name in "vwyz"]
    with pytest.raises(LabelError, match=r"\(v\.svs, w\.svs, y\.svs, …\) are about none of the 5 slides or their"):
        answered(elsewhere)


@pytest.mark.parametrize("column", ["split", "patient"])
def test_two_splits_or_patients_of_a_slide_are_a_conflict(column):
    rows = [
        label("x", "slide", "a.svs", **{column: "one"}), label("y", "slide", "a.svs", **{column: "two"}),
        label("x", "slide", "b.svs"), label("y", "slide", "c.svs"),
    ]  # fmt: skip
    told = answered(rows, multi_label=True)  # where two classes alone would be none
    assert said(told) == {"a.svs": None, "b.svs": "x", "c.svs": "y", "d.svs": None, "e.svs": None}
    assert told.conflict_examples == (f"slide a.svs: {column} one and two",)
    assert answered(rows).conflict_examples == (f"slide a.svs: x and y; {column} one and two",)


def test_a_contradiction_is_named_where_too_few_classes_are_left():
    rows = [label("x", "slide", "a.svs"), label("y", "slide", "a.svs"), label("y", "slide", "b.svs")]
    with pytest.raises(LabelError, match="found x 0, y 1, and 1 whose labels contradict each other; import"):
        answered(rows)
