"""Find slides in folders and lists, or by name; no slide is opened here."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from embedstore.errors import SlideError, SlideListError, SlideNotFoundError
from embedstore.slides.readers.dicom_series import DicomHeader, is_dicom, read_header
from embedstore.slides.readers.tiff_reader import is_tiled_tiff
from embedstore.slides.sources.slide_list import LIST_SUFFIXES, read_slide_list
from embedstore.slides.sources.source import SlideSource
from embedstore.slides.sources.tile_folder import IMAGE_SUFFIXES, LABELS, SPLITS

log = logging.getLogger(__name__)

# What OpenSlide 4 opens, by suffix; .tif and .tiff are slides where they are tiled, ready-made tiles otherwise.
SLIDE_SUFFIXES = frozenset({".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi"})
TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic"})


def find_slides(paths: Sequence[str | Path], *, mpp: float | None = None) -> list[SlideSource]:
    """Find the slides that paths name.

    A path is one of
    - a file of any suffix;
    - a folder, searched with all its sub-folders for files that OpenSlide opens; a DICOM series is one slide;
    - a folder of ready-made tiles: one with a labels.csv that lists images, or one of images only, with or without
      class sub-folders (in a folder that holds slides, images without a labels.csv count as thumbnails, and are left
      out);
    - a list (CSV, Excel, Parquet or Arrow) with a column `path`, relative to the list's folder, and optional columns
      slide_id, mpp and tissue; any other column becomes metadata.

    Args:
        paths: Files, folders and lists.
        mpp: Level-0 resolution of the slides for which no list gives one, µm/px.
    Returns:
        The slides, sorted by `slide_id`.
    Raises:
        SlideNotFoundError: there is nothing at a path.
        SlideListError: a list is malformed, or two slides have the same id; the message names both.
    """
    sources: dict[str, SlideSource] = {}
    series: dict[str, str] = {}
    for path in paths:
        for source in _find(Path(path), series):
            namesake = sources.get(source.slide_id)
            if namesake is not None and namesake.path == source.path:
                continue  # the same slide named twice
            if namesake is not None:
                raise SlideListError(
                    f"two slides have the id {source.slide_id!r}: {namesake.path!r} and {source.path!r}; "
                    "give a list with a column slide_id"
                )
            sources[source.slide_id] = source if source.mpp is not None else replace(source, mpp=mpp)
    return [sources[slide_id] for slide_id in sorted(sources)]


def _find(path: Path, series: dict[str, str]) -> Iterator[SlideSource]:
    """The slides that one path names; `series`: {DICOM file: level-0 file of its series} of the folders read so far."""
    absolute = path.expanduser().absolute()
    if absolute.is_dir():
        yield from _find_in_folder(absolute)
    elif not absolute.exists():
        raise SlideNotFoundError(f"no file or folder at {str(path)!r}")
    elif absolute.suffix.lower() in LIST_SUFFIXES:
        yield from _find_in_list(absolute)
    else:
        if absolute.suffix.lower() in DICOM_SUFFIXES:  # level-*.dcm names one slide, not twelve
            absolute = _level_0_file(absolute, series)
        yield SlideSource(slide_id=absolute.name, path=str(absolute), kind="wsi")


def _level_0_file(path: Path, series: dict[str, str]) -> Path:
    if str(path) not in series:
        folder = _Folder(path.parent, dicom=[file.name for file in path.parent.iterdir() if file.is_file()])
        for finest, files in _series_of(folder):
            series.update(dict.fromkeys(files, finest))
    return Path(series.get(str(path), path))


# -- lists ----------------------------------------------------------------------------------


def _find_in_list(list_path: Path) -> Iterator[SlideSource]:
    rows, notes = read_slide_list(list_path)
    for note in notes:
        log.warning(note)
    for row in rows:
        written = Path(row.path)
        path = Path(os.path.normpath(list_path.parent / written.expanduser()))
        is_folder = path.is_dir()
        is_series = is_folder and _holds_dicom(path)
        default_id = path.name if written.is_absolute() else written.as_posix().removeprefix("./")
        yield SlideSource(
            slide_id=default_id if row.slide_id is None else row.slide_id,
            path=_only_series(path, list_path) if is_series else str(path),
            kind="tiles" if is_folder and not is_series else "wsi",
            mpp=row.mpp,
            tissue=None if row.tissue is None else os.path.normpath(list_path.parent / Path(row.tissue).expanduser()),
            metadata=row.metadata,
        )


def _holds_dicom(folder: Path) -> bool:
    return any(path.suffix.lower() in DICOM_SUFFIXES for path in folder.iterdir())


def _only_series(folder: Path, list_path: Path) -> str:
    """The level-0 file of the one DICOM series in a folder that a list names."""
    tree = _scan(folder, seen=set())
    files = [] if tree is None else _level_0_files(tree)
    if len(files) != 1:
        raise SlideListError(
            f"{list_path}: {str(folder)!r} holds {len(files)} DICOM slides; expected one, or name a file"
        )
    return str(files[0])


# -- folders --------------------------------------------------------------------------------


@dataclass
class _Folder:
    """The content of a folder by kind, and its sub-folders.

    Attributes:
        path: The folder.
        slides: Names of slide files directly in it.
        images: Names of other images.
        dicom: Names of DICOM files.
        children: Sub-folders that hold any of these.
        labelled: It has a labels.csv that lists images.
    """

    path: Path
    slides: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    dicom: list[str] = field(default_factory=list)
    children: list["_Folder"] = field(default_factory=list)
    labelled: bool = False

    def has_slides(self) -> bool:
        return bool(self.slides or self.dicom) or any(child.has_slides() for child in self.children)


def _find_in_folder(root: Path) -> Iterator[SlideSource]:
    tree = _scan(root, seen=set())
    if tree is None:
        return
    yield from _sources(tree, root, images_are_tiles=not tree.has_slides())


def _sources(folder: _Folder, root: Path, *, images_are_tiles: bool) -> Iterator[SlideSource]:
    """Slides of a folder and its sub-folders; without `images_are_tiles`, tile folders are those with a labels.csv."""
    if folder.labelled or (images_are_tiles and _is_tile_folder(folder)):
        yield SlideSource(slide_id=_id(folder.path, root) or root.name, path=str(folder.path), kind="tiles")
        return
    for name in folder.slides:
        path = folder.path / name
        yield SlideSource(slide_id=_id(path, root), path=str(path), kind="wsi")
    for path in _level_0_files(folder):
        yield SlideSource(slide_id=_id(path, root), path=str(path), kind="wsi")
    if folder.images:
        log.info(
            "%s: %d images next to slides left out; list them in a labels.csv to take them as tiles",
            folder.path,
            len(folder.images),
        )
    for child in folder.children:
        yield from _sources(child, root, images_are_tiles=images_are_tiles)


def _id(path: Path, root: Path) -> str:
    relative = path.relative_to(root).as_posix()
    return "" if relative == "." else relative


def _is_tile_folder(folder: _Folder) -> bool:
    """Whether images lie in it, in its class sub-folders, or in class sub-folders of train, valid and test."""
    if folder.slides or folder.dicom:
        return False
    if folder.images:
        return not folder.children or all(_is_tile_folder(child) for child in folder.children)
    if not folder.children:
        return False
    if all(child.images and not child.children and not child.labelled for child in folder.children):
        return True
    return all(child.path.name.lower() in SPLITS and _is_tile_folder(child) for child in folder.children)


def _scan(path: Path, seen: set[tuple[int, int]]) -> _Folder | None:
    """A folder with its sub-folders; None for one that was read before (a link that leads back)."""
    status = path.stat()
    if (status.st_dev, status.st_ino) in seen:
        return None
    seen.add((status.st_dev, status.st_ino))
    folder, subfolders = _Folder(path), []
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                subfolders.append(entry.name)
            elif entry.is_file() or (entry.is_symlink() and not Path(entry).exists()):  # pipes and devices block
                _add_file(folder, entry.name)
    folder.labelled = not folder.slides and not folder.dicom and _lists_images(path / LABELS)
    if folder.labelled:
        return folder  # all images below it are tiles
    companions = {Path(name).stem for name in folder.slides if name.lower().endswith(".mrxs")}
    for name in subfolders:
        if name in companions:
            continue  # the data of an MRXS slide
        child = _scan(path / name, seen)
        if child is not None and (child.slides or child.images or child.dicom or child.children or child.labelled):
            folder.children.append(child)
    return folder


def _add_file(folder: _Folder, name: str) -> None:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path a file costs 10,000 files half a second
    if suffix in SLIDE_SUFFIXES:
        folder.slides.append(name)
    elif suffix in TIFF_SUFFIXES:
        (folder.slides if is_tiled_tiff(folder.path / name) else folder.images).append(name)
    elif suffix in IMAGE_SUFFIXES:
        folder.images.append(name)
    elif suffix in DICOM_SUFFIXES or (not suffix and _begins_as_dicom(folder.path / name)):
        folder.dicom.append(name)


def _begins_as_dicom(path: Path) -> bool:
    try:
        return is_dicom(path)
    except OSError:
        return False


def _lists_images(labels_path: Path) -> bool:
    """Whether a labels.csv lists images; next to slides it may hold labels of slides instead."""
    if not labels_path.is_file():
        return False
    with open(labels_path, encoding="utf-8-sig", errors="replace") as file:
        columns, first = file.readline().strip().split(","), file.readline().strip().split(",")
    if "file" not in columns or len(first) != len(columns):
        return False
    return Path(first[columns.index("file")]).suffix.lower() in IMAGE_SUFFIXES


def _level_0_files(folder: _Folder) -> list[Path]:
    """The file of the finest level of each DICOM slide in a folder; an unreadable file counts as a slide."""
    return sorted(Path(finest) for finest, _ in _series_of(folder))


def _series_of(folder: _Folder) -> list[tuple[str, list[str]]]:
    """(level-0 file, all files) of each DICOM series in a folder."""
    members: dict[str, list[DicomHeader]] = {}
    for name in folder.dicom:
        path = folder.path / name
        try:
            header = read_header(path)
        except SlideError:
            header = DicomHeader(path=str(path), series=str(path), whole_slide=True, volume=True, size=(0, 0))
        if header.whole_slide:
            members.setdefault(header.series, []).append(header)
        else:
            log.info("%s: DICOM, but not a whole-slide image; left out", path)
    return [
        (max(files, key=lambda header: (header.volume, header.size[0])).path, [header.path for header in files])
        for files in members.values()
    ]
