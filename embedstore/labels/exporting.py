"""Export of labels: a GeoJSON file for each slide with annotations, and a table of all other labels."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from embedstore.annotations import Origin
from embedstore.errors import ExportError
from embedstore.labels.files.label_geojson import write_label_geojson
from embedstore.output_files import atomic_write, slide_path
from embedstore.store import Label, SlideRow

#: Kinds of labels that GeoJSON holds as annotations.
ANNOTATED = ("area", "point", "rest")
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
    labels: Sequence[Label],
    slides: Mapping[str, SlideRow],
    out: str | Path,
    *,
    task: str,
    origin: Origin = "bounds",
) -> list[Written]:
    """Write labels so that importing the files again gives the same labels.

    A folder gets SLIDE.geojson with the areas, points and rests of each slide, and labels.csv with the labels of
    tiles, slides and patients. A .csv or .parquet file takes all labels but areas, a .geojson file the annotations of
    one slide.

    Args:
        labels: Labels of one task.
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
        areas = sum(label.geometry is not None for label in labels)
        if areas:
            raise ExportError(
                f"{out}: a table cannot hold the {areas} areas of task {task!r}; name a folder with --out"
            )
        return [_write_table(labels, out)]
    others = [label for label in labels if label.kind not in ANNOTATED]
    if suffix == ".geojson" and others:
        raise ExportError(
            f"{out}: GeoJSON cannot hold the {len(others)} labels of tiles, slides and patients of task {task!r}; "
            "name a folder with --out"
        )
    by_slide: dict[str, list[Label]] = {}
    for label in labels:
        if label.kind in ANNOTATED and label.slide_id is not None:
            by_slide.setdefault(label.slide_id, []).append(label)
    written = []
    for slide_id, labels_of_slide in sorted(by_slide.items()):
        path = slide_path(out, slide_id, ".geojson", single=len(by_slide) == 1)
        slide = slides.get(slide_id) or SlideRow(slide_id=slide_id, path="", kind="wsi")
        write_label_geojson(labels_of_slide, slide, path, task=task, origin=origin)
        written.append(Written(path=path, labels=len(labels_of_slide)))
    return [*written, _write_table(others, out / TABLE_NAME)] if others else written


def _write_table(labels: Sequence[Label], path: Path) -> Written:
    with atomic_write(path) as part:
        if path.suffix.lower() == ".parquet":
            columns = {name: [getattr(label, name) for label in labels] for name in COLUMNS}
            pa.parquet.write_table(pa.table(columns), part)
        else:
            with part.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS)
                for label in labels:
                    written_at = label.created_at and label.created_at.isoformat()
                    writer.writerow([*(getattr(label, name) for name in COLUMNS[:-1]), written_at])
    return Written(path=path, labels=len(labels))
