"""What is kept together where patients are too few: slides, or else tiles, and a note says what metrics are worth."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import SplitError
from embedstore.store import Collection, CollectionWriter, Label, SlideRow, Store
from heads.config import FitConfig, SplitConfig
from heads.examples import gather_examples
from tests.collection_records import collection_record
from tests.heads.scene import COLLECTION, DIM, EDGE, _write, make_store

AUTO = FitConfig(split=SplitConfig(group_by="auto"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    return make_store(tmp_path_factory.mktemp("examples"), slides=6)


def marks(*slides: int, each: int = 2) -> list[Label]:
    return [
        Label(task="marks", label=label, slide_id=f"s{s:02}.svs", x=EDGE * k, y=EDGE * row, edge_l0=EDGE, author="me")
        for s in slides
        for row, label in enumerate(("normal", "tumour"))
        for k in range(each)
    ]


@pytest.mark.parametrize(
    ("slides", "each", "group_by", "words"),
    [
        ((0, 2, 4), 2, "patient", None),
        ((0, 1, 2, 3), 2, "slide_id", "other slides of the same patients.*2 patients to split"),
        ((0,), 4, "tile", "other tiles of the same slides.*1 patient to split"),
    ],
)
def test_the_best_groups_that_can_be_divided(store, slides, each, group_by, words):
    store.labels.record(marks(*slides, each=each))
    try:
        examples = gather_examples(store, store.collection(COLLECTION), ["marks"], AUTO)
    finally:
        store.labels.remove("marks")
    assert examples.group_by == group_by
    if words is None:
        assert not [note for note in examples.notes if "metrics are" in note]
    else:
        assert re.search(words, " ".join(examples.notes))


def test_too_few_tiles_are_refused(store):
    store.labels.record(marks(0, each=1))
    try:
        with pytest.raises(SplitError, match="2 tiles to split; expected at least 3"):
            gather_examples(store, store.collection(COLLECTION), ["marks"], AUTO)
    finally:
        store.labels.remove("marks")


# -- labels that name patients themselves ---------------------------------------------------


def slides_of_groups(store, task: str, config: FitConfig) -> tuple[set[frozenset[str]], str]:
    """The slides of each group, and the notes; no slide is in two groups."""
    examples = gather_examples(store, store.collection(COLLECTION), [task], config)
    rows = store.collection(COLLECTION).tiles(columns=["slide_id"])["slide_id"].to_pylist()
    bags = zip(examples.group.tolist(), np.split(examples.bags.rows, examples.bags.start[1:-1]), strict=True)
    slides: dict[int, set[str]] = {}
    for group, bag in bags:
        slides.setdefault(group, set()).update(rows[row] for row in bag.tolist())
    assert sum(map(len, slides.values())) == len(set().union(*slides.values()))
    return {frozenset(of_group) for of_group in slides.values()}, " ".join(examples.notes)


def naming(labels: list[Label], patients: dict[str, str], each: int = 2) -> list[Label]:
    """The labels, of which every so many names the patient of its slide."""
    return [
        replace(label, patient=patients.get(label.slide_id)) if i % each == 0 else label
        for i, label in enumerate(labels)
    ]


def test_a_slide_is_whole_where_some_of_its_labels_name_the_patient(tmp_path: Path):
    store = make_store(tmp_path, slides=6, patients=False)
    store.labels.record(naming(marks(*range(6)), {"s00.svs": "Ada", "s01.svs": "Ada", "s02.svs": "Bo"}))
    groups, notes = slides_of_groups(store, "marks", FitConfig())
    assert groups == {frozenset(s) for s in (["s00.svs", "s01.svs"], *([f"s{i:02}.svs"] for i in range(2, 6)))}
    assert "NO PATIENT IS KNOWN for 12 of 24" in notes


def test_cores_of_several_patients_on_a_slide_stay_apart(tmp_path: Path):
    store = make_store(tmp_path, slides=1, patients=False)
    named = [replace(label, patient=f"core {i}") for i, label in enumerate(marks(0, each=3))]
    store.labels.record(named)
    examples = gather_examples(store, store.collection(COLLECTION), ["marks"], FitConfig())
    assert len(np.unique(examples.group)) == 6


@pytest.mark.slow
@pytest.mark.parametrize("level", ["tile", "slide", "patient"])
def test_a_patient_of_two_names_is_one(tmp_path: Path, level):
    store = make_store(tmp_path, slides=8)
    kind = "tile" if level == "tile" else "slide"
    named = [replace(label, kind=kind) for label in marks(*range(8))]
    if level != "tile":
        named = [
            Label(task="marks", label="ab"[s // 2 % 2], kind="slide", slide_id=f"s{s:02}.svs", author="me")
            for s in range(8)
        ]
    store.labels.record(naming(named, {"s00.svs": "Ada"}, each=2))
    config = FitConfig() if level == "tile" else FitConfig(level=level, model="mean")
    groups, notes = slides_of_groups(store, "marks", config)
    assert groups == {frozenset({f"s{s:02}.svs", f"s{s + 1:02}.svs"}) for s in (0, 2, 4, 6)}
    assert "'Ada' and 'P00'; these count as one patient" in notes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group_by", "kind"), [("patient", "kfold"), ("slide_id", "kfold"), ("tile", "kfold"), ("site", "kfold"),
                           ("slide_id", "column")],
)  # fmt: skip
def test_a_split_does_not_depend_on_the_order_in_which_slides_were_ingested(tmp_path: Path, group_by: str, kind: str):
    """Several workers commit slides as they are finished."""
    split = SplitConfig(kind=kind, column="site" if kind == "column" else None, group_by=group_by)
    found = []
    for names in (range(20), reversed(range(20))):
        store = Store.create(tmp_path / str(len(found)))
        collection = Collection.create(store.uri, COLLECTION, collection_record(DIM))
        slides = [f"s{s:02}.svs" for s in names]
        store.ledger.admit_columns([{"site": "s"}])
        places = np.array([(0, 0), (EDGE, 0), (0, EDGE), (EDGE, EDGE)], np.int32)
        vectors = np.ones((4, DIM))
        CollectionWriter(collection).commit([_write(collection, slide, places, vectors) for slide in slides])
        store.ledger.record(
            [SlideRow(slide_id=s, path="", kind="wsi", metadata={"site": "ABCDEF"[int(s[1:3]) % 6]}) for s in slides],
            [],
        )
        store.labels.record([label for s in range(20) for label in marks(s)])
        examples = gather_examples(store, collection, ["marks"], FitConfig(split=split))
        parts = dict(zip(examples.ids.tolist(), examples.split.parts.T.tolist(), strict=True))
        found.append((parts, examples.split.names))
    assert found[0] == found[1]
