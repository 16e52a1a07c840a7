"""The rows of a table, of all slides or of one, read a batch at a time."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
from numpy.typing import NDArray

from embedstore.errors import FeatureFileError

TEXT_SUFFIXES = (".csv", ".tsv")
TABLE_SUFFIXES = frozenset({".parquet", ".pq", ".arrow", ".feather", *TEXT_SUFFIXES})
#: Names of the column that says whose a row is, without regard to capitals. They are names also where all look like
#: numbers: 007 is not 7.
SLIDES = ("slide_id", "slide", "wsi", "wsi_id", "slide_name")
#: Rows of a batch: 8 MB of 1,024 values.
BATCH_ROWS = 2048


class TableRows:
    """Rows of a file.

    Args:
        only: A column, and the value that it has in the rows that are meant; all rows when None.
    """

    def __init__(self, path: Path, only: tuple[str, str] | None):
        self.path, self._only = path, only
        self._rows: NDArray[np.int64] | None = None  # of the file, that are meant
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._held: pa.Table | None = None
        self._at = 0  # the first row of what is held
        self._texts: dict[str, pa.DataType] = {}  # columns of a text file that are text, whatever they look like
        if not path.is_file():
            raise FeatureFileError(f"there is no file {path}")
        with _reading(path):
            self.schema = self._read_schema()
        if only is not None:
            self._rows = _rows_by_value(path, path.stat().st_mtime_ns, only[0]).get(only[1], np.empty(0, np.int64))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._batches = self._held = None

    def distinct(self, column: str) -> list[str]:
        """The values of a column of text, sorted."""
        return sorted(_rows_by_value(self.path, self.path.stat().st_mtime_ns, column))

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of all rows that are meant."""
        table = self._all(list(columns) or self.schema.names[:1])
        return table if self._rows is None else table.take(pa.array(self._rows))

    def range(self, start: int, stop: int, columns: Sequence[str]) -> pa.Table:
        """Columns of the rows `start` to `stop` of those that are meant; ranges are best asked for in their order."""
        if start >= stop:
            return self.schema.empty_table().select(list(columns))
        rows = np.arange(start, stop) if self._rows is None else self._rows[start:stop]
        table = self._stretch(int(rows[0]), int(rows[-1]) + 1, list(columns))
        return table.take(pa.array(rows - rows[0])) if len(rows) != len(table) else table

    def _stretch(self, first: int, end: int, columns: list[str]) -> pa.Table:
        with _reading(self.path):
            if self._batches is None or first < self._at:
                self._at, self._batches = self._open_at(first, columns)
                self._held = None
            parts = [] if self._held is None else [self._held]
            held = sum(map(len, parts))
            while self._at + held < end:
                batch = next(self._batches, None)
                if batch is None:
                    raise FeatureFileError(f"{self.path} ends after {self._at + held:,} rows; expected {end:,}")
                parts.append(pa.Table.from_batches([batch]))
                held += len(batch)
                while len(parts) > 1 and self._at + len(parts[0]) <= first:
                    held -= len(parts[0])
                    self._at += len(parts.pop(0))
            table = pa.concat_tables(parts)
            skipped = first - self._at
            if skipped > 0:
                table, self._at = table.slice(skipped), first
            self._held = table
            return table.slice(0, end - first)

    # -- kinds of files ---------------------------------------------------------------------

    @property
    def _kind(self) -> str:
        return self.path.suffix.lower()

    def _read_schema(self) -> pa.Schema:
        if self._kind in TEXT_SUFFIXES:
            with self._csv(None) as stream:
                schema = stream.schema
            self._texts = {name: pa.string() for name in schema.names if name.lower() in SLIDES}
            for name in self._texts:
                schema = schema.set(schema.get_field_index(name), pa.field(name, pa.string()))
            return schema
        if self._kind in (".parquet", ".pq"):
            with pyarrow.parquet.ParquetFile(self.path) as file:
                return file.schema_arrow
        with pa.memory_map(str(self.path)) as source, pa.ipc.open_file(source) as file:
            return file.schema

    def _csv(self, columns: list[str] | None) -> pyarrow.csv.CSVStreamingReader:
        tab = "\t" if self._kind == ".tsv" else ","
        return pyarrow.csv.open_csv(
            self.path,
            read_options=pyarrow.csv.ReadOptions(block_size=8 << 20, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter=tab),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=columns, column_types=self._texts, strings_can_be_null=True
            ),
        )

    def _open_at(self, row: int, columns: list[str]) -> tuple[int, Iterator[pa.RecordBatch]]:
        """The first row, and batches of columns from it on; it is `row`, or one before that."""
        if self._kind not in (".parquet", ".pq"):
            return 0, self._open(columns)
        with pyarrow.parquet.ParquetFile(self.path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        ends = np.cumsum(sizes)
        group = min(int(np.searchsorted(ends, row, side="right")), max(0, len(sizes) - 1))
        return int(ends[group] - sizes[group]) if sizes else 0, self._open(columns, group)

    def _open(self, columns: list[str], group: int = 0) -> Iterator[pa.RecordBatch]:
        """Batches of columns from the first row on; of Parquet, from a row group on."""
        if self._kind in TEXT_SUFFIXES:
            with self._csv(columns) as stream:
                yield from stream
        elif self._kind in (".parquet", ".pq"):
            with pyarrow.parquet.ParquetFile(self.path) as file:
                groups = range(group, file.num_row_groups)
                yield from file.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns, use_threads=False)
        else:
            with pa.memory_map(str(self.path)) as source, pa.ipc.open_file(source) as file:
                for i in range(file.num_record_batches):
                    yield file.get_batch(i).select(columns)

    def _all(self, columns: list[str]) -> pa.Table:
        with _reading(self.path):
            schema = pa.schema([self.schema.field(name) for name in columns])
            parts = [pa.Table.from_batches([batch]).select(columns) for batch in self._open(columns)]
            return pa.concat_tables(parts) if parts else schema.empty_table()


@functools.lru_cache(maxsize=4)
def _rows_by_value(path: Path, changed_ns: int, column: str) -> dict[str, NDArray[np.int64]]:
    """The rows of a file by the value of a column; kept while the file is as it was."""
    with TableRows(path, None) as table:
        values = table.read([column])[column]
    if values.null_count:
        raise FeatureFileError(f"{path}: column {column!r} has {values.null_count:,} missing values; expected none")
    encoded = pc.dictionary_encode(pc.cast(values, pa.string())).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # of no rows
        return {}
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
    return {name: order[bounds[i] : bounds[i + 1]] for i, name in enumerate(encoded.dictionary.to_pylist())}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FeatureFileError:
        raise
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError, pa.ArrowException) as error:
        raise FeatureFileError(
            f"{path} ({path.stat().st_size if path.exists() else 0:,} bytes) cannot be read as a table: it is cut "
            "short or damaged, or its rows do not agree; write it again, then run the same command with --retry-failed"
        ) from error
