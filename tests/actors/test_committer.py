"""The committer: what it writes first, so that a death in the middle loses nothing."""

from pathlib import Path

import numpy as np
import pytest

from actors.committer import Committer, Group
from embedstore.store import Collection, CollectionWriter, Label, SlideFacts, SlideWriter, Store

from .toys import DIM, expected, plan, source


def group(store: Store) -> Group:
    planned = plan(source("a:3"), 3)
    collection = store.collection("c")
    writer = SlideWriter(
        table_uri=collection.table.uri,
        schema=collection.schema,
        collection="c",
        slide_id="a:3",
        xy_l0=planned.xy_l0,
        edge_l0=planned.edge_l0,
        tissue=planned.tissue,
    )
    writer.put(np.arange(3), expected("a:3", 3))
    return Group(
        deliveries=(writer.delivery(),),
        facts=(SlideFacts(slide_id="a:3", path="/toys/a:3", kind="wsi", metadata={"patient": "p"}),),
        labels=(Label(task="t", slide_id="a:3", name="x.png", label="tumour"),),
    )


def test_what_only_the_run_knows_is_written_before_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store.create(tmp_path / "store")
    record = {"extractor": {"name": "toy", "dim": DIM, "digest": "sha256:toy"}}
    Collection.create(store.uri, "c", dim=DIM, record=record)
    committer = Committer(store.uri, ["c"], compact_every=4)
    commit = CollectionWriter.commit

    def dies_after(self: CollectionWriter, *args, **kwargs):
        commit(self, *args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(CollectionWriter, "commit", dies_after)
    with pytest.raises(KeyboardInterrupt):
        committer.commit(group(store))
    assert store.collection("c").slides() == {"a:3": 3}
    assert [row["label"] for row in store.labels.rows()] == ["tumour"]
    assert store.ledger.slides_of_patient("p") == ["a:3"]
    assert [row["state"] for row in store.ledger.outcomes()] == []
    committer.present("again")
    assert [row["state"] for row in store.ledger.outcomes()] == ["done"]
    committer.release()
    committer.release()
