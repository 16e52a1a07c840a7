"""Tables that the Python API returns, Arrow inside; and how notebooks and terminals show results."""

import operator
from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from typing import Any, SupportsIndex, overload

import pyarrow as pa

from embedstore.errors import ExportError

SHOWN_ROWS = 20  # a notebook's file keeps what it shows


class Table:
    """Rows of a store as an Arrow table.

    pandas, polars, DuckDB and other readers of the Arrow C stream take it as it is: `polars.DataFrame(table)`.

    Args:
        table: The rows.
        title: What they are, for people.
    """

    shown_text = 60  # characters of a cell that are shown

    def __init__(self, table: pa.Table, *, title: str = ""):
        self._table, self.title = table, title

    def __len__(self) -> int:
        return self._table.num_rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows as dictionaries."""
        return iter(self._table.to_pylist())

    @overload
    def __getitem__(self, column: SupportsIndex) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, column: str | slice) -> list[Any]: ...

    def __getitem__(self, column: str | slice | SupportsIndex) -> Any:
        """The values of a column, by its name; a row as a dictionary, by its number; or a slice of the rows.

        Raises:
            KeyError, IndexError: there is no such column or row.
        """
        if isinstance(column, slice):
            return self._table.take(list(range(len(self))[column])).to_pylist()
        if isinstance(column, SupportsIndex):
            number = operator.index(column)
            if not -len(self) <= number < len(self):
                raise IndexError(f"no row {number}; the table has {len(self)}, counted from 0")
            return self._table.slice(number % len(self), 1).to_pylist()[0]
        if column not in self.column_names:
            raise KeyError(f"no column {column!r}; the table has {', '.join(self.column_names)}")
        return self._table[column].to_pylist()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)

    @property
    def column_names(self) -> list[str]:
        return self._table.column_names

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table; nothing is copied."""
        return self._table

    def to_pylist(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        return self._table.to_pylist()

    def to_pandas(self) -> Any:
        """The rows as a pandas data frame.

        Raises:
            ExportError: pandas is not installed.
        """
        _require("pandas")
        return self._table.to_pandas()

    def to_polars(self) -> Any:
        """The rows as a polars data frame.

        Raises:
            ExportError: polars is not installed.
        """
        return _require("polars").from_arrow(self._table)

    def __repr__(self) -> str:
        if not self.column_names:
            return self._heading()
        shown = self._table.slice(0, SHOWN_ROWS)
        cells = [self.column_names, *([self._cell(value) for value in row.values()] for row in shown.to_pylist())]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        return "\n".join([self._heading(), *lines])

    def _repr_html_(self) -> str:
        """The first rows as a notebook shows them."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.column_names)
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(self._cell(value))}</td>' for value in row.values())}</tr>"
            for row in self._table.slice(0, SHOWN_ROWS).to_pylist()
        )
        return f"<table><caption>{escape(self._heading())}</caption><thead><tr>{head}</tr></thead>{rows}</table>"

    def _cell(self, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, float):
            return f"{value:.4g}"
        if isinstance(value, datetime):
            return f"{value:%Y-%m-%d %H:%M}"
        if isinstance(value, list | tuple):
            value = f"[{len(value)} values]" if len(value) > 4 else "; ".join(map(str, value))
        text = str(value)
        return text if len(text) <= self.shown_text else f"{text[: self.shown_text - 1]}…"

    def _heading(self) -> str:
        rows = f"{len(self):,} row{'' if len(self) == 1 else 's'}"
        shown = f", the first {SHOWN_ROWS}" if len(self) > SHOWN_ROWS else ""
        return f"{self.title}: {rows}{shown}" if self.title else f"{rows}{shown}"


class NotedTable(Table):
    """Rows, and what the user should know of them.

    Attributes:
        notes: Sentences.
    """

    def __init__(self, table: pa.Table, *, title: str = "", notes: tuple[str, ...] = ()):
        super().__init__(table, title=title)
        self.notes = notes

    def _heading(self) -> str:
        return "\n".join([super()._heading(), *(f"note: {note}" for note in self.notes)])


def card(title: str, facts: Mapping[str, object]) -> str:
    """HTML of a title and named facts, as notebooks show what is not a table."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items())
    return f"<table><caption>{escape(title)}</caption>{rows}</table>"


def _require(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ExportError(
            f"a data frame needs the package {package}, which is not installed; pip install {package}, "
            "or take .to_arrow() or .to_pylist()"
        ) from error
