"""Tables in Excel workbooks."""

import datetime as dt
import io
import re
import warnings
import zipfile
from typing import Any

from embedstore.errors import TableError
from embedstore.tables.raw_table import RawTable

#: Most bytes that a workbook may unpack to: a table of 100,000 slides has some 50 MB.
UNPACKED_BYTES = 1 << 30


def read_workbook(content: bytes) -> RawTable:
    """Read the first sheet with cells of an .xlsx file; its first row with a value names the columns.

    A number with a format such as 000 keeps its zeros.

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
            name, rows = next(((sheet.title, rows) for sheet in book.worksheets if (rows := _rows(sheet))), ("", {}))
    except TableError:
        raise
    except Exception as error:  # openpyxl lets through whatever its parsers meet in a damaged file
        raise TableError("is a damaged Excel workbook, or another kind of zip; save as .xlsx again") from error
    if not rows:
        raise TableError("has no sheet with values; expected a header and rows")
    (_, header), *body = rows.items()
    width = max(map(len, rows.values()))
    padded = [values + [None] * (width - len(values)) for values in (header, *(values for _, values in body))]
    return RawTable(
        names=["" if name is None else str(name) for name in padded[0]],
        columns=[[values[i] for values in padded[1:]] for i in range(width)],
        numbers=[number for number, _ in body],
        notes=(f"of its {len(book.worksheets)} sheets, {name!r} is read",) if len(book.worksheets) > 1 else (),
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


def _value(cell: Any) -> Any:
    value = cell.value
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, int) and re.fullmatch("0{2,}", str(cell.number_format)):
        return f"{value:0{len(cell.number_format)}}"
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date()
    return value
