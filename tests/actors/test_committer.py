"""The committer: what it writes first, so that a death in the middle loses nothing."""

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest

from actors.committer import CommitBatch, Committer
from actors.workers import LocalWorker
from embedstore.config import ViewConfig
from embedstore.encoders import encode_slides, load_encoder
from embedstore.errors import StoreBusyError
from embedstore.store import (
    Collection,
    CollectionWriter,
    FragmentWriter,
    Label,
    Lease,
    SlideRow,
    Store,
    ViewRows,
    ViewsWriter,
)
from tests.collection_records import collection_record
from tests.marks import slow
from tests.store.predicted import facts, predict, predict_slides, two

from .toys import DIM, expected, plan, source

TWO = ViewConfig(count=2)
RECORD = collection_record(DIM, digest="sha256:toy")


def batch(store: Store, *, views: float | None = None) -> CommitBatch:
    """A slide of three tiles; with `views`, each of them two, which hold that number."""
    planned = plan(source("a:3"), 3)
    collection, table = store.collection("c"), store.views("c")
    writer = FragmentWriter(
        table_uri=collection.table.uri,
        schema=collection.schema,
        collection="c",
        slide_id="a:3",
        xy_l0=planned.xy_l0,
        edge_l0=planned.edge_l0,
        tissue=planned.tissue,
        views=None if views is None else ViewRows(table_uri=table.table.uri, schema=table.schema, config=TWO),
    )
    writer.put(np.arange(3), expected("a:3", 3))
    if views is not None:
        writer.put_views(np.arange(6), np.full((6, DIM), views, np.float16))
    return CommitBatch(
        fragments=(writer.finish(),),
        slides=(SlideRow(slide_id="a:3", path="/toys/a:3", kind="wsi", metadata={"patient": "p"}),),
        labels=(Label(task="t", slide_id="a:3", name="x.png", label="tumour"),),
    )


@pytest.fixture
def viewed(tmp_path: Path) -> Store:
    """A collection and its table of views, both empty."""
    store = Store.create(tmp_path / "store")
    Collection.create(store.uri, "c", RECORD)
    store.views("c").create(RECORD.of_views(TWO))
    return store


class Killed(BaseException):
    pass


def dies_in(monkeypatch: pytest.MonkeyPatch, writer: type, *, after: bool) -> None:
    """The next commit of a writer is its last, whether it comes about or not."""
    commit = writer.commit

    def last(self, *args, **kwargs):
        if after:
            commit(self, *args, **kwargs)
        monkeypatch.setattr(writer, "commit", commit)
        raise Killed

    monkeypatch.setattr(writer, "commit", last)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("writer", [ViewsWriter, CollectionWriter])
@pytest.mark.parametrize("forced", [slow(False), True])
def test_a_commit_cut_short_anywhere_is_finished_by_the_next(viewed: Store, monkeypatch, writer, after, forced):
    once = dataclasses.replace(batch(viewed, views=1.0), replacing=frozenset({"a:3"} if forced else ()))
    if forced:
        committer = Committer(viewed.uri, ["c"], compact_every=4)
        committer.commit(batch(viewed, views=7.0))
    committer = Committer(viewed.uri, ["c"], compact_every=4)
    tiles = viewed.collection("c").dataset().version
    dies_in(monkeypatch, writer, after=after)
    with pytest.raises(Killed):
        committer.commit(once)
    if viewed.collection("c").dataset().version == tiles:
        assert values(viewed) == [], "new views are beside old tiles"
    assert viewed.views("c").slides().keys() <= viewed.collection("c").slides().keys()
    assert values(viewed) in ([], [1.0] * 6), "old views may be beside new tiles"
    committer = Committer(viewed.uri, ["c"], compact_every=4)
    committer.commit(once)
    committer.commit(once)
    assert viewed.collection("c").slides() == {"a:3": 3}
    assert values(viewed) == [1.0] * 6
    committer.close()
    assert values(viewed) == [1.0] * 6


def values(store: Store) -> list[float]:
    """What the views hold, one number each."""
    return [vector[0] for vector in store.views("c").dataset().to_table()["vector"].to_pylist()]


@pytest.mark.parametrize(("views", "left"), [(2.0, [2.0] * 6), (None, [])])
def test_views_without_tiles_give_way_to_those_that_come_with_the_tiles(
    viewed: Store, views: float | None, left: list[float]
):
    """The file may have become another since."""
    committer = Committer(viewed.uri, ["c"], compact_every=4)
    ViewsWriter(viewed.views("c")).commit(batch(viewed, views=1.0).fragments)
    committer.commit(batch(viewed, views=views))
    assert values(viewed) == left
    assert viewed.collection("c").slides() == {"a:3": 3}


def test_what_was_made_from_replaced_vectors_goes_with_them(viewed: Store):
    """Tiles at the same places have the same ids; what heads and encoders made of the old ones is not of the new."""
    committer = Committer(viewed.uri, ["c"], compact_every=4)
    committer.commit(batch(viewed))
    viewed.ledger.record([SlideRow(slide_id=s, path=f"/{s}", kind="wsi", metadata={"patient": "p"}) for s in "b"], [])
    for head, digest in (("ours", "sha256:toy"), ("theirs", "sha256:other")):
        made = facts(head=head, collection="c", extractor_digest=digest)
        predict(viewed, made, {"a:3": two([0.1, 0.2, 0.9])})
        made = facts(head=f"{head}-patients", collection="c", extractor_digest=digest, level="patient")
        shares = {slide: two([0.9])[0] for slide in ("a:3", "b", "c")}
        predict_slides(viewed, made, shares, {"a:3": np.ones(3, np.float32) / 3})
    encode_slides(viewed, viewed.collection("c"), load_encoder("mean"), name="mean")
    assert viewed.encoding("c", "mean").states().keys() == {"a:3"}
    committer.commit(batch(viewed))
    assert viewed.predictions("ours").slides() == {"a:3": 3}, "nothing was replaced"
    committer.commit(dataclasses.replace(batch(viewed), replacing=frozenset({"a:3"})))
    assert viewed.predictions("ours").slides() == {}
    assert viewed.predictions("ours-patients").slides() == {"c": 1}, "b is of the same patient"
    assert viewed.predictions("ours-patients", "attention").slides() == {}
    assert viewed.predictions("theirs").slides() == {"a:3": 3}
    assert viewed.predictions("theirs-patients").slides() == {"a:3": 1, "b": 1, "c": 1}
    assert viewed.encoding("c", "mean").states() == {}


def test_the_table_of_views_is_kept_small(viewed: Store):
    committer = Committer(viewed.uri, ["c"], compact_every=2)
    first = batch(viewed, views=1.0)
    for name in ("a:3", "b", "c"):
        fragments = dataclasses.replace(batch(viewed, views=1.0).fragments[0], slide_id=name)
        committer.commit(dataclasses.replace(first, fragments=(fragments,)))
    committer.close()
    assert len(viewed.views("c").dataset().get_fragments()) == 1
    assert viewed.views("c").slides().keys() == {"a:3"}


def test_what_only_the_run_knows_is_written_before_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store.create(tmp_path / "store")
    Collection.create(store.uri, "c", RECORD)
    committer = Committer(store.uri, ["c"], compact_every=4)
    commit = CollectionWriter.commit

    def dies_after(self: CollectionWriter, *args, **kwargs):
        commit(self, *args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(CollectionWriter, "commit", dies_after)
    with pytest.raises(KeyboardInterrupt):
        committer.commit(batch(store))
    assert store.collection("c").slides() == {"a:3": 3}
    assert [row["label"] for row in store.labels.table().to_pylist()] == ["tumour"]
    assert store.ledger.slides_of_patient("p") == ["a:3"]
    assert [row.state for row in store.ledger.outcomes()] == []
    committer.present("again")
    assert [row.state for row in store.ledger.outcomes()] == ["done"]


def test_a_compaction_in_mid_run_does_not_replace_that_of_the_end(viewed: Store, monkeypatch: pytest.MonkeyPatch):
    """In mid-run the index is updated only where it lacks many rows."""
    asked = []
    monkeypatch.setattr(CollectionWriter, "compact", lambda writer, *, keep_s, busy: asked.append(busy))
    committer = Committer(viewed.uri, ["c"], compact_every=1)
    committer.commit(batch(viewed))
    committer.close()
    assert asked == [True, False]
    committer = Committer(viewed.uri, ["c"], compact_every=1)
    committer.close()
    assert len(asked) == 2  # nothing was committed


@pytest.mark.slow
def test_a_run_that_ends_waits_for_no_lease(viewed: Store, monkeypatch: pytest.MonkeyPatch):
    worker = LocalWorker(lambda: Committer(viewed.uri, ["c"], compact_every=4), name="committer")
    worker.call("ping").result(timeout=300)
    look, looked = Lease._look, threading.Event()
    with viewed.lease("c"):
        monkeypatch.setattr(Lease, "_look", lambda lease: (look(lease), looked.set())[0])
        waiting = worker.call("commit", batch(viewed))
        assert looked.wait(300)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.2)
        worker.stop()
        with pytest.raises(StoreBusyError, match="'tiles-c' is being written by process"):
            waiting.result(timeout=0)
    assert viewed.collection("c").slides() == {}
