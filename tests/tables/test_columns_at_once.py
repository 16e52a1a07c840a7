"""Tables that Arrow reads by columns: what Python's reader and lists give, or nothing."""

import io
import random

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from embedstore.errors import EmbedStoreError, LabelFormatError, TableError
from embedstore.tables import delimited, read_table
from embedstore.tables.columnar import read_columnar
from embedstore.tables.raw_table import RawTable
from embedstore.tables.user_table import UserTable

CELLS = ("", "a", "7", "007", "1.5", "-0", " x ", "NA", "none", "1e5", "0x10", "nan", "inf", "ä", "1_0", "+1", "9" * 20)
ODD = ('"', '"a,b"', '"a\nb"', 'a"b', '""', '"x"y', '"a""b"', "\r", ",", "\n", "\n\n", "  ", "\x0b", "\u2028")
PLAIN = [
    "a,b\n1,2\n3,4\n",
    "a;b\r\n1,5;2\r\n;4",
    'a\tb\n"x y"\t""\nz\t"1"',
    "sep=;\na;b\n1;2",
    '"a" "b"\n"1" "2"',
    "a,b\n,\n1,2\n\n\n",
]


def _read(text: str) -> tuple:
    try:
        raw = delimited.read_delimited(text.encode())
    except TableError as error:
        return ("refused", str(error))
    kept = [any(map(str.strip, cells)) for cells in zip(*map(list, map(_list, raw.columns)), strict=True)]
    rows = [
        (number, *cells)
        for number, keep, *cells in zip(raw.numbers, kept, *map(_list, raw.columns), strict=True)
        if keep
    ]
    return raw.names, rows, raw.unit, raw.typed, raw.decimal_comma, raw.notes


def _list(column) -> list:
    return column.to_pylist() if isinstance(column, pa.Array) else list(column)


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_table_is_read_by_columns(text: str, monkeypatch: pytest.MonkeyPatch):
    by_lines = _read(text)
    monkeypatch.setattr(delimited, "AT_ONCE", 0)
    monkeypatch.setattr(delimited, "_records", None)
    assert _read(text) == by_lines


def test_any_text_is_read_by_columns_as_it_is_by_lines(monkeypatch: pytest.MonkeyPatch):
    rng = random.Random(0)
    for _ in range(400):
        width, delimiter, end = rng.randint(1, 3), rng.choice(",;\t"), rng.choice(("\n", "\r\n"))
        odd = rng.choice((0, 0, 0.1))
        lines = [["h", "i", "j"][:width]]
        lines += [
            [rng.choice(ODD if rng.random() < odd else CELLS) for _ in range(width)] for _ in range(rng.randint(0, 5))
        ]
        text = end.join(map(delimiter.join, lines)) + rng.choice(("", end))
        monkeypatch.setattr(delimited, "AT_ONCE", 1 << 20)
        by_lines = _read(text)
        monkeypatch.setattr(delimited, "AT_ONCE", 0)
        assert _read(text) == by_lines, text


def _all_of(table: UserTable) -> list:
    found: list = []
    for read in (table.text, table.numbers, table.integers, table.values):
        for name in table.names:
            try:
                found.append(read(name))
            except EmbedStoreError as error:
                found.append(str(error))
    return [found, table.notes, len(table)]


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (pa.string(), [None, *CELLS]),
        (pa.string(), ["", "1", "2.0", "-3", None]),
        (pa.string(), ["12", "0", "9223372036854775807", "-9223372036854775808"]),
        (pa.int64(), [None, 0, -5, 1 << 60, 3]),
        (pa.uint64(), [None, (1 << 64) - 1, 2]),
        (pa.float64(), [None, 1.0, 2.0, float("nan"), -0.0]),
        (pa.float64(), [1e301, float("inf"), 0.1]),
        (pa.float32(), [0.1, 3.0, None]),
    ],
)
def test_a_column_of_arrow_says_what_a_list_of_its_cells_says(kind: pa.DataType, cells: list, tmp_path):
    rng = random.Random(1)
    for _ in range(10):
        columns = [pa.array(rng.choices(cells, k=rng.randint(1, 3)), kind).take([0] * 6) for _ in range(2)]
        columns[0] = pa.array(rng.choices(cells, k=6), kind)
        raw = {"names": ["a", "b"], "numbers": range(1, 7), "typed": rng.random() < 0.5}
        arrow = RawTable(**raw, columns=columns)  # type: ignore[arg-type]
        lists = RawTable(**raw, columns=[column.to_pylist() for column in columns])  # type: ignore[arg-type]
        assert _all_of(UserTable(tmp_path, arrow, TableError)) == _all_of(UserTable(tmp_path, lists, TableError))


def test_numbers_and_text_of_a_parquet_file_stay_in_arrows_memory():
    table = pa.table(
        {"i": pa.array([1, None], pa.int8()), "t": ["a", None], "d": pa.array(["x", "x"]).dictionary_encode()}
    )
    table = table.append_column("when", pa.array([0, 1], pa.timestamp("ns")))
    content = io.BytesIO()
    pa.parquet.write_table(table, content)
    kinds = [type(column) for column in read_columnar(content.getvalue()).columns]
    assert kinds == [pa.Int8Array, pa.StringArray, pa.StringArray, list]


def test_an_error_in_a_large_table_names_its_line(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(delimited, "AT_ONCE", 0)
    (tmp_path / "l.csv").write_text("x,y\n1,2\n,\n3,four\n5,four\n")
    table = read_table(tmp_path / "l.csv", error=LabelFormatError)
    assert table.numbers("x") == [1, 3, 5]
    with pytest.raises(LabelFormatError, match=r"l\.csv, line 4: y is 'four'; expected a number"):
        table.numbers("y")
