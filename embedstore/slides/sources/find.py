"""Find slides in folders and lists, or by name; no slide is opened here."""

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embedstore.config import TilingConfig, require
from embedstore.errors import SlideFormatError, SlideListError, SlideNotFoundError
from embedstore.quantities import first_few
from embedstore.slides.readers.dicom_series import DICOM_SUFFIXES
from embedstore.slides.readers.zarr_image import METADATA_FILES, find_images
from embedstore.slides.sources.folder import (
    IMAGE_SUFFIXES,
    TIFF_SUFFIXES,
    ZARR_SUFFIX,
    Folder,
    is_link,
    is_text,
    kind_of,
    real_paths,
    scan_folder,
    suffix_of,
)
from embedstore.slides.sources.folder_slides import dicom_series, find_in_folder
from embedstore.slides.sources.remote_tree import RemoteTree
from embedstore.slides.sources.slide_list import LIST_SUFFIXES, ListedSlide, read_slide_list
from embedstore.slides.sources.source import SlideSource
from embedstore.slides.sources.source_summary import LeftOut, LeftOutFiles, SourceSummary, TileFolderSummary
from embedstore.slides.sources.tile_folder import LABELS, improbable_together, read_tile_folder
from embedstore.uris import is_uri, local_of
from embedstore.zarr_files import is_zarr

MASK = re.compile(r"(?<![A-Za-z])masks?(?![A-Za-z])", re.IGNORECASE)
SLIDES = "slides"  # the name of the table that lists the slides of its folder, without its suffix


@dataclass(frozen=True, kw_only=True)
class FoundSlides:
    """The slides that paths name, sorted by `slide_id`, and what the paths were understood as."""

    sources: tuple[SlideSource, ...]
    summary: SourceSummary


def find_slides(
    paths: Sequence[str | Path], *, mpp: float | None = None, tile_px: int = TilingConfig.tile_px
) -> FoundSlides:
    """Find the slides that paths name.

    A path, or an address in an object store (s3://bucket/slides/), is one of
    - a file of any suffix;
    - a Zarr folder that is or holds an OME-Zarr image, which counts as a file wherever it lies;
    - a folder, searched with all its sub-folders for files that OpenSlide opens; a DICOM series is one slide. What a
      slides.csv in it says of these slides is read as from a list;
    - a folder of ready-made tiles: one with a labels.csv that lists images, or one of images only, with or without
      sub-folders for classes, patients and splits (in a folder that holds slides, images without a labels.csv count as
      thumbnails, and are left out);
    - a list (CSV, Excel, Parquet or Arrow) with a column `path`, relative to the list's folder or an address, and
      optional columns slide_id, mpp and tissue; any other column becomes metadata.

    A file that several paths name is one slide, and what a list says of it holds.

    Args:
        paths: Files, folders and lists.
        mpp: Level-0 resolution of the slides for which no list gives one, µm/px.
        tile_px: Edge of the tiles that will be embedded; ready-made tiles that are far larger are told.
    Raises:
        SlideNotFoundError: there is nothing at a path.
        SlideFormatError: a path is a pipe, a socket or a device.
        SlideListError: a list is malformed, or two slides have the same id; the message names both.
        ConfigError: an address holds credentials, or mpp is no resolution.
        AccessError: an object store does not answer, or refuses.
    """
    require(mpp is None or 0 < mpp < math.inf, f"mpp is {mpp}; expected µm/px, above 0")
    with RemoteTree() as remote:
        search = _Search(tile_px, remote)
        for path in paths:
            search.add(remote.lay(path) if is_uri(path) else Path(local_of(path)))
        found = search.result(mpp)
        return FoundSlides(sources=tuple(map(remote.source, found.sources)), summary=remote.summary(found.summary))


@dataclass(frozen=True, kw_only=True)
class _Named:
    """A slide as a path names it, and how: by its file or folder, by a list, or by a list that gives its id."""

    source: SlideSource
    listed: bool = False
    by_id: bool = False


class _Search:
    """Gathers the slides of several paths, each file once."""

    def __init__(self, tile_px: int, remote: RemoteTree) -> None:
        self._tile_px, self._remote = tile_px, remote
        self._by_file: dict[str, list[_Named]] = {}  # by the path without links
        self._left_out: list[LeftOut] = []
        self._images = LeftOutFiles(Path())  # images that are named one by one
        self._notes: list[str] = []
        self._warnings: list[str] = []
        self._names: dict[str, set[str]] = {}  # ids that the paths give to each file
        self._contradicted: list[str] = []  # slides of which two rows say different things
        self._series: dict[str, str] = {}  # {DICOM file: level-0 file of its series} of the folders read so far
        self._real_path = real_paths()

    def add(self, path: Path) -> None:
        """Add the slides that a path names."""
        absolute = _at_home(path).absolute()
        if ".." in absolute.parts:  # set/.. would be called so
            absolute = absolute.resolve()
        kind = kind_of(absolute)
        if not is_text(absolute):
            raise SlideFormatError(f"{str(path)!r} is not a name in UTF-8; rename the file or folder")
        if absolute.name in METADATA_FILES and is_zarr(absolute.parent):
            absolute, kind = absolute.parent, "folder"
        if kind == "folder" and is_zarr(absolute):
            self._add_zarr(absolute)
        elif kind == "folder":
            self._add_folder(absolute)
        elif kind == "missing":
            raise SlideNotFoundError(f"no file or folder at {str(path)!r} that this user may read")
        elif kind == "special":
            raise SlideFormatError(f"{str(path)!r} is a pipe, a socket or a device; expected a file or a folder")
        elif absolute.suffix.lower() in LIST_SUFFIXES:
            self._add_list(absolute)
        elif _is_plain_image(absolute):
            self._images.add("named", absolute)
        else:
            if absolute.suffix.lower() in DICOM_SUFFIXES:  # level-*.dcm names one slide, not twelve
                absolute = self._level_0_file(absolute)
            self._add(_Named(source=SlideSource(slide_id=absolute.name, path=str(absolute), kind="wsi")))

    def _add_zarr(self, folder: Path) -> None:
        images = find_images(folder)
        if not images:
            raise SlideFormatError(
                f"{str(folder)!r} is a Zarr folder without an image; expected OME-Zarr, or SpatialData with images/; "
                "embedstore import reads features of LazySlide and tiatoolbox"
            )
        self._add(_Named(source=SlideSource(slide_id=_zarr_name(folder), path=str(images[0]), kind="wsi")))
        left_out = LeftOutFiles(folder)
        for other in images[1:]:
            left_out.add("zarr image", other.parent)
        self._left_out += left_out.as_tuple()

    def _add_list(self, table: Path) -> None:
        rows, notes = read_slide_list(table)
        if rows and all(_is_plain_image(Path(row.path)) for row in rows):
            raise SlideListError(
                f"{table} lists images ({rows[0].path}, …), and a list names slides; to take them as tiles, call it "
                "labels.csv, put it in their folder, and give the folder"
            )
        self._notes += notes
        for row in rows:
            self._add(_listed(row, table, self._remote))

    def _add(self, named: _Named) -> None:
        """Add a slide. Of several names of a file, a list's goes first, and the file's own before that of a link."""
        file = self._real_path(named.source.path)
        self._names.setdefault(file, set()).add(named.source.slide_id)
        same = self._by_file.setdefault(file, [])
        if named.by_id and all(other.by_id for other in same):
            same.append(named)  # perhaps one file under two ids, such as with two masks
        elif not same or _weight(named) > _weight(same[0]):
            same[:] = [named]
        elif named.listed and named.source.metadata != same[0].source.metadata:
            self._contradicted.append(named.source.slide_id)

    def _level_0_file(self, path: Path) -> Path:
        if str(path) not in self._series:
            folder = Folder(path.parent, dicom=[file.name for file in path.parent.iterdir() if file.is_file()])
            for finest, files in dicom_series(folder):
                self._series.update(dict.fromkeys(files, finest))
        return Path(self._series.get(str(path), path))

    def _add_folder(self, root: Path) -> None:
        left_out = LeftOutFiles(root)
        tree = scan_folder(root, left_out)
        found = find_in_folder(tree, left_out, self._warnings)
        for source in found:
            self._add(_Named(source=source))
        by_file = {self._real_path(source.path): source for source in found}
        tile_folders = {Path(source.path) for source in found if source.kind == "tiles"}
        for folder in tree.walk():
            for table in (folder.path / name for name in folder.tables):
                if table == folder.table(SLIDES):
                    self._add_statements(table, by_file)
                elif table != folder.table(LABELS) or folder.path not in tile_folders:
                    left_out.add("table", table)
        self._left_out += left_out.as_tuple()

    def _add_statements(self, table: Path, found: Mapping[str, SlideSource]) -> None:
        """Take what a slides.csv in a folder says of the slides that were found there, which keep their ids."""
        try:
            rows, notes = read_slide_list(table)
        except SlideListError as error:
            self._warnings.append(f"{error}; the table is not used")
            return
        self._notes += notes
        others = list[str]()
        for row in rows:
            named = _listed(row, table, self._remote)
            there = found.get(self._real_path(named.source.path))
            if there is None:
                others.append(row.path)
                continue
            slide_id = named.source.slide_id if named.by_id else there.slide_id
            self._add(replace(named, source=replace(named.source, slide_id=slide_id, path=there.path, kind=there.kind)))
        if len(others) < len(rows):
            self._notes.append(f"{table} tells of {len(rows) - len(others):,} of {len(found):,} slides of its folder")
        if others:
            self._warnings.append(
                f"{table}: {len(others):,} of {len(rows):,} rows name no slide of its folder: {first_few(others)}; "
                "to take them, give the list itself"
            )

    def result(self, mpp: float | None) -> FoundSlides:
        """All slides, each with an id of its own."""
        sources: dict[str, SlideSource] = {}
        for source in (named.source for same in self._by_file.values() for named in same):
            namesake = sources.setdefault(source.slide_id, source)
            if self._real_path(namesake.path) != self._real_path(source.path):
                raise SlideListError(
                    f"two slides have the id {source.slide_id!r}: {namesake.path!r} and {source.path!r}; "
                    "give a list with a column slide_id"
                )
        ordered = [sources[slide_id] for slide_id in sorted(sources)]
        folders = tuple(self._tile_folder(source) for source in ordered if source.kind == "tiles")
        patients = [str(patient) for source in ordered if (patient := source.metadata.get("patient")) is not None]
        return FoundSlides(
            sources=tuple(source if source.mpp is not None else replace(source, mpp=mpp) for source in ordered),
            summary=SourceSummary(
                slides=dict(Counter(_format(source) for source in ordered if source.kind == "wsi").most_common()),
                tile_folders=folders,
                patients=len(set(patients)),
                with_patient=len(patients),
                left_out=(*self._images.as_tuple(), *self._left_out),
                notes=(*self._notes, *self._doubled()),
                warnings=(*self._warnings, *self._contradictions(), *_masks(ordered), *improbable_together(folders)),
            ),
        )

    def _tile_folder(self, source: SlideSource) -> TileFolderSummary:
        try:
            folder = read_tile_folder(source.path, tile_px=self._tile_px)
        except SlideListError as error:  # that slide fails, and says why
            self._warnings.append(str(error))
            return TileFolderSummary(slide_id=source.slide_id, path=source.path, tiles=0, meaning="it cannot be read")
        self._notes += [f"tile folder {source.slide_id!r}: {note}" for note in folder.notes]
        new = [warning for warning in folder.warnings if warning not in self._warnings]
        self._warnings += [f"tile folder {source.slide_id!r}: {warning}" for warning in new]
        return folder.summary(source.slide_id, source.path)

    def _doubled(self) -> Iterator[str]:
        kept = {file: {named.source.slide_id for named in same} for file, same in self._by_file.items()}
        doubled = [
            f"{min(others)} is {min(kept[file])}"
            for file, names in self._names.items()
            if (others := names - kept[file])
        ]
        if doubled:
            yield f"{len(doubled):,} slides have several names, and are taken once: {first_few(doubled)}"

    def _contradictions(self) -> Iterator[str]:
        if self._contradicted:
            yield (
                f"{len(self._contradicted):,} slides are listed again with other values, which are not taken: "
                f"{first_few(self._contradicted)}"
            )
        twice = [
            min(ids) for same in self._by_file.values() if len(ids := {named.source.slide_id for named in same}) > 1
        ]
        if twice:
            yield f"{len(twice):,} files are slides under two ids: {first_few(twice)}"


def _is_plain_image(path: Path) -> bool:
    """Whether a file, by its suffix, is an image that no reader of slides opens."""
    return path.suffix.lower() in IMAGE_SUFFIXES - TIFF_SUFFIXES


def _weight(named: _Named) -> tuple[bool, bool, bool]:
    return named.listed, named.by_id, not is_link(named.source.path)


def _listed(row: ListedSlide, table: Path, remote: RemoteTree) -> _Named:
    """The slide of a row; without a slide_id its path as written, or its name where that is absolute, is its id."""
    written = Path(row.path)
    path = remote.listed(row.path, table)
    is_folder = kind_of(path) == "folder"
    series = _only_slide(path, table) if is_folder else None
    default_id = path.name if written.is_absolute() or is_uri(row.path) else written.as_posix().removeprefix("./")
    source = SlideSource(
        slide_id=default_id if row.slide_id is None else row.slide_id,
        path=str(path) if series is None else series,
        kind="tiles" if is_folder and series is None else "wsi",
        mpp=row.mpp,
        tissue=None if row.tissue is None else remote.mask(row.tissue, table),
        metadata=row.metadata,
    )
    return _Named(source=source, listed=True, by_id=row.slide_id is not None)


def _at_home(path: Path) -> Path:
    """The path with ~ as the user's home; that of an unknown user stays, and is found missing."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path's own fails on an unknown user


def _zarr_name(folder: Path) -> str:
    """What a Zarr folder is called; one within another is called by both."""
    above = [at for at, part in enumerate(folder.parts) if part.lower().endswith(ZARR_SUFFIX)]
    return "/".join(folder.parts[above[0] :]) if above else folder.name


def _only_slide(path: Path, table: Path) -> str | None:
    """The file that names the slide of a listed folder: a Zarr folder or a DICOM series; None of other folders."""
    if is_zarr(path) and (images := find_images(path)):
        return str(images[0])
    folders = list(scan_folder(path, LeftOutFiles(path)).walk())
    if not any(folder.dicom for folder in folders):
        return None
    files = [finest for folder in folders for finest, _ in dicom_series(folder)]
    if len(files) != 1:
        raise SlideListError(f"{table}: {str(path)!r} holds {len(files)} DICOM slides; expected one, or name a file")
    return files[0]


def _format(source: SlideSource) -> str:
    if Path(source.path).name in METADATA_FILES:
        return "OME-Zarr"
    return suffix_of(source.path) or "without suffix"


def _masks(sources: Sequence[SlideSource]) -> Iterator[str]:
    masks = [source.slide_id for source in sources if source.kind == "wsi" and MASK.search(source.slide_id)]
    if 0 < len(masks) < len(sources):
        yield f"{len(masks):,} slides look like masks ({first_few(masks)}); a list would name the others alone"
