"""Tiles that were found as a table: CSV, Parquet or JSON."""

from pathlib import Path
from typing import TYPE_CHECKING

from embedstore.export.table_file import write_rows

if TYPE_CHECKING:
    from embedstore.search.hits import Hits


def write_hits_table(hits: "Hits", path: str | Path) -> int:
    """Write the rows as the path's ending says, .csv, .parquet or .json, nearest first; how many.

    Raises:
        ExportError: it has another ending, or is a folder.
    """
    return write_rows(hits.table, path, what="tiles")
