"""The files that a search can be written to, and one call that writes those that are wanted."""

from dataclasses import dataclass
from pathlib import Path

from embedstore.export.hits.hits_geojson import write_hits_geojson
from embedstore.export.hits.hits_montage import write_montage
from embedstore.export.hits.hits_page import write_page
from embedstore.export.table_file import write_rows
from embedstore.search.hits import Hits


@dataclass(frozen=True, kw_only=True)
class HitFiles:
    """The files to write; None for those that are not wanted.

    Attributes:
        montage: A picture of the query and the hits.
        page: A web page that needs no other file.
        geojson: For QuPath: a file, or a folder of one for each slide.
        table: The rows, as .csv, .parquet or .json.
    """

    montage: Path | None = None
    page: Path | None = None
    geojson: Path | None = None
    table: Path | None = None


@dataclass(frozen=True, kw_only=True)
class WrittenHits:
    """What was written.

    Attributes:
        paths: The files.
        notes: What the user should know, such as tiles without a location that QuPath cannot show.
    """

    paths: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def write_hits(hits: Hits, files: HitFiles) -> WrittenHits:
    """Write the hits of a search to the files that are named.

    Raises:
        ExportError: a file has an ending that is not known or cannot be written, or no hit has a place for QuPath.
    """
    paths: list[Path] = []
    notes: tuple[str, ...] = ()
    if files.montage is not None:
        write_montage(hits, files.montage)
        paths.append(files.montage)
    if files.page is not None:
        write_page(hits, files.page)
        paths.append(files.page)
    if files.geojson is not None:
        geojson = write_hits_geojson(hits, files.geojson)
        paths += geojson.paths.values()
        notes = geojson.notes
    if files.table is not None:
        write_hits_table(hits, files.table)
        paths.append(files.table)
    return WrittenHits(paths=tuple(paths), notes=notes)


def write_hits_table(hits: Hits, path: str | Path) -> int:
    """Write the rows as the path's ending says, .csv, .parquet or .json, nearest first.

    Returns:
        How many rows were written.
    Raises:
        ExportError: the path has another ending, or is a folder.
    """
    return write_rows(hits.table, path, what="tiles")
