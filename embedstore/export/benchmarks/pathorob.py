"""Labelled tiles of several sites as PathoROB reads them: a table of tiles, and their vectors for each site."""

import csv
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import JoinConfig
from embedstore.errors import ConfigError, ExportError
from embedstore.labels import join_labels
from embedstore.layouts.writing import slide_names
from embedstore.output_files import atomic_write, file_name
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.store import Collection, Store, TileLocations, read_tile_locations
from embedstore.store.vectors import finite_blocks
from embedstore.typed_values import guess


def write_pathorob(
    out: Path, store: Store, collection: Collection, task: str, labels: pa.Table, *, site: str,
    on_progress: OnProgress = no_progress,
) -> list[Path]:  # fmt: skip
    """Write OUT/metadata/TASK.csv and OUT/features/EXTRACTOR/TASK/SITE.npz, a vector for each `slide_id-patch_id`.

    A tile is called by its place and edge, `x_y_edge` in level-0 pixels, or by its file.

    Args:
        labels: Rows of the table of labels.
        site: The column of the slides that names their medical centre.
    Raises:
        TaskNotFoundError, LabelError: no tile has a label.
        ConfigError: slides have no such column.
        ExportError: no labelled tile is of a known site.
        VectorError: a vector is not finite.
    """
    rows = {row.slide_id: row.as_record() for row in store.ledger.slides()}
    columns = sorted({name for row in rows.values() for name in row})
    if site not in columns:
        raise ConfigError(f"slides have no column {site!r}; they have {', '.join(columns)}{guess([site], columns)}")
    collection = collection.pinned()
    tiles = read_tile_locations(collection)
    targets = join_labels(tiles, labels, store.ledger.patients(), task=task, config=JoinConfig(), min_classes=1)
    centre = np.array([str(rows.get(slide, {}).get(site) or "") for slide in tiles.slides], object)
    chosen = np.flatnonzero(targets.labelled & (centre[tiles.slide] != ""))
    if not len(chosen):
        raise ExportError(
            f"no labelled tile of task {task!r} is of a slide with a {site!r}; give it in the list of slides"
        )
    names = slide_names(tiles.slides, flat=True)
    classes = targets.targets[chosen].argmax(axis=1)
    patch = [_patch_id(tiles, i) for i in chosen.tolist()]
    slides = [names[tiles.slides[i]] for i in tiles.slide[chosen]]
    table = out / "metadata" / f"{_one_name(task)}.csv"
    with atomic_write(table) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["subset", "slide_id", "patch_id", "biological_class", "medical_center"])
        centres = centre[tiles.slide[chosen]]
        for row in zip(slides, patch, (targets.classes[k] for k in classes), centres, strict=True):
            writer.writerow(["ID", *row])
    folder = out / "features" / _one_name(collection.extractor().name) / _one_name(task)
    paths = [table]
    for name in sorted(set(centres)):
        of_site = np.flatnonzero(centres == name)
        keys = [f"{slides[i]}-{patch[i]}" for i in of_site]
        paths.append(folder / f"{_one_name(name.replace(' ', '_'))}.npz")
        _write_vectors(paths[-1], collection, tiles.version, tiles.row[chosen[of_site]], keys)
        on_progress(Progress(stage="export", done=len(paths) - 1, unit="sites"))
    return paths


def _one_name(name: str) -> str:
    """A name as that of one file or folder, which stays where it is put."""
    name = file_name(name.replace("/", "_"))
    return "_" if name in ("", ".", "..") else name


def _patch_id(tiles: TileLocations, i: int) -> str:
    tile = tiles.location(i)
    return f"{tile.x}_{tile.y}_{tile.edge_l0}" if tile.name is None else tile.name


def _write_vectors(
    path: Path, collection: Collection, version: int, rows: NDArray[np.int64], keys: list[str]
) -> None:  # fmt: skip
    """An .npz of an array (dim,) for each key, as `np.load` gives them; memory holds a block of them."""
    with atomic_write(path) as part, zipfile.ZipFile(part, "w") as archive:
        for at, block in finite_blocks(collection, rows, version):
            for key, vector in zip(keys[at], block.astype(np.float32), strict=True):
                with archive.open(f"{key}.npy", "w") as file:
                    np.lib.format.write_array(file, vector)
