"""Labels on their way out: GeoJSON a slide for what is drawn, a table for the rest of them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from embedstore.errors import ExportError
from embedstore.labels.files.annotations import Origin
from embedstore.labels.files.geojson import write_label_geojson
from embedstore.output_files import atomic_write, slide_path
from embedstore.store import SlideRow

DRAWN = ("area", "point", "rest")
TABLE_NAME = "labels.csv"
#: Columns of a table; import reads all but the last three.
COLUMNS = (
    "kind",
    "slide_id",
    "name",
    "x",
    "y",
    "edge_l0",
    "label",
    "split",
    "patient",
    "author",
    "source",
    "created_at",
)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file that was written, and how many labels it holds."""

    path: Path
    labels: int


def write_labels(
    rows: Sequence[Mapping[str, Any]],
    slides: Mapping[str, SlideRow],
    out: str | Path,
    *,
    task: str,
    origin: Origin = "bounds",
) -> list[Written]:
    """Write labels so that importing the files again gives the same.

    A folder gets SLIDE.geojson with the areas, points and rests of each slide, and labels.csv with the labels of
    tiles, slides and patients. A file .csv or .parquet takes all but areas, a file .geojson what is drawn on one slide.

    Args:
        rows: Rows of the table of labels, of one task.
        slides: The ledger's row of each slide, by id.
        out: Folder or file.
        task: Name of the task.
        origin: Where the coordinates of GeoJSON begin; tables are in level-0 pixels.
    Raises:
        ExportError: a file cannot hold what is to be written, or cannot be written to.
    """
    out = Path(out)
    suffix = out.suffix.lower()
    if suffix in (".csv", ".parquet"):
        areas = sum(row["geometry"] is not None for row in rows)
        if areas:
            raise ExportError(
                f"{out}: a table cannot hold the {areas} areas of task {task!r}; name a folder with --out"
            )
        return [_write_table(rows, out)]
    drawn = [row for row in rows if row["kind"] in DRAWN]
    others = [row for row in rows if row["kind"] not in DRAWN]
    if suffix == ".geojson" and others:
        raise ExportError(
            f"{out}: GeoJSON cannot hold the {len(others)} labels of tiles, slides and patients of task {task!r}; "
            "name a folder with --out"
        )
    by_slide: dict[str, list[Mapping[str, Any]]] = {}
    for row in drawn:
        by_slide.setdefault(row["slide_id"], []).append(row)
    written = []
    for slide_id, theirs in sorted(by_slide.items()):
        path = slide_path(out, slide_id, ".geojson", single=len(by_slide) == 1)
        slide = slides.get(slide_id) or SlideRow(slide_id=slide_id, path="", kind="wsi")
        write_label_geojson(theirs, slide, path, task=task, origin=origin)
        written.append(Written(path=path, labels=len(theirs)))
    return [*written, _write_table(others, out / TABLE_NAME)] if others else written


def _write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> Written:
    with atomic_write(path) as part:
        if path.suffix.lower() == ".parquet":
            pa.parquet.write_table(pa.table({name: [row[name] for row in rows] for name in COLUMNS}), part)
        else:
            with part.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS)
                writer.writerows([_cell(row[name]) for name in COLUMNS] for row in rows)
    return Written(path=path, labels=len(rows))


def _cell(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
