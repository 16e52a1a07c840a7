"""A folder of ready-made tile images, which counts as one slide of independent tiles."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embedstore.errors import SlideListError

LABELS = "labels.csv"
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


@dataclass(frozen=True, kw_only=True)
class TileLabel:
    """The label of a tile in a folder.

    Attributes:
        name: Path of the tile relative to the folder, posix.
        label: The class.
        split: `train`, `valid`, `test`, or another name that the folder uses.
        patient: Patient or case; None where the folder does not state it.
    """

    name: str
    label: str
    split: str | None = None
    patient: str | None = None


def list_tiles(folder: str | Path) -> tuple[tuple[str, ...], tuple[TileLabel, ...]]:
    """The tiles of a folder, sorted by name, and the labels of those that have one.

    Tiles are the images in the folder and its sub-folders. A tile that labels.csv lists and that does not exist is
    included, so that it counts as unreadable.

    Labels come from the columns file, label, split and patient (or group) of a labels.csv. Without one they come from
    the name of the sub-folder that a tile lies in, and splits from a folder above it that is called train, valid or
    test.

    Returns:
        Paths relative to the folder (posix), and labels in the same order.
    Raises:
        SlideListError: labels.csv lacks the column file, or names a file twice.
    """
    root = Path(folder)
    labels_path = root / LABELS
    labels = _read_labels(labels_path) if labels_path.is_file() else {}
    names = tuple(sorted(labels.keys() | set(_images_below(root))))
    if not labels:
        labels = {name: label for name in names if (label := _label_of_path(name)) is not None}
    return names, tuple(labels[name] for name in names if name in labels and labels[name].label)


def _images_below(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        within = Path(folder).relative_to(root).as_posix()
        for name in files:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path a file costs ten times as much
            if suffix in IMAGE_SUFFIXES and not name.startswith("."):
                yield name if within == "." else f"{within}/{name}"


def _read_labels(labels_path: Path) -> dict[str, TileLabel]:
    with open(labels_path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        columns = list(rows.fieldnames or [])
        if "file" not in columns:
            raise SlideListError(f"{labels_path}: expected a column file (then label, split, patient), found {columns}")
        labels: dict[str, TileLabel] = {}
        for line, row in enumerate(rows, start=2):
            name = Path(row["file"]).as_posix()
            if name in labels:
                raise SlideListError(f"{labels_path}, line {line}: {name!r} is listed twice")
            labels[name] = TileLabel(
                name=name,
                label=row.get("label") or "",
                split=row.get("split") or None,
                patient=row.get("patient") or row.get("group") or None,
            )
    return labels


def _label_of_path(name: str) -> TileLabel | None:
    *folders, _ = name.split("/")
    if not folders:
        return None
    split = next((part for part in folders[:-1] if part.lower() in SPLITS), None)
    if folders[-1].lower() in SPLITS:  # train/a.png: a split without classes
        return None
    return TileLabel(name=name, label=folders[-1], split=split)
