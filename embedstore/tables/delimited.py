"""Tables in text files, as pandas, R, Excel and LibreOffice write them."""

import csv
import io
import itertools
import re
from typing import Any

import numpy as np

from embedstore.errors import TableError
from embedstore.tables.raw_table import RawTable
from embedstore.text_files import split_mark

DELIMITERS = ",;\t|"  # of those that divide the header into equally many names, the first

AT_ONCE = 1 << 20  # characters from which on Arrow reads a plain table: 0.1 s of Python's reader
_BLOCK_BYTES = 1 << 22  # that Arrow reads at a time; longer than any line

MOST_COLUMNS = 100_000  # vectors have a column a value; more are of no table


def read_delimited(content: bytes) -> RawTable:
    """Read a text file of values that commas, semicolons, tabs or bars divide; the first line names the columns.

    Spaces divide them where all names stand in quotes, and nothing else is between these.

    The encoding is UTF-8, UTF-16 or UTF-32, or else Windows-1252, which is noted. Lines without any value, and columns
    without a name and values, are passed over.

    Raises:
        TableError: it is not text, or a line has another number of values than the header.
    """
    text, notes = _decode(content)
    lines, start = text, 1
    if named := re.match(rf"\s*\"?sep=([{DELIMITERS}])\"?\r?\n", text):  # how Excel is told the delimiter
        lines, start = text[named.end() :], 2
        delimiter = named[1]
    else:
        delimiter = _delimiter(text)
    if len(lines) >= AT_ONCE and (found := _columns_at_once(lines, delimiter)) is not None:
        header, columns = found
        return RawTable(
            names=header,
            columns=columns,
            numbers=range(start + 1, start + 1 + len(columns[0])),
            unit="line",
            typed=False,
            decimal_comma=delimiter == ";",
            notes=tuple(notes),
        )
    records, numbers = _records(lines, delimiter, start)
    if not records:
        raise TableError("is empty; expected a header with the names of the columns")
    header, body = records[0], records[1:]
    if len(header) > MOST_COLUMNS:
        raise TableError(f"has {len(header):,} columns; expected at most {MOST_COLUMNS:,}")
    if all(len(record) == len(header) + 1 and record[-1].strip() for record in body) and (
        delimiter in "\t " or [record[0] for record in body] == [str(i + 1) for i in range(len(body))]
    ):
        header = ["", *header]  # write.table of R gives its names of rows no header
    width, least = len(header), max(i for i, name in enumerate(header, start=1) if name.strip())
    for record, number in zip(body, numbers[1:], strict=True):
        if len(record) < least or any(cell.strip() for cell in record[width:]):
            raise TableError(
                f"has {len(record)} value(s) in line {number}; expected {least}, as the header has: "
                f"{', '.join(header)[:200]} (a value with {delimiter!r} in it stands in double quotes)"
            )
        record += [""] * (width - len(record))
    return RawTable(
        names=header,
        columns=[[record[i] for record in body] for i in range(width)],
        numbers=numbers[1:],
        unit="line",
        typed=False,
        decimal_comma=delimiter == ";",
        notes=tuple(notes),
    )


def _columns_at_once(text: str, delimiter: str) -> tuple[list[str], list[Any]] | None:
    """The header and the columns of a text whose lines all have as many values as the header, as Arrow reads them; None
    where its lines or quotes are others than of a plain table, which `_records` reads or refuses."""
    import pyarrow as pa
    import pyarrow.csv

    content = text.rstrip("\r\n").encode()
    first, _, body = content.partition(b"\n")
    if not body or content.count(b"\r") != content.count(b"\r\n") or len(content) >= 1 << 31:
        return None
    ends = np.flatnonzero(np.frombuffer(body, np.uint8) == ord("\n"))
    longest = max(len(first), np.diff(ends, prepend=0, append=len(body)).max())
    if longest > csv.field_size_limit() or not _are_plain_quotes(content, delimiter):
        return None
    header = next(csv.reader([first.decode().rstrip("\r")], delimiter=delimiter))
    if not 2 <= len(header) <= MOST_COLUMNS or not any(map(str.strip, header)):
        return None
    names = [str(i) for i in range(len(header))]
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(body),
            pa.csv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES),
            pa.csv.ParseOptions(delimiter=delimiter, double_quote=False, ignore_empty_lines=False),
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    return (header, [column.combine_chunks() for column in table.columns]) if len(table) == len(ends) + 1 else None


def _are_plain_quotes(content: bytes, delimiter: str) -> bool:
    """Whether quotes stand around whole values alone, and there is none within."""
    text = np.frombuffer(b"\n" + content + b"\n", np.uint8)
    quotes = np.flatnonzero(text == ord('"'))
    if len(quotes) % 2:
        return False
    before, after = text[quotes[::2] - 1], text[quotes[1::2] + 1]
    begins, ends = [ord(delimiter), ord("\n")], [ord(delimiter), ord("\n"), ord("\r")]
    return bool(np.isin(before, begins).all() and np.isin(after, ends).all())


def _decode(content: bytes) -> tuple[str, list[str]]:
    """The text of a file without byte-order mark, and what to tell of its encoding."""
    encoding, unmarked = split_mark(content)
    if not encoding and b"\0" in content[:4]:
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        text, notes = unmarked.decode(encoding or "utf-8"), []
    except UnicodeDecodeError as error:
        if encoding:
            raise TableError(f"is no text in {encoding.upper()}, as which it begins; save it as UTF-8") from error
        try:
            text = content.decode("cp1252")
        except UnicodeDecodeError:
            raise TableError("is text in neither UTF-8 nor Windows-1252; save it as UTF-8") from error
        example = next((word for word in re.split(r"[\s,;|\"]+", text) if not word.isascii()), "")
        notes = [f"it is not UTF-8 and was read as Windows-1252 (such as {example!r}); if that is wrong, save as UTF-8"]
    if "\0" in text:
        raise TableError("holds NUL characters, so it is no text file; expected CSV, Excel, Parquet or Arrow")
    return text, notes


def _delimiter(text: str) -> str:
    lines = [line[0] for line in itertools.islice(filter(_has_name, re.finditer(r"[^\r\n]+", text)), 1)]
    if lines and re.fullmatch(r'\s*"[^"]+"( "[^"]+")+\s*', lines[0]):  # write.table of R, as it is by default
        return " "

    def names(delimiter: str) -> int:
        try:
            return len(next(csv.reader(lines, delimiter=delimiter), []))
        except csv.Error:  # one name that is longer than any
            return 0

    return max(DELIMITERS, key=names)


def _has_name(line: re.Match[str]) -> bool:
    return re.search(r"[^\s,;|]", line[0]) is not None


def _records(text: str, delimiter: str, start: int) -> tuple[list[list[str]], list[int]]:
    """The lines that have a value, and the number of each."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records, numbers, line = [], [], start
    try:
        for record in reader:
            if any(map(str.strip, record)):
                records.append(record)
                numbers.append(line)
            line = start + reader.line_num
    except csv.Error as error:
        if "field limit" in str(error):
            raise TableError(
                f"has a value of more than {csv.field_size_limit():,} characters in line {line}; expected text of "
                f"values that commas, semicolons, tabs or bars divide"
            ) from error
        raise TableError(
            f"has a double quote in line {line} that is not closed, or that text follows; a quote within quotes is "
            "written twice"
        ) from error
    return records, numbers
