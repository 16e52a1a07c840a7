"""The files of a folder and of all folders below it, by kind; what is not looked at is counted with the reason."""

import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from embedstore.slides.readers.dicom_series import DICOM_SUFFIXES, is_dicom
from embedstore.slides.readers.tiff_images import is_tiled_tiff
from embedstore.slides.readers.zarr_image import find_images
from embedstore.slides.sources.source_summary import LeftOutFiles
from embedstore.tables import TABLE_SUFFIXES
from embedstore.uris import is_uri
from embedstore.zarr_files import is_zarr

# What OpenSlide 4 opens, by suffix; .tif and .tiff are slides where they are tiled, ready-made tiles otherwise.
SLIDE_SUFFIXES = frozenset({".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi"})
TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
# What OpenCV decodes.
IMAGE_SUFFIXES = TIFF_SUFFIXES | {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".webp", ".jp2", ".avif", ".gif", ".ppm", ".pgm", ".pnm",
}  # fmt: skip
PACKED_SUFFIXES = frozenset(
    {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".h5", ".hdf5", ".npy", ".npz"}
)
FOREIGN_SUFFIXES = frozenset(
    {".isyntax", ".kfb", ".sdpc", ".tmap", ".mds", ".vsi", ".lif", ".nd2", ".qptiff", ".zvi", ".lsm", ".oir", ".btf"}
)
FOREIGN_FOLDERS = frozenset({".n5", ".ets"})
ZARR_SUFFIX = ".zarr"
# Folders that file servers, archivers and operating systems put beside the user's files.
SYSTEM_FOLDERS = re.compile(
    r"@\w.*|\$\w.*|#recycle|#snapshot|~snapshot|__macosx|__pycache__|lost\+found|recycler|found\.\d+|"
    r"system volume information|network trash folder|temporary items|.*\.lance",
    re.IGNORECASE,
)
Kind = Literal["folder", "file", "special", "missing"]
MOST_DEPTH = 64  # folders within folders; deeper ones are a mistake, and Python's recursion ends at 1,000


@dataclass
class Folder:
    """The content of a folder by kind, and its sub-folders.

    Attributes:
        path: The folder.
        slides: Names of slide files directly in it.
        images: Names of other images.
        dicom: Names of DICOM files.
        tables: Names of CSV and other tables.
        zarr: Names of Zarr folders that hold an image, each with the file that names the image.
        children: Sub-folders that hold any of these.
    """

    path: Path
    slides: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    dicom: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    zarr: dict[str, Path] = field(default_factory=dict)
    children: list["Folder"] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.slides or self.images or self.dicom or self.tables or self.zarr or self.children)

    def walk(self) -> Iterator["Folder"]:
        """The folder, and all folders below it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def table(self, stem: str) -> Path | None:
        """The table directly in it that is called so, whatever its suffix and capitals; .csv before others."""
        named = [name for name in self.tables if os.path.splitext(name)[0].lower() == stem]  # noqa: PTH122
        return self.path / min(named, key=lambda name: (not name.lower().endswith(".csv"), name)) if named else None

    def image_names(self) -> list[str]:
        """Paths of all images in it and below it, relative to it, posix, sorted."""
        return sorted(within + name for within, folder in self._places() for name in folder.images)

    def slide_names(self) -> list[str]:
        """Paths of all slides, of DICOM every file, of Zarr the folder, as `image_names`."""
        return sorted(
            within + name for within, folder in self._places() for name in (*folder.slides, *folder.dicom, *folder.zarr)
        )

    def tiled_names(self) -> list[str]:
        """Paths of tiled TIFFs, which count as slides where no labels.csv lists them, as `image_names`."""
        return list(filter(is_tiff, self.slide_names()))

    def _places(self) -> Iterator[tuple[str, "Folder"]]:
        start = len(self.path.parts)
        for folder in self.walk():
            yield "".join(f"{part}/" for part in folder.path.parts[start:]), folder


def scan_folder(path: Path, left_out: LeftOutFiles) -> Folder:
    """Sort the files of a folder, and of all folders below it, by kind.

    Args:
        path: The folder, absolute.
        left_out: Takes what is not looked at: hidden and system folders, those that cannot be read, pipes.
    """
    return _scan(path, left_out, set(), depth=0)


def _scan(path: Path, left_out: LeftOutFiles, seen: set[tuple[int, int]], depth: int) -> Folder:
    folder = Folder(path)
    try:
        status = path.stat()
        with os.scandir(path) as iterator:
            entries = sorted(iterator, key=lambda entry: entry.name)
    except OSError as error:
        left_out.add("unreadable", path, error.strerror)
        return folder
    if (status.st_dev, status.st_ino) in seen or depth > MOST_DEPTH:
        left_out.add("again" if depth <= MOST_DEPTH else "deep", path)
        return folder
    seen.add((status.st_dev, status.st_ino))
    subfolders: list[os.DirEntry[str]] = []
    for entry in entries:
        kind = kind_of(entry)
        if not is_text(entry.name):
            left_out.add("not text", path / entry.name)
        elif entry.name.startswith("."):
            if kind == "folder" or suffix_of(entry.name) in SLIDE_SUFFIXES | IMAGE_SUFFIXES | DICOM_SUFFIXES:
                left_out.add("hidden", path / entry.name)
        elif kind == "folder":
            if SYSTEM_FOLDERS.fullmatch(entry.name):
                left_out.add("system", path / entry.name)
            elif suffix_of(entry.name) in FOREIGN_FOLDERS:
                left_out.add("foreign", path / entry.name)
            elif suffix_of(entry.name) == ZARR_SUFFIX or is_zarr(path / entry.name):
                _add_zarr(folder, entry.name, left_out)
            else:
                subfolders.append(entry)
        elif kind != "special":  # a link that leads nowhere is a slide that cannot be read
            _add_file(folder, entry.name, left_out)
        else:
            left_out.add("special", path / entry.name)
    slide_data = {os.path.splitext(name)[0] for name in folder.slides if suffix_of(name) == ".mrxs"}  # noqa: PTH122
    for entry in sorted(subfolders, key=lambda entry: entry.is_symlink()):  # a link after the folder it leads to
        if entry.name not in slide_data:
            child = _scan(path / entry.name, left_out, seen, depth + 1)
            if child:
                folder.children.append(child)
    folder.children.sort(key=lambda child: child.path.name)
    return folder


def kind_of(path: str | Path | os.DirEntry[str]) -> Kind:
    """What lies at a path; special is a pipe, socket or device, which could block whoever opens it."""
    if isinstance(path, str):
        path = Path(path)
    try:
        if path.is_dir():
            return "folder"
        if path.is_file():
            return "file"
        path.stat()
    except (OSError, ValueError):  # nothing there, no permission, a link to itself, a NUL in the name
        return "missing"
    return "special"


def nested_folders(paths: Mapping[str, str], others: Mapping[str, str]) -> Iterator[str]:
    """Pairs of folders of which one of `paths` lies in one of `others`.

    Args:
        paths, others: {path without links: what the folder is called}.
    """
    for path, name in paths.items():
        yield from (f"{name} lies in {others[above]}" for above in map(str, Path(path).parents) if above in others)


def is_text(name: str | Path) -> bool:
    """Whether a name or path is Unicode; Python stands for other bytes by halves of characters."""
    try:
        os.fspath(name).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_link(path: str) -> bool:
    """Whether a path is a link; not where its folder is closed."""
    return os.path.islink(path)  # noqa: PTH114 - a Path a file costs 10,000 files a tenth of a second


def real_paths() -> Callable[[str], str]:
    """A function that gives a path without links; it asks about a folder once, and about a file once."""
    real_folder = functools.cache(os.path.realpath)

    @functools.cache
    def real_path(path: str) -> str:
        if is_uri(path):
            return path
        folder, name = os.path.split(path)
        real = f"{real_folder(folder)}/{name}"
        return os.path.realpath(real) if is_link(real) else real

    return real_path


def is_tiff(name: str) -> bool:
    return suffix_of(name) in TIFF_SUFFIXES


def suffix_of(name: str) -> str:
    """The suffix of a file, in small letters."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path a file costs 10,000 files half a second


def _add_file(folder: Folder, name: str, left_out: LeftOutFiles) -> None:
    suffix = suffix_of(name)
    if suffix in SLIDE_SUFFIXES:
        folder.slides.append(name)
    elif suffix in TIFF_SUFFIXES:
        (folder.slides if is_tiled_tiff(folder.path / name) else folder.images).append(name)
    elif suffix in IMAGE_SUFFIXES:
        folder.images.append(name)
    elif suffix in DICOM_SUFFIXES or (not suffix and _begins_as_dicom(folder.path / name)):
        folder.dicom.append(name)
    elif suffix in TABLE_SUFFIXES and suffix != ".txt":
        folder.tables.append(name)
    elif suffix in PACKED_SUFFIXES:
        left_out.add("packed", folder.path / name)
    elif suffix in FOREIGN_SUFFIXES:
        left_out.add("foreign", folder.path / name)
    elif name.lower() == "slidedat.ini":
        left_out.add("mirax", folder.path)
    else:
        left_out.add("other", folder.path / name)


def _add_zarr(folder: Folder, name: str, left_out: LeftOutFiles) -> None:
    images = find_images(folder.path / name)
    if not images:
        left_out.add("zarr", folder.path / name)
        return
    folder.zarr[name] = images[0]
    for other in images[1:]:
        left_out.add("zarr image", other.parent)


def _begins_as_dicom(path: Path) -> bool:
    try:
        return is_dicom(path)
    except OSError:
        return False
