"""Tables in Excel workbooks."""

import datetime as dt
import io
import re
import warnings
import zipfile
from bisect import bisect_right
from typing import Any

from embedstore.errors import TableError
from embedstore.tables.raw_table import RawTable

#: Most bytes that a workbook may unpack to: a table of 100,000 slides has some 50 MB.
UNPACKED_BYTES = 1 << 30


def read_workbook(content: bytes) -> RawTable:
    """Read the first sheet with cells of an .xlsx file; its first row with a value names the columns.

    A number with a format such as 000 keeps its zeros. Cells merged over several rows hold their value in each of them.
    Rows at the top with cells merged over several columns are titles, and are left out.

    Raises:
        TableError: openpyxl is not installed, the file is damaged, or it has no table.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise TableError(
            "is an Excel workbook, which needs the package openpyxl; pip install 'embedstore[excel]', or save as CSV"
        ) from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > UNPACKED_BYTES:
            raise TableError(f"unpacks to {unpacked >> 20:,} MiB; expected a workbook of a list; save as CSV")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a sheet has beside its cells
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            found = next(((sheet, rows) for sheet in book.worksheets if (rows := _rows(sheet))), None)
            if found is None:
                raise TableError("has no sheet with values; expected a header and rows")
            sheet, rows = found
            merged = _merged(book, sheet)
    except TableError:
        raise
    except Exception as error:  # openpyxl lets through whatever its parsers meet in a damaged file
        raise TableError("is a damaged Excel workbook, or another kind of zip; save as .xlsx again") from error
    notes = [f"of its {len(book.worksheets)} sheets, {sheet.title!r} is read"] if len(book.worksheets) > 1 else []
    notes += _fill_down(rows, merged)
    notes += _without_titles(rows, merged)
    (_, header), *body = rows.items()
    width = max(map(len, rows.values()))
    padded = [values + [None] * (width - len(values)) for values in (header, *(values for _, values in body))]
    return RawTable(
        names=["" if name is None else str(name) for name in padded[0]],
        columns=[[values[i] for values in padded[1:]] for i in range(width)],
        numbers=[number for number, _ in body],
        notes=tuple(notes),
    )


def _rows(sheet: Any) -> dict[int, list[Any]]:
    """{number of the row: its values} of the rows that have one."""
    sheet.reset_dimensions()  # other programs write them wrongly
    rows = {}
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        values = [_value(cell) for cell in cells]
        while values and values[-1] is None:
            values.pop()
        if values:
            rows[number] = values
    return rows


def _merged(book: Any, sheet: Any) -> list[tuple[int, int, int, int]]:
    """(column, row, last column, last row), from 1, of the cells of a sheet that are merged."""
    from openpyxl.utils import range_boundaries

    content = book._archive.read(sheet._worksheet_path)  # a workbook that is read row by row does not tell
    ranges = re.findall(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]+\d+:[A-Z]+\d+)"', content)
    return sorted(range_boundaries(cells.decode()) for cells in ranges)


def _without_titles(rows: dict[int, list[Any]], merged: list[tuple[int, int, int, int]]) -> list[str]:
    """Remove the titles over the header; a note of each."""
    across = {row for column, row, last_column, _ in merged if last_column > column}
    notes = []
    while len(rows) > 1 and (number := next(iter(rows))) in across:
        title = next(str(value) for value in rows.pop(number) if value is not None)
        notes.append(f"row {number} has merged cells, and is left out as a title: {title[:40]!r}")
    return notes


def _fill_down(rows: dict[int, list[Any]], merged: list[tuple[int, int, int, int]]) -> list[str]:
    """Write the value of merged cells into each of their rows; a note of the last."""
    numbers, filled, done = list(rows), [], (0, 0)
    for column, row, _, last_row in merged:
        done = max(done, (column, row))  # ranges of a damaged file may overlap
        value = next(iter(rows.get(row, [])[column - 1 : column]), None)
        if value is None:
            continue
        for number in numbers[bisect_right(numbers, done[1]) : bisect_right(numbers, last_row)]:
            rows[number] += [None] * (column - len(rows[number]))
            rows[number][column - 1] = value
            filled.append(value)
        done = max(done, (column, last_row))
    shown = str(filled[-1])[:40] if filled else ""
    return [f"{len(filled):,} cell(s) take the value of merged ones above, such as {shown!r}"] if filled else []


def _value(cell: Any) -> Any:
    value = cell.value
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, int) and re.fullmatch("0{2,}", str(cell.number_format)):
        return f"{value:0{len(cell.number_format)}}"
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date()
    return value
