"""A folder of ready-made tile images, which counts as one slide of independent tiles."""

import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embedstore.errors import SlideListError
from embedstore.slides.sources.folder import IMAGE_SUFFIXES, Folder, kind_of, scan_folder
from embedstore.slides.sources.folder_levels import FolderLevels, read_levels
from embedstore.slides.sources.image_sizes import improbable_sizes
from embedstore.slides.sources.source_summary import SHOWN, LeftOutFiles, TileFolderSummary
from embedstore.tables import UserTable, read_table

FILE_COLUMNS = ("file", "name", "tile", "image", "filename", "file_name", "path", "image_id", "id")
LABELS = "labels"  # the name of the table that lists tiles, without its suffix


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


@dataclass(frozen=True, kw_only=True)
class TileFolder:
    """The tiles of a folder.

    Attributes:
        names: Paths relative to the folder, posix, sorted.
        labels: Labels of those that have one, in the same order.
        meaning: Where labels come from, in words.
        patients: Number of patients.
        notes: What else a user may want to know of the labels.
        warnings: What is possible, but improbable.
    """

    names: tuple[str, ...]
    labels: tuple[TileLabel, ...]
    meaning: str
    patients: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def summary(self, slide_id: str, path: str) -> TileFolderSummary:
        """What is told of it before and after an ingest."""
        return TileFolderSummary(
            slide_id=slide_id,
            path=path,
            tiles=len(self.names),
            classes=dict(sorted(Counter(label.label for label in self.labels).items())),
            splits=dict(sorted(Counter(label.split for label in self.labels if label.split).items())),
            patients=self.patients,
            meaning=self.meaning,
        )


def read_tile_folder(path: str | Path, *, tile_px: int) -> TileFolder:
    """The tiles of a folder, their labels, and what is improbable about them.

    Tiles are the images in the folder and its sub-folders. A tile that labels.csv lists and that does not exist is
    included, so that it counts as unreadable.

    Labels come from the columns file, label, split and patient (or group) of a table labels.csv. Without one they come
    from the names of the sub-folders, as `read_levels` understands them.

    Args:
        path: The folder.
        tile_px: Edge of the tiles that are embedded; much larger images are improbable.
    Raises:
        SlideListError: labels.csv cannot be read, or names a file twice.
    """
    root = Path(path)
    folder = scan_folder(root, LeftOutFiles(root), all_images=True)
    images = folder.image_names()
    notes, warnings = list[str](), list[str]()
    table = folder.table(LABELS)
    if table is not None and (listed := match_images(table, images, notes, warnings)):
        names = tuple(sorted(listed.keys() | set(images)))
        labels = tuple(listed[name] for name in names if name in listed and listed[name].label)
        patients = len({row.patient for row in listed.values() if row.patient})
        meaning = f"from {table.name}"
        if unlisted := len(names) - len(listed):
            meaning += f", which does not list {unlisted:,} of them"
    else:
        levels = read_levels(tile_folders(folder))
        names, labels = tuple(images), tuple(_labels_of_paths(images, levels))
        patients = len({row.patient for row in labels if row.patient})
        meaning = levels.meaning()
        warnings += levels.doubts
    if len(classes := {label.label for label in labels}) == 1:
        warnings.append(f"all tiles with a class are {next(iter(classes))!r}; a head needs two classes")
    warnings += improbable_sizes(root, images, tile_px=tile_px)
    return TileFolder(
        names=names, labels=labels, meaning=meaning, patients=patients, notes=tuple(notes), warnings=tuple(warnings)
    )


def tile_folders(folder: Folder) -> list[tuple[str, ...]]:
    """The folders with images directly in them, each as its path relative to the given folder, in parts."""
    start = len(folder.path.parts)
    return [below.path.parts[start:] for below in folder.walk() if below.images]


def _labels_of_paths(names: Iterable[str], levels: FolderLevels) -> Iterable[TileLabel]:
    for name in names:
        folders = name.split("/")[:-1]

        def at(level: int | None, folders: Sequence[str] = folders) -> str | None:
            return folders[level] if level is not None and level < len(folders) else None

        if (label := at(levels.label)) is not None:
            yield TileLabel(name=name, label=label, split=at(levels.split), patient=at(levels.patient))


# -- labels.csv -----------------------------------------------------------------------------


def match_images(table: Path, images: Sequence[str], notes: list[str], warnings: list[str]) -> dict[str, TileLabel]:
    """The rows of a labels.csv by the image that each names; none where it lists no image.

    A row names an image by its path relative to the table's folder, with / or \\, by an absolute path (also one of
    another machine), or by its name, with or without suffix, where that tells the image apart.

    Args:
        table: The table.
        images: Paths of the images in its folder and below, relative to that folder, posix.
        notes, warnings: Take what is told of the table, and what is improbable.
    Returns:
        {image: label, "" where the row has none}; an image that is not there stands as it is written.
    Raises:
        SlideListError: the table cannot be read, or lists an image twice.
    """
    read = read_table(table, error=SlideListError)
    rows = _rows(read)
    notes += read.notes
    by_stem: dict[str, list[str]] = {}
    for image in images:
        by_stem.setdefault(_stem(image), []).append(image)
    there, labels, missing = set(images), dict[str, TileLabel](), list[str]()
    for number, row in rows.items():
        name = row.name if row.name in there else _match(row.name, by_stem, table.parent)
        if name is None:
            name = posixpath.normpath(row.name)
            if kind_of(table.parent / name) == "missing":
                missing.append(row.name)
        if name in labels:
            raise read.error(f"{row.name!r} is listed twice; expected one row a tile", [number])
        labels[name] = replace(row, name=name)
    some = f"{', '.join(map(repr, missing[:SHOWN]))}{', …' if len(missing) > SHOWN else ''}"
    if not (labels.keys() & there or any(map(_is_image, labels))):
        found = f"it lists {some}" if missing else "it has no such column"
        warnings.append(
            f"{table} lists no image and is not used; expected a column file, with paths of images; {found}"
        )
        return {}
    if missing:
        warnings.append(f"{table}: {len(missing):,} of {len(rows):,} rows name no image that is there: {some}")
    return labels


def _match(listed: str, by_stem: dict[str, list[str]], root: Path) -> str | None:
    """The one image whose path ends as the listed one does, compared as far as both go."""
    path = listed.replace("\\", "/")
    *folders, file = [part for part in posixpath.normpath(path).split("/") if part]
    best: dict[int, list[str]] = {}
    for image in by_stem.get(_stem(file), []):
        *above, name = image.split("/")
        shared = min(len(above), len(folders))
        same_file = name.lower() == file.lower() or not _is_image(file)
        elsewhere = len(folders) > shared and not _is_absolute(path) and folders[-shared - 1] != root.name
        if same_file and not elsewhere and above[len(above) - shared :] == folders[len(folders) - shared :]:
            best.setdefault(shared, []).append(image)
    candidates = best[max(best)] if best else []
    return candidates[0] if len(candidates) == 1 else None


def _is_absolute(path: str) -> bool:
    return path.startswith("/") or path[1:3] == ":/"


def _is_image(name: str) -> bool:
    return posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _stem(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    return posixpath.splitext(name)[0] if _is_image(name) else name


def _rows(table: UserTable) -> dict[int, TileLabel]:
    """The rows that name a file, by their number, as they are written; none where no column holds names of files."""
    file = table.find(*FILE_COLUMNS)
    if file is None:
        return {}
    columns = [
        [None] * len(table) if name is None else table.text(name)
        for name in (file, table.find("label", "class"), table.find("split"), table.find("patient", "group"))
    ]
    return {
        number: TileLabel(name=name, label=label or "", split=split, patient=patient)
        for number, (name, label, split, patient) in enumerate(zip(*columns, strict=True))
        if name is not None
    }
