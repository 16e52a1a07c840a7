"""Small tables as .csv, .parquet or .json files."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedstore.errors import ExportError
from embedstore.output_files import atomic_write

FORMS = (".csv", ".parquet", ".json")


def write_rows(table: pa.Table, path: str | Path, *, what: str) -> int:
    """Write a table as .csv, .parquet or .json (a list of objects; NaN and infinity as null); returns its rows.

    Args:
        table: Columns of plain values.
        path: The file.
        what: What the rows are, for errors, such as 'slides'.
    Raises:
        ExportError: the path has another ending, or is a folder.
    """
    path = rows_path(path, what=what)
    with atomic_write(path) as part:
        if path.suffix.lower() == ".csv":
            import pyarrow.csv

            pyarrow.csv.write_csv(table, str(part))
        elif path.suffix.lower() == ".parquet":
            import pyarrow.parquet

            pyarrow.parquet.write_table(table, str(part))
        else:
            rows = [{name: _finite(value) for name, value in row.items()} for row in table.to_pylist()]
            part.write_text(json.dumps(rows, indent=1, default=str, allow_nan=False) + "\n", encoding="utf-8")
    return table.num_rows


def rows_path(path: str | Path, *, what: str) -> Path:
    """Check that a table can be written to a path, before its rows are computed, which may take long.

    Raises:
        ExportError: it has another ending than `FORMS`, or is a folder.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMS:
        raise ExportError(f"{path} ends in {path.suffix!r}; expected {', '.join(FORMS)} for a table of {what}")
    if path.is_dir():
        raise ExportError(f"{path} is a folder; a table of {what} is one file, such as {path / 'table.csv'}")
    return path


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
