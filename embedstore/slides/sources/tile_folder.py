"""A folder of ready-made tile images, which counts as one slide of independent tiles."""

import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embedstore.class_names import alike_note
from embedstore.errors import SlideListError
from embedstore.quantities import first_few
from embedstore.slides.sources.folder import (
    IMAGE_SUFFIXES,
    Folder,
    is_tiff,
    kind_of,
    nested_folders,
    real_paths,
    scan_folder,
)
from embedstore.slides.sources.folder_levels import SPLIT, FolderLevels, read_levels
from embedstore.slides.sources.image_sizes import improbable_sizes
from embedstore.slides.sources.source_summary import LeftOutFiles, TileFolderSummary
from embedstore.tables import PATIENT_COLUMNS, UserTable, read_table

# Names of the column of files; where a table has several, the first that names images counts.
FILE_COLUMNS = (
    "file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "image_name", "img",
    "img_path", "tile", "tile_path", "tile_name", "patch", "patch_path", "name", "image_id", "tile_id", "id",
)  # fmt: skip
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
    folder = scan_folder(root, LeftOutFiles(root))
    images, tiled = folder.image_names(), folder.tiled_names()
    notes, warnings = list[str](), list[str]()
    table = folder.table(LABELS)
    if table is not None and (listed := match_images(table, sorted([*images, *tiled]), notes, warnings)):
        alone = listed.keys() >= set(folder.slide_names())  # beside slides, an image that is not listed is no tile
        unlisted = [name for name in images if alone and name not in listed]
        names = tuple(sorted([*listed, *unlisted]))
        labels = tuple(listed[name] for name in names if name in listed and listed[name].label)
        patients = len({row.patient for row in listed.values() if row.patient})
        meaning = f"from {table.name}" + (f", which does not list {len(unlisted):,} of them" if unlisted else "")
    else:
        levels = read_levels(tile_folders(folder))
        names = tuple(sorted([*images, *tiled]))
        labels = tuple(_labels_of_paths(names, levels))
        patients = len({row.patient for row in labels if row.patient})
        meaning = levels.meaning()
        warnings += levels.doubts
    warnings += alike_note(label.label for label in labels)
    if len(classes := {label.label for label in labels}) == 1:
        warnings.append(f"all tiles with a class are {next(iter(classes))!r}; a head needs two classes")
    warnings += improbable_sizes(root, names, tile_px=tile_px)
    return TileFolder(
        names=names, labels=labels, meaning=meaning, patients=patients, notes=tuple(notes), warnings=tuple(warnings)
    )


def improbable_together(folders: Sequence[TileFolderSummary]) -> Iterator[str]:
    """What is improbable about several tile folders of one call, which are tasks of their own."""
    real_path = real_paths()
    paths = {real_path(folder.path): folder.slide_id for folder in folders}
    yield from (f"tile folder {pair}: their tiles are taken twice" for pair in nested_folders(paths, paths))
    siblings: dict[Path, list[TileFolderSummary]] = {}
    for folder in folders:
        siblings.setdefault(Path(folder.path).parent, []).append(folder)
    for parent, members in siblings.items():
        names = [Path(folder.path).name for folder in members]
        if len(members) > 1 and all(len(folder.classes) <= 1 for folder in members):
            yield (
                f"{len(members)} tile folders in {parent} have one class or none each ({first_few(names)}): if "
                "they are classes of one task, give the folder above them, or list all tiles in a labels.csv there"
            )
        elif len(members) > 1 and all(map(SPLIT.fullmatch, names)):
            yield f"the tile folders {first_few(names)} are tasks of their own; a labels.csv above makes them one"


def tile_folders(folder: Folder) -> list[tuple[str, ...]]:
    """The folders with images directly in them, each as its path relative to the given folder, in parts."""
    start = len(folder.path.parts)
    return [below.path.parts[start:] for below in folder.walk() if below.images or any(map(is_tiff, below.slides))]


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
    by_name, there = _by_name(images), set(images)

    def image(listed: str | None) -> str | None:
        """The image that a row names; also one outside of the folder."""
        if listed is None or listed in there:
            return listed
        path = posixpath.normpath(listed)
        return _match(listed, by_name, table.parent) or (
            path if _is_image(path) and kind_of(table.parent / path) == "file" else None
        )

    columns = [column for name in FILE_COLUMNS if (column := read.find(name)) is not None]
    found = {column: list(map(image, read.text(column))) for column in columns}
    column = next((column for column in columns if any(found[column])), None)
    if column is None:
        notes += read.notes
        lists = (
            f"it lists {first_few(list(filter(None, read.text(columns[0]))))}"
            if columns
            else f"it has {first_few(read.names)}"
        )
        warnings.append(f"{table} lists no image that is there, and is not used; expected a column file; {lists}")
        return {}
    labels, missing = dict[str, TileLabel](), list[str]()
    for row, (listed, name, label) in enumerate(zip(read.text(column), found[column], _labels(read), strict=True)):
        if listed is None:
            continue
        if name is None:
            name = posixpath.normpath(listed)
            missing.append(listed)
        if name in labels:
            raise read.error(f"{listed!r} is listed twice; expected one row a tile", [row])
        labels[name] = replace(label, name=name)
    notes += read.notes
    if missing:
        warnings.append(
            f"{table}: {len(missing):,} of {len(read):,} rows name no image that is there: {first_few(missing)}"
        )
    if not any(label.label for label in labels.values()):
        warnings.append(f"{table} has no class; expected a column label (or class)")
    return labels


def _by_name(images: Sequence[str]) -> dict[str, list[str]]:
    """{name of the file, without suffix: images of that name}, in small letters."""
    by_name: dict[str, list[str]] = {}
    for image in images:
        by_name.setdefault(_stem(image), []).append(image)
    return by_name


def _match(listed: str, by_name: dict[str, list[str]], root: Path) -> str | None:
    """The one image whose path ends as the listed one does, compared as far as both go."""
    path = listed.replace("\\", "/")
    *folders, file = [part for part in posixpath.normpath(path).split("/") if part]
    best: dict[int, list[str]] = {}
    for image in by_name.get(_stem(file), []):
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


def _labels(table: UserTable) -> Iterator[TileLabel]:
    """What each row says of its tile, without its name."""
    columns = (table.find("label", "class"), table.find("split"), table.find(*PATIENT_COLUMNS, "group"))
    texts = ([None] * len(table) if column is None else table.text(column) for column in columns)
    for label, split, patient in zip(*texts, strict=True):
        yield TileLabel(name="", label=label or "", split=split, patient=patient)
