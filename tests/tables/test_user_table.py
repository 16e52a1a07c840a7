"""Tables that users give: one reading of text, Excel, Parquet and Arrow."""

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest

from embedstore.errors import SlideListError
from embedstore.tables import UserTable, read_table

openpyxl = pytest.importorskip("openpyxl")


def read(path: Path, content: str | bytes) -> UserTable:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, error=SlideListError)


def write_excel(path: Path, table: dict[str, list[Any]]) -> None:
    book = openpyxl.Workbook()
    for row in (list(table), *zip(*table.values(), strict=True)):
        book.active.append(list(row))
    book.create_sheet("notes")
    book.save(path)


def write_arrow(path: Path, table: dict[str, list[Any]]) -> None:
    with pa.ipc.new_stream(path, pa.table(table).schema) as stream:
        stream.write_table(pa.table(table))


@pytest.mark.parametrize(
    "content",
    [
        "path,patient\na.svs,007\nb.svs,8\n",
        '"path","patient"\r\n"a.svs","007"\r\n"b.svs","8"\r\n,\r\n',
        "path;patient\na.svs;007\nb.svs;8\n",
        "path\tpatient\na.svs\t007\nb.svs\t8\n",
        "sep=;\npath;patient\na.svs;007\nb.svs;8\n",
        "\n\npath,patient,,\na.svs,007,,\n,,,\nb.svs,8,,\n,,,\n",
        "path,patient\na.svs,007,\nb.svs,8,\n",
        "path , patient\na.svs, 007\n b.svs ,8",
        "path,patient\ra.svs,007\rb.svs,8\r",
        "path,patient\na.svs,007\nb.svs,8\n".encode("utf-8-sig"),
        "path,patient\na.svs,007\nb.svs,8\n".encode("utf-16"),
        "path,patient\na.svs,007\nb.svs,8\n".encode("utf-16-le"),
        "path,patient\na.svs,007\nb.svs,8\n".encode("utf-32"),
    ],
)
def test_text_is_read_however_it_is_delimited_quoted_and_encoded(tmp_path: Path, content: str | bytes):
    table = read(tmp_path / "list.csv", content)
    assert {name: table.text(name) for name in table.names} == {"path": ["a.svs", "b.svs"], "patient": ["007", "8"]}
    assert table.notes == ()


@pytest.mark.parametrize(
    "content", [",path\n0,a.svs\n1,b.svs\n", '"path"\n"1","a.svs"\n"2","b.svs"\n', "Unnamed: 0,path\n0,a.svs\n,b.svs\n"]
)
def test_names_of_rows_that_pandas_and_r_write_are_left_out(tmp_path: Path, content: str):
    table = read(tmp_path / "list.csv", content)
    assert (table.names, table.text("path")) == (("path",), ["a.svs", "b.svs"])
    assert "a column without a name is left out" in table.notes[0]


def test_spaces_divide_what_r_writes_by_default(tmp_path: Path):
    table = read(tmp_path / "list.txt", '"path" "patient"\n"1" "a b.svs" "007"\n"2" "b.svs" NA\n')
    assert {name: table.text(name) for name in table.names} == {"path": ["a b.svs", "b.svs"], "patient": ["007", None]}


def test_rows_that_a_comma_lengthens_are_not_taken_for_named_ones(tmp_path: Path):
    with pytest.raises(SlideListError, match=r"has 3 value\(s\) in line 2; expected 2"):
        read(tmp_path / "list.csv", "path,patient\na.svs,Smith, John\nb.svs,Doe, Jane\n")
    assert read(tmp_path / "list.tsv", "path\tx\nr1\ta\t1\nr2\tb\t2\n").text("path") == ["a", "b"]


def test_a_name_that_a_sheet_may_have_rewritten_is_told(tmp_path: Path):
    table = read(tmp_path / "list.csv", "path,patient\na.svs,2E+46\nb.svs,20E45\n")
    assert table.text("patient") == ["2E+46", "20E45"]
    assert [note for note in table.notes if "patient has the number 2E+46" in note]


def test_windows_1252_is_told(tmp_path: Path):
    table = read(tmp_path / "list.csv", "path,patient\na.svs,Müller\n".encode("cp1252"))
    assert table.text("patient") == ["Müller"]
    assert table.notes == (
        "list.csv: it is not UTF-8 and was read as Windows-1252 (such as 'Müller'); if that is wrong, save as UTF-8",
    )


@pytest.mark.parametrize(
    ("ending", "write"),
    [
        (".xlsx", write_excel),
        (".parquet", lambda path, table: pa.parquet.write_table(pa.table(table), path)),
        (".feather", lambda path, table: pa.feather.write_feather(pa.table(table), str(path))),
        (".arrow", write_arrow),
        (".csv", write_excel),  # what a file holds decides, not its ending
    ],
)
def test_files_that_state_types_keep_them(tmp_path: Path, ending: str, write: Callable[..., None]):
    columns = {
        "patient": [101.0, 102.0, None],
        "case": ["007", "20E4567", "NA"],
        "score": [0.5, 2.0, None],
        "ok": [True, False, None],
        "day": [dt.date(2024, 1, 2), None, None],
    }
    write(tmp_path / f"list{ending}", columns)
    table = read_table(tmp_path / f"list{ending}", error=SlideListError)
    assert table.text("patient") == ["101", "102", None]
    assert {name: table.values(name) for name in table.names} == {
        "patient": [101, 102, None],
        "case": ["007", "20E4567", None],
        "score": [0.5, 2.0, None],
        "ok": [True, False, None],
        "day": ["2024-01-02", None, None],
    }
    assert any("1 value(s) of case are missing: 'NA'" in note for note in table.notes)
    assert any("of its 2 sheets, 'Sheet' is read" in note for note in table.notes) == (write is write_excel)


def test_merged_cells_hold_for_each_row_and_titles_are_left_out(tmp_path: Path):
    book = openpyxl.Workbook()
    for row in (["path", "clinic"], [None, "patient", "age"], ["a", "P1", 3], ["b", None, 4], ["c", "#REF!", 5]):
        book.active.append(row)
    for cells in ("A1:A2", "B1:C1", "B3:B4"):
        book.active.merge_cells(cells)
    book.save(tmp_path / "list.xlsx")
    table = read_table(tmp_path / "list.xlsx", error=SlideListError)
    assert {name: table.values(name) for name in table.names} == {
        "path": ["a", "b", "c"],
        "patient": ["P1", "P1", None],
        "age": [3, 4, 5],
    }
    assert table.notes[:2] == (
        "list.xlsx: 2 cell(s) take the value of merged ones above, such as 'P1'",
        "list.xlsx: row 1 has merged cells, and is left out as a title: 'path'",
    )


def test_a_number_that_excel_shows_with_zeros_keeps_them(tmp_path: Path):
    book = openpyxl.Workbook()
    for row in (["patient"], [7], [12]):
        book.active.append(row)
    for cell in book.active["A"][1:]:
        cell.number_format = "000"
    book.save(tmp_path / "list.xlsx")
    assert read_table(tmp_path / "list.xlsx", error=SlideListError).text("patient") == ["007", "012"]


@pytest.mark.parametrize(
    ("written", "text", "values"),
    [
        (["20E4567", "1E3"], ["20E4567", "1E3"], ["20E4567", "1E3"]),
        (["007", "8"], ["007", "8"], ["007", "8"]),
        (["101.0", "", "102.0"], ["101", None, "102"], [101.0, None, 102.0]),
        (["101.0", "7b"], ["101.0", "7b"], ["101.0", "7b"]),
        (["1", "-3"], ["1", "-3"], [1, -3]),
        (["1", "2.5", ".5"], ["1", "2.5", ".5"], [1.0, 2.5, 0.5]),
        (["1e-05", "2E+3", "inf"], ["1e-05", "2E+3", "inf"], [1e-05, 2000.0, float("inf")]),
        (["inf", ""], ["inf", None], ["inf", None]),
        (["True", "false", ""], ["True", "false", None], [True, False, None]),
        (["99999999999999999999"], ["99999999999999999999"], ["99999999999999999999"]),
        (["9" * 5000], ["9" * 5000], ["9" * 5000]),
        (["1_000", "١"], ["1_000", "١"], ["1_000", "١"]),
        (["+1", "2+"], ["+1", "2+"], ["+1", "2+"]),
        (["NA", "N/A", "nan", "NaN", "None", "null", "NULL", ""], [None] * 8, [None] * 8),
        (["none", "NAN cells", "Nana"], ["none", "NAN cells", "Nana"], ["none", "NAN cells", "Nana"]),
    ],
)  # fmt: skip
def test_a_column_is_text_as_it_stands_and_a_number_only_where_all_of_it_is(tmp_path, written, text, values):
    table = read(tmp_path / "list.csv", "path,x\n" + "".join(f"a,{value}\n" for value in written))
    assert (table.text("x"), table.values("x")) == (text, values)


def test_what_is_missing_or_read_as_a_whole_number_is_told(tmp_path: Path):
    table = read(tmp_path / "list.csv", "patient,split\n101.0,NA\n102.0,nan\n,NA\n")
    table.text("patient")
    assert table.values("split") == [None] * 3
    assert table.notes == (
        "list.csv: all values of patient are whole numbers: 101.0 is read as 101",
        "list.csv: 3 value(s) of split are missing: 'NA', 'nan'",
    )


def test_decimal_commas_are_understood_where_semicolons_divide(tmp_path: Path):
    table = read(tmp_path / "list.csv", "path;mpp;score;patient\na;0,25;1,5;101,0\nb;0.5;2;102,0\n")
    assert table.numbers("mpp") == [0.25, 0.5]
    assert (table.values("score"), table.text("patient")) == ([1.5, 2.0], ["101", "102"])
    assert "list.csv: score has decimal commas: 1,5 is read as 1.5" in table.notes
    assert read(tmp_path / "list.csv", 'path,pair\na,"1,5"\n').values("pair") == ["1,5"]


@pytest.mark.parametrize("name", ["slide_id", "Slide_ID", "SLIDE ID", " slide-id ", "slide.id"])
def test_columns_are_found_whatever_their_capitals(tmp_path: Path, name: str):
    table = read(tmp_path / "list.csv", f"{name},x\na,1\n")
    assert table.find("slide", "slide_id") == name.strip()
    assert table.find("patient") is None


def test_dictionaries_with_nulls_and_foreign_types_are_text(tmp_path: Path):
    dictionary = pa.DictionaryArray.from_arrays(pa.array([0, None, 1], pa.int8()), pa.array(["x", None]))
    table = pa.table({
        "word": dictionary,
        "big": pa.array([2**63 + 5, 1, None], pa.uint64()),
        "bytes": pa.array([b"a", None, b"b"]),
        "when": pa.array([1, None, 10**9], pa.timestamp("ns")),
        "list": [[1], None, []],
    })  # fmt: skip
    write_arrow(tmp_path / "list.arrow", {name: table[name] for name in table.column_names})
    read_back = read_table(tmp_path / "list.arrow", error=SlideListError)
    assert {name: read_back.values(name) for name in read_back.names} == {
        "word": ["x", None, None],
        "big": ["9223372036854775813", "1", None],
        "bytes": ["a", None, "b"],
        "when": ["1970-01-01 00:00:00", None, "1970-01-01 00:00:01"],
        "list": ["[1]", None, "[]"],
    }


BAD_UTF8 = pa.StringArray.from_buffers(1, pa.array([0, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a header"),
        (b"\n , \n,,\n", "is empty; expected a header"),
        (b'path,x\n"a,1\nb,2\n', "double quote in line 2"),
        (b"path,x\na,1\nSmith, John,2\n", r"has 3 value\(s\) in line 3; expected 2.*path, x"),
        (b"path\n\xff\xd8\x00\x00", "NUL"),
        (b"path,x\na\x81,\xe4\n", "neither UTF-8 nor Windows-1252"),
        (b"\xff\xfea\x00,", "UTF-16"),
        (b"PAR1 and more", "is damaged, or no Parquet"),
        (b"PK\x03\x04 and more", "damaged Excel workbook"),
        (b"\x1f\x8b", "compressed; unpack"),
        (b"\xd0\xcf\x11\xe0", "save as .xlsx"),
    ],
)
def test_what_is_no_table_says_so_with_its_name(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(SlideListError, match=f"list.csv.*{message}"):
        read(tmp_path / "list.csv", content)


def test_bad_utf8_in_parquet_names_the_column(tmp_path: Path):
    pa.parquet.write_table(pa.table({"patient": BAD_UTF8}), tmp_path / "list.parquet")
    with pytest.raises(SlideListError, match="a column 'patient' of type string that cannot be read"):
        read_table(tmp_path / "list.parquet", error=SlideListError)


def test_errors_name_the_lines_of_the_file(tmp_path: Path):
    table = read(tmp_path / "list.csv", 'path,x\n\n"two\nlines",1\nb,nought\n')
    with pytest.raises(SlideListError, match=r"list\.csv, line 5: x is 'nought'; expected a number"):
        table.numbers("x")
    with pytest.raises(SlideListError, match=r"list\.csv, line 3: x is 'a.0'; expected an integer"):
        read(tmp_path / "list.csv", "x\n1\na.0\n").integers("x")


def test_pipes_and_folders_are_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("pipe.csv", ".", "nowhere.csv"):
        with pytest.raises(SlideListError, match=r"expected a file|No such file"):
            read_table(tmp_path / name, error=SlideListError)


def test_names_of_folders_add_no_columns(tmp_path: Path):
    folder = tmp_path / "cohort=a"
    folder.mkdir()
    pa.parquet.write_table(pa.table({"path": ["a"]}), folder / "list.parquet")
    assert read_table(folder / "list.parquet", error=SlideListError).names == ("path",)


def test_separators_alone_and_endless_columns_are_no_table(tmp_path: Path):
    with pytest.raises(SlideListError, match="is empty"):
        read(tmp_path / "a.csv", "," * 300_000)
    with pytest.raises(SlideListError, match="has 100,001 columns; expected at most 100,000"):
        read(tmp_path / "a.csv", "a" + ",a" * 100_000)
    with pytest.raises(SlideListError, match="has a value of more than 131,072 characters in line 1"):
        read(tmp_path / "a.csv", "a" * 200_000 + "\n1\n")
