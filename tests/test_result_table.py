"""Tables of the Python API."""

import numpy as np
import pyarrow as pa
import pytest

from embedstore.result_table import Table

ROWS = pa.table({"slide": ["a", "<b>"], "share": [0.123456, None], "names": [["x"], list("abcdef")]})


def test_rows_come_in_every_shape():
    table = Table(ROWS, title="slides")
    assert len(table) == 2 and table.column_names == ["slide", "share", "names"]
    assert list(table) == table.to_pylist() == ROWS.to_pylist()
    assert table["slide"] == ["a", "<b>"] and table.to_arrow() is ROWS
    assert pa.table(table).equals(ROWS)  # as polars and DuckDB take it, through the Arrow C stream
    with pytest.raises(KeyError, match="no column 'slid'; the table has slide, share"):
        table["slid"]
    assert table[0] == table[-2] == ROWS.to_pylist()[0] and table[np.int64(1)] == ROWS.to_pylist()[1]
    assert table[:1] == ROWS.to_pylist()[:1] and table[::-1] == ROWS.to_pylist()[::-1]
    for number in (2, -3):
        with pytest.raises(IndexError, match=f"no row {number}; the table has 2, counted from 0"):
            table[number]


def test_polars_takes_it():
    polars = pytest.importorskip("polars")
    assert polars.DataFrame(Table(ROWS))["slide"].to_list() == ["a", "<b>"]
    assert Table(ROWS).to_polars().shape == (2, 3)


def test_notebooks_and_terminals_show_the_first_rows():
    table = Table(ROWS, title="slides")
    assert repr(table).splitlines() == [
        "slides: 2 rows",
        "slide  share   names",
        "a      0.1235  x",
        "<b>            [6 values]",
    ]
    assert repr(Table(pa.Table.from_pylist([]), title="labels")) == "labels: 0 rows"
    html = table._repr_html_()
    assert "&lt;b&gt;" in html and "<b>" not in html and "<caption>slides: 2 rows</caption>" in html
    assert "30 rows, the first 20" in repr(Table(pa.table({"n": range(30)})))
    assert len(repr(Table(pa.table({"n": range(30)}))).splitlines()) == 22
