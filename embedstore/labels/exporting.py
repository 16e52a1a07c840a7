"""Export of labels: a GeoJSON file for each slide with annotations, and a table of all other labels."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from embedstore.annotations import Origin
from embedstore.errors import ExportError
from embedstore.labels.files.label_geojson import write_label_geojson
from embedstore.output_files import atomic_write, require_folder, require_own, slide_path
from embedstore.store import Label, SlideRow

#: Kinds of labels that GeoJSON holds as annotations.
ANNOTATED = ("area", "point", "rest")
TABLE_NAME = "labels.csv"
ROWS_AT_ONCE = 50_000  # of a CSV, whose cells are in memory: some 50 MB
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
    labels: pa.Table,
    slides: Mapping[str, SlideRow],
    out: str | Path,
    *,
    task: str,
    origin: Origin = "bounds",
) -> list[Written]:
    """Write labels so that importing the files again gives the same labels.

    A folder gets SLIDE.geojson with the areas, points and rests of each slide, and labels.csv with the labels of
    tiles, slides and patients. What embedstore did not write there is never replaced. A .csv or .parquet file takes
    all labels but areas, a .geojson file the annotations of one slide.

    Args:
        labels: Labels of one task, as rows of the table of labels.
        slides: The ledger's row of each slide, by id.
        out: Folder or file.
        task: Name of the task.
        origin: Where the coordinates of GeoJSON begin; tables are in level-0 pixels.
    Raises:
        ExportError: a file cannot hold these labels, or cannot be written to.
    """
    out = Path(out)
    suffix = out.suffix.lower()
    if suffix in (".csv", ".parquet"):
        areas = len(labels) - labels.column("geometry").null_count
        if areas:
            raise ExportError(
                f"{out}: a table cannot hold the {areas} areas of task {task!r}; name a folder with --out"
            )
        return [_write_table(labels, out)]
    if suffix != ".geojson":
        require_folder(out, or_file="a .csv, .parquet or .geojson file")
    is_drawn = pc.is_in(labels.column("kind"), value_set=pa.array(ANNOTATED))
    drawn, others = labels.filter(is_drawn), labels.filter(pc.invert(is_drawn))
    if suffix == ".geojson" and len(others):
        raise ExportError(
            f"{out}: GeoJSON cannot hold the {len(others)} labels of tiles, slides and patients of task {task!r}; "
            "name a folder with --out"
        )
    if len(others):
        require_own(  # such as the table of a folder of ready-made tiles
            out / TABLE_NAME,
            lambda line: line.strip() in (b"", ",".join(COLUMNS).encode()),
            problem="embedstore did not write the table that stands there; name another folder",
        )
    by_slide: dict[str, list[Label]] = {}
    for label in Label.from_table(drawn):
        if label.slide_id is not None:
            by_slide.setdefault(label.slide_id, []).append(label)
    written = []
    for slide_id, labels_of_slide in sorted(by_slide.items()):
        path = slide_path(out, slide_id, ".geojson", single=len(by_slide) == 1)
        slide = slides.get(slide_id) or SlideRow(slide_id=slide_id, path="", kind="wsi")
        write_label_geojson(labels_of_slide, slide, path, task=task, origin=origin)
        written.append(Written(path=path, labels=len(labels_of_slide)))
    return [*written, _write_table(others, out / TABLE_NAME)] if len(others) else written


def _write_table(labels: pa.Table, path: Path) -> Written:
    table = labels.select(COLUMNS)
    with atomic_write(path) as part:
        if path.suffix.lower() == ".parquet":
            pa.parquet.write_table(table, part)
        else:
            with part.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS)
                for start in range(0, len(table), ROWS_AT_ONCE):
                    rows = table.slice(start, ROWS_AT_ONCE)
                    writer.writerows(zip(*map(_written, rows.columns), strict=True))
    return Written(path=path, labels=len(labels))


def _written(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column as they stand in a CSV: times in ISO 8601, numbers as Python writes them."""
    if pa.types.is_string(column.type):
        return column.to_pylist()
    encoded = column.combine_chunks().dictionary_encode()  # labels of one change have one time, and many one x
    is_time = pa.types.is_timestamp(column.type)
    texts = [value.isoformat() if is_time else str(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices).to_pylist()
