"""Hits as a notebook's user handles them."""

import sys
from pathlib import Path

import pytest

from embedstore.errors import ExportError
from embedstore.search.hits import HIT_COLUMNS, Hits
from tests.export.hits_scene import FOLDER, LOST, make_found, make_hits, of_tile, tile_rows


@pytest.fixture
def hits(tmp_path: Path) -> Hits:
    store = make_found(tmp_path)
    return make_hits(store, [*tile_rows(store, LOST), *tile_rows(store, FOLDER)], of_tile(tile_rows(store, "a.svs")[0]))


def test_rows_come_in_every_shape(hits: Hits):
    assert len(hits) == 4
    assert tuple(hits.table.schema.names) == HIT_COLUMNS
    rows = [{name: hits.to_arrow()[name][i].as_py() for name in HIT_COLUMNS} for i in range(4)]
    assert hits.to_pylist() == list(hits) == rows
    assert [row["rank"] for row in hits] == [1, 2, 3, 4]


def test_it_says_what_it_is(hits: Hits):
    title = hits.query.title
    assert repr(hits) == f"<4 tiles of 2 slides of 1 patient in collection 'toy' for {title}>"
    assert make_hits(hits.store, tile_rows(hits.store, FOLDER)[:1]).summary() == "1 tile of 1 slide"
    assert make_hits(hits.store, []).summary() == "0 tiles"


def test_a_data_frame_where_pandas_is_installed(hits: Hits):
    pandas = pytest.importorskip("pandas")
    frame = hits.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["tile_id"].tolist() == hits.table["tile_id"].to_pylist()


def test_without_pandas_the_error_names_other_ways(hits: Hits, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ExportError, match=r"pandas, which is not installed; pip install pandas, or take \.to_arrow"):
        hits.to_pandas()


def test_pictures_for_a_notebook(hits: Hits):
    narrow, wide = hits.show(columns=1, tile_px=64), hits.show(columns=2, tile_px=64)
    assert narrow.mode == "RGB" and narrow.width < wide.width and narrow.height > wide.height
    assert hits._repr_html_().count("<li>") == 5
