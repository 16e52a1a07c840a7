"""Lists of slides in CSV or Parquet."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedstore.errors import SlideListError
from embedstore.slides.sources.source import MetadataValue

LIST_SUFFIXES = frozenset({".csv", ".parquet"})
# Columns with a meaning of their own; every other one becomes metadata of the slide.
OWN_COLUMNS = ("path", "slide_id", "mpp", "tissue")
BOOLEANS = {"true": True, "false": False}

Row = dict[str, MetadataValue]  # {column: value}


@dataclass(frozen=True, kw_only=True)
class ListedSlide:
    """A row of a slide list.

    Attributes:
        path: As written, relative to the folder of the list or absolute.
        slide_id: The slide's id; None where the list gives none.
        mpp: Level-0 resolution, µm/px; None where the list gives none.
        tissue: Path of a GeoJSON mask, as written; None where the list gives none.
        metadata: The other columns.
    """

    path: str
    slide_id: str | None
    mpp: float | None
    tissue: str | None
    metadata: Row

    @classmethod
    def from_row(cls, row: Row, where: str) -> "ListedSlide":
        """Check a row; `where` names it in errors."""
        path, slide_id, mpp, tissue = (row.get(name) for name in OWN_COLUMNS)
        if not isinstance(path, str) or not path:
            raise SlideListError(f"{where}: no path; found {path!r}")
        if mpp is not None and (isinstance(mpp, str | bool) or not 0 < mpp < float("inf")):
            raise SlideListError(f"{where} ({path}): mpp is {mpp!r}; expected µm/px")
        return cls(
            path=path,
            slide_id=None if slide_id is None else str(slide_id),
            mpp=None if mpp is None else float(mpp),
            tissue=None if tissue is None else str(tissue),
            metadata={name: value for name, value in row.items() if name not in OWN_COLUMNS},
        )


def read_slide_list(list_path: Path) -> list[ListedSlide]:
    """The rows of a list.

    A column of a CSV holds integers, floats or booleans where all of its values are such, and strings otherwise; an
    empty value is None. Integers that would lose leading zeros (patient 007) stay strings.

    Raises:
        SlideListError: it cannot be read, or has no column `path`, or a row without a path.
    """
    columns, rows = _read_csv(list_path) if list_path.suffix.lower() == ".csv" else _read_parquet(list_path)
    if "path" not in columns:
        raise SlideListError(f"{list_path}: expected a column path, found {columns}")
    return [ListedSlide.from_row(row, f"{list_path}, row {number}") for number, row in enumerate(rows, start=1)]


def _read_csv(list_path: Path) -> tuple[list[str], list[Row]]:
    try:
        with open(list_path, newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SlideListError(f"{list_path}: cannot be read as CSV: {error}") from error
    if not lines:
        raise SlideListError(f"{list_path} is empty; expected a header with a column path")
    columns, body = [name.strip() for name in lines[0]], [line for line in lines[1:] if any(line)]
    if len(set(columns)) < len(columns):
        raise SlideListError(f"{list_path}: a column occurs twice: {columns}")
    for number, line in enumerate(body, start=1):
        if len(line) != len(columns):
            raise SlideListError(f"{list_path}, row {number}: {len(line)} values; expected {len(columns)}: {columns}")
    parsed: dict[str, list[MetadataValue]] = {}
    for i, name in enumerate(columns):
        values = [line[i].strip() for line in body]
        texts: list[MetadataValue] = [value or None for value in values]
        parsed[name] = texts if name in ("path", "slide_id", "tissue") else parse_column(values)
    return columns, [{name: parsed[name][row] for name in columns} for row in range(len(body))]


def parse_column(values: Sequence[str]) -> list[MetadataValue]:
    """A CSV column's values in the narrowest type that holds all of them; empty ones are None."""
    filled = [value for value in values if value]
    parsers: tuple[Callable[[str], MetadataValue], ...] = (_boolean, _integer, _number)
    for parse in parsers:
        try:
            parsed = {value: parse(value) for value in set(filled)}
        except ValueError:
            continue
        return [parsed[value] if value else None for value in values]
    return [value or None for value in values]


def _boolean(text: str) -> bool:
    if text.lower() not in BOOLEANS:
        raise ValueError(text)
    return BOOLEANS[text.lower()]


def _integer(text: str) -> int:
    number = int(text)
    if str(number) != text.removeprefix("+") or abs(number) >= 1 << 63:
        raise ValueError(text)  # 007, 1_000: names, not numbers
    return number


def _number(text: str) -> float:
    digits = text.lstrip("+-")
    if "_" in text or (len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()):
        raise ValueError(text)
    return float(text)


def _read_parquet(list_path: Path) -> tuple[list[str], list[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(list_path)
    except (OSError, pa.ArrowException) as error:
        raise SlideListError(f"{list_path}: cannot be read as Parquet: {error}") from error
    return table.column_names, [_plain(row) for row in table.to_pylist()]


def _plain(row: Mapping[str, object]) -> Row:
    """Parquet values as Python's: dates and other types as text, NaN as None."""
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: object) -> MetadataValue:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    return value if isinstance(value, str | int | float | bool) else str(value)
