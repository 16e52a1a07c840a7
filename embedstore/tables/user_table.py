"""A table that a user gave: names of columns, and values as text, as numbers, or in types of their own."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import EmbedStoreError, TableError
from embedstore.tables.columnar import read_columnar
from embedstore.tables.delimited import read_delimited
from embedstore.tables.raw_table import RawTable
from embedstore.tables.workbook import read_workbook

Value = str | int | float | bool | None
Number = TypeVar("Number", int, float)

COLUMNAR_SUFFIXES = (".parquet", ".pq", ".arrow", ".feather", ".ipc")
WORKBOOK_SUFFIXES = (".xlsx", ".xlsm")
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".txt", *WORKBOOK_SUFFIXES, *COLUMNAR_SUFFIXES})
#: How other kinds of files begin, and what a user does with them.
OTHERS = {
    b"\xd0\xcf\x11\xe0": "is an old or an encrypted Excel workbook; save as .xlsx without a password, or as CSV",
    b"\x1f\x8b": "is compressed; unpack it first",
    b"BZh": "is compressed; unpack it first",
    b"\xfd7zXZ": "is compressed; unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed; unpack it first",
}
#: Words that stand for a missing value: those of pandas (`read_csv`, na_values) in any case, but for 'none', which is
#: a class of many tasks; and the errors of Excel.
MISSING = frozenset(
    {"", "na", "n/a", "#n/a", "#na", "#n/a n/a", "<na>", "nan", "-nan", "null", "nat"}
    | {"#div/0!", "#name?", "#null!", "#num!", "#ref!", "#value!"}
)
MISSING_AS_WRITTEN = frozenset({"None"})
#: How pandas and Arrow call an index that has no name.
UNNAMED = re.compile(r"(Unnamed: \d+|__index_level_\d+__)?")
#: Numbers, and nothing that may be a name: not 007, 1_000, 1e3, +1, or digits of another script.
NUMBER = re.compile(r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-][0-9]+)?")
INFINITE = {"inf", "-inf"}  # beside numbers, as pandas writes them
WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?")
#: What Excel and pandas make of a name such as 20E45, or of one of 17 digits.
REWRITTEN = re.compile(r"[0-9](\.[0-9]+)?[eE]\+[0-9]{2,}")
DECIMAL_COMMA = re.compile(r"(-?[0-9]+),([0-9]+)")
PATIENT_COLUMNS = ("patient", "patient_id", "patientid")  # names of the column that says whose a row is
SHOWN = 3  # rows and values that a message names


class UserTable:
    """A table that a user gave, without rows and columns that hold nothing.

    A value is missing where a cell is empty, or holds a word such as NA or NaN. Columns are found by their names
    without regard to capitals, and 'Slide ID' is slide_id.

    Attributes:
        path: The file.
        names: The columns, as they are written but for space.
    """

    def __init__(self, path: Path, raw: RawTable, error: type[EmbedStoreError]):
        self.path, self._raw, self._error = path, raw, error
        self._notes = list(raw.notes)
        self._cells: dict[str, Sequence[Any]] = {}
        self._twice: set[str] = set()
        for header, cells in zip(raw.names, raw.columns, strict=True):
            name = " ".join(header.split()).strip("\ufeff")
            if not UNNAMED.fullmatch(name):
                self._twice |= {name} & self._cells.keys()
                self._cells[name] = cells
            elif example := next((str(cell) for cell in cells if _is_filled(cell)), None):
                self._notes.append(f"a column without a name is left out; it begins with {example[:40]!r}")
        kept = [row for row, cells in enumerate(zip(*self._cells.values(), strict=True)) if any(map(_is_filled, cells))]
        if len(kept) < len(raw.numbers):
            self._cells = {name: [cells[row] for row in kept] for name, cells in self._cells.items()}
        self._numbers = [raw.numbers[row] for row in kept]
        self._texts: dict[str, list[str | None]] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._cells)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the file, and of the columns that were asked for."""
        return tuple(f"{self.path.name}: {note}" for note in self._notes)

    def place(self, rows: Sequence[int] | NDArray[np.integer]) -> str:
        """Where some rows (from 0) are in the file, such as 'line 2, 5, 7, …'."""
        numbers = [str(self._numbers[row]) for row in rows[:SHOWN]]
        return f"{self._raw.unit} {', '.join(numbers)}{', …' if len(rows) > SHOWN else ''}"

    def error(self, problem: str, rows: Sequence[int] | NDArray[np.integer] = ()) -> EmbedStoreError:
        """The error to be raised for a problem of the table, or of some of its rows (from 0)."""
        return self._error(f"{self.path}{f', {self.place(rows)}' if len(rows) else ''}: {problem}")

    def find(self, *names: str) -> str | None:
        """The column called by the first of some names that the table has; None where it has none of them.

        Raises:
            EmbedStoreError: several columns are called so.
        """
        for name in names:
            found = [column for column in self.names if re.sub(r"[\s.-]+", "_", column.casefold()) == name]
            if len(found) > 1 or self._twice.intersection(found):
                raise self.error(f"more than one column means {name}: {', '.join(self.names)}; expected one")
            if found:
                return found[0]
        return None

    # -- values -----------------------------------------------------------------------------

    def text(self, name: str) -> list[str | None]:
        """A column as text, which names are: '007' and '20E4567' stay, and a column of 101.0, 102.0 is 101, 102."""
        if name in self._texts:
            return self._texts[name]
        written = self._written(name)
        meant: dict[str | None, str | None] = dict.fromkeys(written)
        whole = {text: WHOLE.fullmatch(self._with_point(text)) for text in meant if text is not None}
        meant |= {text: text for text in whole}
        if all(whole.values()) and (example := next((text for text in whole if not text.lstrip("-").isdigit()), None)):
            meant |= {text: match[1] for text, match in whole.items() if match}
            self._notes.append(f"all values of {name} are whole numbers: {example} is read as {meant[example]}")
        if example := next(filter(REWRITTEN.fullmatch, whole), None):
            self._notes.append(
                f"{name} has the number {example}; if a sheet made it of a name, write the column there as text"
            )
        if any("\0" in text for text in whole):
            rows = [row for row, text in enumerate(written) if text is not None and "\0" in text]
            raise self.error(f"{name} holds a NUL character, which no name can; remove it", rows)
        self._texts[name] = [meant[text] for text in written]
        return self._texts[name]

    def _written(self, name: str) -> list[str | None]:
        """A column as it stands in the file; None where a value is missing."""
        if name in self._twice:
            raise self.error(f"more than one column is called {name!r}; expected one")
        texts = [_as_text(cell) for cell in self._cells[name]]
        counts = Counter(texts)
        missing = {text for text in counts if is_missing(text)}
        if words := [text for text in counts if text and text in missing]:
            count = sum(counts[word] for word in words)
            note = f"{count:,} value(s) of {name} are missing: {', '.join(map(repr, words[:SHOWN]))}"
            self._notes += [] if note in self._notes else [note]
        return [None if text in missing else text for text in texts]

    def numbers(self, name: str) -> list[float | None]:
        """A column as finite numbers.

        Raises:
            EmbedStoreError: a value is none; the message names its row.
        """

        def number(text: str) -> float:
            value = float(self._with_point(text).replace("_", "x"))
            if not math.isfinite(value):
                raise ValueError(text)
            return value

        return self._parsed(name, number, "a number")

    def integers(self, name: str) -> list[int | None]:
        """A column as integers of 64 bits, or an error as of `numbers`."""

        def integer(text: str) -> int:
            value = int(text.replace("_", "x"))
            if abs(value) >= 1 << 63:
                raise ValueError(text)
            return value

        return self._parsed(name, integer, "an integer of at most 64 bits")

    def _parsed(self, name: str, parse: Callable[[str], Number], expected: str) -> list[Number | None]:
        values: list[Number | None] = []
        for row, text in enumerate(self._written(name)):
            try:
                values.append(None if text is None else parse(text))
            except ValueError as error:
                raise self.error(f"{name} is {text!r}; expected {expected}", [row]) from error
        return values

    def values(self, name: str) -> list[Value]:
        """A column in the narrowest type that loses nothing: integers, numbers, true and false, else text.

        A text file states no types: there it is a number if all values of the column are written as numbers are.
        """
        texts, cells = self._written(name), self._cells[name]
        kinds = {type(cell) for cell, text in zip(cells, texts, strict=True) if text is not None}
        if self._raw.typed and not (kinds == {bool} or kinds <= {int, float}):
            return list(self.text(name))
        if all(text is None or text.lower() in ("true", "false") for text in texts):
            return [None if text is None else text.lower() == "true" for text in texts]
        written = {text: self._with_point(text) for text in set(texts) if text is not None}
        others = {number for number in written.values() if not NUMBER.fullmatch(number)}
        if not self._raw.typed and others and (others - INFINITE or len(others) == len(written)):
            return list(self.text(name))
        if commas := [text for text, number in written.items() if text != number]:
            self._notes.append(f"{name} has decimal commas: {commas[0]} is read as {written[commas[0]]}")
        if not all(number.lstrip("-").isdigit() for number in written.values()):
            numbers: dict[str, Value] = {text: float(number) for text, number in written.items()}
        elif all(len(number) <= 20 and -(1 << 63) <= int(number) < 1 << 63 for number in written.values()):
            numbers = {text: int(number) for text, number in written.items()}
        else:
            return list(self.text(name))  # ids of 20 digits
        return [None if text is None else numbers[text] for text in texts]

    def _with_point(self, text: str) -> str:
        return DECIMAL_COMMA.sub(r"\1.\2", text) if self._raw.decimal_comma and text.count(",") == 1 else text


def table_of(columns: Mapping[str, Sequence[Any]], *, name: str, error: type[EmbedStoreError]) -> UserTable:
    """A table of values that are in memory.

    Args:
        columns: Its columns, all of the same length.
        name: What messages call it.
        error: See `read_table`.
    """
    numbers = range(1, 1 + max(map(len, columns.values()), default=0))
    raw = RawTable(names=list(columns), columns=list(columns.values()), numbers=numbers)
    return UserTable(Path(name), raw, error)


def read_table(path: str | Path, *, error: type[EmbedStoreError]) -> UserTable:
    """Read delimited text (CSV, TSV), .xlsx, Parquet, Arrow or Feather; the content says which it is.

    Args:
        path: The file.
        error: What is raised where it cannot be read, and by the table.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise TableError("is a folder, pipe or device; expected a file")
        return UserTable(path, _read(path.read_bytes(), path.suffix.lower()), error)
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror or problem}") from problem
    except TableError as problem:
        raise error(f"{path} {problem}") from problem


def _read(content: bytes, suffix: str) -> RawTable:
    if content.startswith(b"PK\x03\x04"):
        return read_workbook(content)
    if content.startswith((b"PAR1", b"ARROW1", b"FEA1")):
        return read_columnar(content)
    for beginning, problem in OTHERS.items():
        if content.startswith(beginning):
            raise TableError(problem)
    if suffix in COLUMNAR_SUFFIXES:
        return read_columnar(content)
    if suffix in WORKBOOK_SUFFIXES:
        raise TableError("is no Excel workbook, for all its ending; save as .xlsx again, or as CSV")
    return read_delimited(content)


def is_missing(text: str) -> bool:
    """Whether a text stands for a missing value."""
    return text.casefold() in MISSING or text in MISSING_AS_WRITTEN


def _is_filled(cell: Any) -> bool:
    return bool(cell.strip()) if isinstance(cell, str) else not (cell is None or cell != cell)


def _as_text(cell: Any) -> str:
    """A cell as text; '' where it holds nothing."""
    if isinstance(cell, str):
        return cell.strip()
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return cell.decode("utf-8", "backslashreplace") if isinstance(cell, bytes) else str(cell)
