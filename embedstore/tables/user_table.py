"""A table that a user gave: names of columns, and values as text, as numbers, or in types of their own."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import EmbedStoreError, TableError
from embedstore.tables.columnar import read_columnar
from embedstore.tables.delimited import read_delimited
from embedstore.tables.raw_table import RawTable
from embedstore.tables.workbook import read_workbook

if TYPE_CHECKING:
    import pyarrow as pa

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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cells:
    """The cells of a column: values, in the order in which they come, and which of them each row has.

    Attributes:
        values: The values; each is there once where `rows` is given.
        rows: (n,) index of each row's value; None where values are of the rows in turn.
        arrow: The column as Arrow has it, if it has.
    """

    values: Sequence[Any]
    rows: NDArray[np.int64] | None = None
    arrow: "pa.Array | None" = None

    @classmethod
    def of(cls, cells: "Sequence[Any] | pa.Array") -> "_Cells":
        """The cells of a list, or of an array of Arrow."""
        if isinstance(cells, Sequence):
            return cls(values=cells)
        encoded = cells.dictionary_encode(null_encoding="encode")
        return cls(values=encoded.dictionary.to_pylist(), rows=encoded.indices.to_numpy().astype(np.int64), arrow=cells)

    def at(self, rows: NDArray[np.int64]) -> "_Cells":
        """Some of the rows."""
        return _Cells.of([self.values[row] for row in rows] if self.arrow is None else self.arrow.take(rows))

    def at_rows(self, of_values: NDArray[Any]) -> NDArray[Any]:
        """What is of each value, for each row."""
        return of_values if self.rows is None else of_values[self.rows]

    def of_rows(self, of_values: Sequence[Any]) -> list[Any]:
        """As `at_rows`, of objects."""
        return list(of_values) if self.rows is None else [of_values[row] for row in self.rows.tolist()]

    def counts(self) -> list[int]:
        """How many rows have each value."""
        if self.rows is None:
            return [1] * len(self.values)
        return np.bincount(self.rows, minlength=len(self.values)).tolist()


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
        self._cells: dict[str, _Cells] = {}
        self._twice: set[str] = set()
        for header, cells in zip(raw.names, raw.columns, strict=True):
            name = " ".join(header.split()).strip("\ufeff")
            if not UNNAMED.fullmatch(name):
                self._twice |= {name} & self._cells.keys()
                self._cells[name] = _Cells.of(cells)
            elif example := next((str(cell) for cell in _Cells.of(cells).values if _is_filled(cell)), None):
                self._notes.append(f"a column without a name is left out; it begins with {example[:40]!r}")
        kept = np.zeros(len(raw.numbers), bool)
        for column in self._cells.values():
            kept |= column.at_rows(np.array([_is_filled(cell) for cell in column.values], bool))
            if kept.all():
                break
        else:
            self._cells = {name: column.at(np.flatnonzero(kept)) for name, column in self._cells.items()}
        self._numbers = np.array(raw.numbers, np.int64)[kept]
        self._texts: dict[str, list[str | None]] = {}  # of the values of a column

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
        return self._cells[name].of_rows(self._meant(name))

    def text_array(self, name: str) -> "pa.Array":
        """As `text`, in Arrow's memory."""
        import pyarrow as pa

        texts, rows = pa.array(self._meant(name), pa.string()), self._cells[name].rows
        return texts if rows is None else texts.take(pa.array(rows))

    def _meant(self, name: str) -> list[str | None]:
        """What the values of a column are as text."""
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
            has_nul = np.array([text is not None and "\0" in text for text in written])
            rows = np.flatnonzero(self._cells[name].at_rows(has_nul))
            raise self.error(f"{name} holds a NUL character, which no name can; remove it", rows)
        self._texts[name] = [meant[text] for text in written]
        return self._texts[name]

    def _written(self, name: str) -> list[str | None]:
        """The values of a column as they stand in the file; None where one is missing."""
        if name in self._twice:
            raise self.error(f"more than one column is called {name!r}; expected one")
        column = self._cells[name]
        texts = [_as_text(cell) for cell in column.values]
        missing = {text for text in set(texts) if is_missing(text)}
        if missing - {""}:
            counts: Counter[str] = Counter()
            for text, count in zip(texts, column.counts(), strict=True):
                counts[text] += count
            words = [text for text in counts if text and text in missing]
            count = sum(counts[word] for word in words)
            note = f"{count:,} value(s) of {name} are missing: {', '.join(map(repr, words[:SHOWN]))}"
            self._notes += [] if note in self._notes else [note]
        return [None if text in missing else text for text in texts]

    def numbers(self, name: str) -> list[float | None]:
        """A column as finite numbers.

        Raises:
            EmbedStoreError: a value is none; the message names its row.
        """
        return self.number_array(name).to_pylist()

    def number_array(self, name: str) -> "pa.Array":
        """As `numbers`, in Arrow's memory: float64."""
        import pyarrow as pa

        def number(text: str) -> float:
            value = float(self._with_point(text).replace("_", "x"))
            if not math.isfinite(value):
                raise ValueError(text)
            return value

        if (found := self._at_once(name, pa.float64())) is not None:
            return found
        if (cells := self._numeric(name, {int, float}, below=1e300)) is not None:
            return self._array(name, [None if cell is None else float(cell) for cell in cells], pa.float64())
        return self._array(name, self._parsed(name, number, "a number"), pa.float64())

    def integers(self, name: str) -> list[int | None]:
        """A column as integers of 64 bits, or an error as of `numbers`."""
        return self.integer_array(name).to_pylist()

    def integer_array(self, name: str) -> "pa.Array":
        """As `integers`, in Arrow's memory: int64."""
        import pyarrow as pa

        def integer(text: str) -> int:
            value = int(text.replace("_", "x"))
            if not -(1 << 63) <= value < 1 << 63:
                raise ValueError(text)
            return value

        if (found := self._at_once(name, pa.int64())) is not None:
            return found
        if (cells := self._numeric(name, {int}, below=1 << 63)) is not None:
            return self._array(name, cells, pa.int64())
        return self._array(name, self._parsed(name, integer, "an integer of at most 64 bits"), pa.int64())

    def _array(self, name: str, values: Sequence[Any], kind: Any) -> "pa.Array":
        """The value of each row, in Arrow's memory."""
        import pyarrow as pa

        rows = self._cells[name].rows
        return pa.array(values, kind) if rows is None else pa.array(values, kind).take(pa.array(rows))

    def _at_once(self, name: str, kind: Any) -> "pa.Array | None":
        """A column of finite numbers, read by Arrow; None where a cell is something else that `_parsed` may read."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self._cells[name].arrow
        if column is None or name in self._twice or self._raw.decimal_comma:
            return None
        if pa.types.is_string(column.type):
            if pa.types.is_integer(kind) and pc.any(pc.match_substring(column, "x", ignore_case=True)).as_py():
                return None  # Arrow reads 0x10
            column = pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
        elif pa.types.is_floating(column.type):
            if pa.types.is_integer(kind):
                return None
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        try:
            numbers = column.cast(kind, safe=not pa.types.is_floating(kind))
        except pa.ArrowInvalid:
            return None
        ends = pc.min_max(numbers).as_py()
        least, most = ends["min"] or 0, ends["max"] or 0
        return (
            numbers if pc.all(pc.is_finite(numbers), min_count=0).as_py() and -1e300 < least <= most < 1e300 else None
        )

    def _numeric(self, name: str, kinds: set[type], *, below: float) -> list[Any] | None:
        """The values of a column that are all of some types of numbers, and below a limit; None where they are not."""
        cells = self._cells[name].values
        if name in self._twice or not set(map(type, cells)) <= {*kinds, type(None)}:
            return None
        values = [None if cell is None or cell != cell else cell for cell in cells]
        return values if all(value is None or abs(value) < below for value in values) else None

    def _parsed(self, name: str, parse: Callable[[str], Number], expected: str) -> list[Number | None]:
        """What the values of a column are as numbers."""
        written = self._written(name)
        values: dict[str | None, Number | None] = {}
        for text in dict.fromkeys(written):
            try:
                values[text] = None if text is None else parse(text)
            except ValueError as error:
                named = np.array([each == text for each in written])
                row = int(self._cells[name].at_rows(named).argmax())
                raise self.error(f"{name} is {text!r}; expected {expected}", [row]) from error
        return [values[text] for text in written]

    def values(self, name: str) -> list[Value]:
        """A column in the narrowest type that loses nothing: integers, numbers, true and false, else text.

        A text file states no types: there it is a number if all values of the column are written as numbers are.
        """
        return self._cells[name].of_rows(self._typed(name))

    def _typed(self, name: str) -> Sequence[Value]:
        """The values of a column in the narrowest type."""
        texts, cells = self._written(name), self._cells[name].values
        kinds = {type(cell) for cell, text in zip(cells, texts, strict=True) if text is not None}
        if self._raw.typed and not (kinds == {bool} or kinds <= {int, float}):
            return self._meant(name)
        if all(text is None or text.lower() in ("true", "false") for text in texts):
            return [None if text is None else text.lower() == "true" for text in texts]
        written = {text: self._with_point(text) for text in set(texts) if text is not None}
        others = {number for number in written.values() if not NUMBER.fullmatch(number)}
        if not self._raw.typed and others and (others - INFINITE or len(others) == len(written)):
            return self._meant(name)
        if commas := [text for text, number in written.items() if text != number]:
            self._notes.append(f"{name} has decimal commas: {commas[0]} is read as {written[commas[0]]}")
        if not all(number.lstrip("-").isdigit() for number in written.values()):
            numbers: dict[str, Value] = {text: float(number) for text, number in written.items()}
        elif all(len(number) <= 20 and -(1 << 63) <= int(number) < 1 << 63 for number in written.values()):
            numbers = {text: int(number) for text, number in written.items()}
        else:
            return self._meant(name)  # ids of 20 digits
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
