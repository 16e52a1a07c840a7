"""What is kept together where patients are too few: slides, or else tiles, and a note says what metrics are worth."""

import re

import pytest

from embedstore.errors import SplitError
from embedstore.store import Label
from heads.config import FitConfig, SplitConfig
from heads.examples import gather_examples
from tests.heads.scene import COLLECTION, EDGE, make_store

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
