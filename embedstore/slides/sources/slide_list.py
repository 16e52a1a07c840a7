"""Lists of slides in CSV or Parquet."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedstore.errors import SlideListError
from embedstore.slides.sources.source import MetadataValue

LIST_SUFFIXES = frozenset({".csv", ".parquet"})
# Columns with a meaning of their own; every other one becomes metadata of the slide.
OWN_COLUMNS = ("path", "slide_id", "mpp", "tissue")
TRUTHS = {"true": True, "false": False}


def read_rows(listed: Path) -> list[dict[str, MetadataValue]]:
    """The rows of a list, {column: value}.

    A CSV's columns are integers, floats or booleans where all of their values are, else strings; empty is None.
    Integers that would lose leading zeros (patient 007) stay strings.

    Raises:
        SlideListError: it cannot be read, or has no column `path`, or a row without one.
    """
    columns, rows = _read_csv(listed) if listed.suffix.lower() == ".csv" else _read_parquet(listed)
    if "path" not in columns:
        raise SlideListError(f"{listed}: expected a column path, found {columns}")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row["path"], str) or not row["path"]:
            raise SlideListError(f"{listed}, row {number}: no path; found {row['path']!r}")
        given = row.get("mpp")
        if given is not None and (isinstance(given, str | bool) or not 0 < given < float("inf")):
            raise SlideListError(f"{listed}, row {number} ({row['path']}): mpp is {given!r}; expected µm/px")
    return rows


def _read_csv(listed: Path) -> tuple[list[str], list[dict[str, MetadataValue]]]:
    try:
        with open(listed, newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SlideListError(f"{listed}: cannot be read as CSV: {error}") from error
    if not lines:
        raise SlideListError(f"{listed} is empty; expected a header with a column path")
    columns, body = [name.strip() for name in lines[0]], [line for line in lines[1:] if any(line)]
    if len(set(columns)) < len(columns):
        raise SlideListError(f"{listed}: a column stands there twice: {columns}")
    for number, line in enumerate(body, start=1):
        if len(line) != len(columns):
            raise SlideListError(f"{listed}, row {number}: {len(line)} values; expected {len(columns)}: {columns}")
    parsed: dict[str, list[MetadataValue]] = {}
    for i, name in enumerate(columns):
        values = [line[i].strip() for line in body]
        texts: list[MetadataValue] = [value or None for value in values]
        parsed[name] = texts if name in ("path", "slide_id", "tissue") else parse_column(values)
    return columns, [{name: parsed[name][row] for name in columns} for row in range(len(body))]


def parse_column(values: Sequence[str]) -> list[MetadataValue]:
    """A CSV column's values in the narrowest type that holds all of them; empty ones are None."""
    filled = [value for value in values if value]
    kinds: list[Any] = [_truth, _integer, _number]
    for kind in kinds:
        try:
            known = {value: kind(value) for value in set(filled)}
        except ValueError:
            continue
        return [known[value] if value else None for value in values]
    return [value or None for value in values]


def _truth(text: str) -> bool:
    if text.lower() not in TRUTHS:
        raise ValueError(text)
    return TRUTHS[text.lower()]


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


def _read_parquet(listed: Path) -> tuple[list[str], list[dict[str, MetadataValue]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(listed)
    except (OSError, pa.ArrowException) as error:
        raise SlideListError(f"{listed}: cannot be read as Parquet: {error}") from error
    return table.column_names, [_plain(row) for row in table.to_pylist()]


def _plain(row: Mapping[str, Any]) -> dict[str, MetadataValue]:
    """Parquet values as plain ones: dates and the like as text, NaN as None."""

    def values() -> Iterator[tuple[str, MetadataValue]]:
        for name, value in row.items():
            if value is None or (isinstance(value, float) and np.isnan(value)):
                yield name, None
            else:
                yield name, value if isinstance(value, str | int | float | bool) else str(value)

    return dict(values())
