"""Slide after slide is read by the place of its rows, as a filter would read it."""

from pathlib import Path

import numpy as np
import pytest

from embedstore.store import SlideRows, Store
from embedstore.store.compaction import compact
from embedstore.store.removal import remove_slides
from tests.export.prediction_scene import grid, make_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path, {f"{name}.svs": grid(2 + i, 2) for i, name in enumerate("dbac")})


@pytest.mark.parametrize("compacted", [False, True])
def test_rows_are_those_of_a_filter(store: Store, compacted: bool):
    remove_slides(store, ["b.svs"])
    if compacted:
        compact(store, keep_s=0)
    collection = store.collection("toy")
    rows = SlideRows(collection)
    assert set(collection.slides()) == {"a.svs", "c.svs", "d.svs"}
    for slide_id in collection.slides():
        expected = collection.tiles(where=f"slide_id = '{slide_id}'", columns=["tile_id", "x", "y", "vector"])
        assert rows.table(slide_id, ["tile_id", "x", "y"]).equals(expected.drop_columns(["vector"]))
        assert (np.concatenate(list(rows.vectors(slide_id))) == np.stack(expected["vector"].to_numpy())).all()


def test_a_slide_whose_rows_lie_apart_is_read_whole(store: Store, monkeypatch: pytest.MonkeyPatch):
    """No writer does this today; the rows of a slide then come in the order of the table."""
    rows = SlideRows(store.collection("toy"))
    whole = rows.table("c.svs", ["tile_id"])
    (start, count), *_ = rows._ranges["c.svs"]
    monkeypatch.setitem(rows._ranges, "c.svs", [(start, 3), (start + 3, count - 3)])
    assert rows.table("c.svs", ["tile_id"]).equals(whole)
    assert sum(len(block) for block in rows.vectors("c.svs")) == count


def test_later_commits_change_nothing_of_it(store: Store):
    rows = SlideRows(store.collection("toy"))
    remove_slides(store, ["d.svs"])
    assert len(rows.table("d.svs", ["x"])) == 4 and sum(len(block) for block in rows.vectors("a.svs")) == 8
