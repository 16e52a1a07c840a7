"""What to label next: both faces of a store propose the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import embedstore
from embedstore.client import RemoteStore
from embedstore.errors import EmbedStoreError
from tests.client.served import served
from tests.client.served_by import connect_by
from tests.heads.active.scene import make_active_store


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[embedstore.Store, RemoteStore]]:
    uri = make_active_store(tmp_path_factory.mktemp("faces")).uri
    with served(uri) as socket, connect_by(Path(socket)) as remote:
        yield embedstore.open(uri), remote


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.head("folds").suggest(),
        lambda store: store.head("folds").suggest(n=3, strategy="uncertainty", where="x > 0", per_slide=1, seed=2),
        lambda store: store.head("folds").suggest(embedstore.SuggestConfig(n=2, strategy="nearest-to-marks")),
        lambda store: store.collection().suggest(n=4),
        lambda store: store.collection().suggest(task="tissue", strategy="diverse", pool=50),
        lambda store: store.head("folds").mistakes(),
        lambda store: store.head("holdout").mistakes(embedstore.MistakesConfig(part="train", predicted="normal"), n=5),
    ],
)
def test_both_faces_find_the_same(faces, ask):
    here, there = map(ask, faces)
    assert there.to_arrow() == here.to_arrow() and len(here)
    assert (there.title, there.notes) == (here.title, here.notes)
    assert all(f"note: {note}" in repr(there) for note in there.notes)


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.head("folds").suggest(strategy="best"),
        lambda store: store.head("folds").suggest(where="colour = 1"),
        lambda store: store.collection().suggest(strategy="uncertainty"),
        lambda store: store.head("folds").mistakes(label="stroma"),
        lambda store: store.head("folds").mistakes(parts="test"),
    ],
)
def test_both_faces_refuse_the_same(faces, ask):
    errors = []
    for store in faces:
        with pytest.raises(EmbedStoreError) as refused:
            ask(store)
        errors.append((type(refused.value), str(refused.value)))
    assert errors[0] == errors[1]
