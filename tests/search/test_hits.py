"""Hits: their rows, and what they are in words."""

from pathlib import Path

import pytest

from embedstore.search.hits import HIT_COLUMNS, Hits
from tests.export.hits_scene import FOLDER, LOST, make_found, make_hits, of_tile, tile_rows


@pytest.fixture
def hits(tmp_path: Path) -> Hits:
    store = make_found(tmp_path)
    return make_hits(store, [*tile_rows(store, LOST), *tile_rows(store, FOLDER)], of_tile(tile_rows(store, "a.svs")[0]))


def test_rows_come_in_every_shape(hits: Hits):
    assert len(hits) == 4
    assert tuple(hits.table.schema.names) == HIT_COLUMNS
    rows = [{name: hits.table[name][i].as_py() for name in HIT_COLUMNS} for i in range(4)]
    assert hits.to_pylist() == list(hits) == rows
    assert [row["rank"] for row in hits] == [1, 2, 3, 4]


def test_it_says_what_it_is(hits: Hits):
    title = hits.query.title
    assert repr(hits) == f"<4 tiles of 2 slides of 1 patient in collection 'toy' for {title}>"
    assert make_hits(hits.store, tile_rows(hits.store, FOLDER)[:1]).summary() == "1 tile of 1 slide"
    assert make_hits(hits.store, []).summary() == "0 tiles"
