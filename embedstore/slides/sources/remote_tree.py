"""Addresses in object stores as folders of this machine, without the pixels, so that the rules of folders find slides.

Objects are laid out as files of their size in a temporary folder. Of content it has what the rules look into: tables,
the first directory of a TIFF, the header of a DICOM file, the metadata of a Zarr folder, of which no chunk is laid out.
"""

import contextlib
import os
import posixpath
import re
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from embedstore.errors import EmbedStoreError, SlideFormatError, SlideNotFoundError
from embedstore.slides.readers.dicom_series import DICOM_SUFFIXES
from embedstore.slides.readers.tiff_images import DIRECTORY_BYTES, directory_at
from embedstore.slides.remote.objects import RemoteObject, find_object, list_objects, read_part
from embedstore.slides.remote.slide_objects import PARALLEL, begins_as_dicom, dicom_start
from embedstore.slides.sources.folder import SLIDE_SUFFIXES, TIFF_SUFFIXES
from embedstore.slides.sources.slide_list import LIST_SUFFIXES
from embedstore.slides.sources.source import SlideSource
from embedstore.slides.sources.source_summary import SourceSummary
from embedstore.temporary_folder import make_temporary_folder
from embedstore.uris import checked_uri, is_uri, split_uri, uri_name, uri_parent
from embedstore.zarr_files import MOST_METADATA_BYTES

#: Tables in a folder that are read; of others only the name is told.
READ_TABLES = ("labels", "slides")
#: The files of a Zarr folder that are no chunks.
ZARR_FILES = frozenset({"zarr.json", ".zattrs", ".zarray", ".zgroup"})


class RemoteTree:
    """The temporary folder, for the time of a `with`; nothing is made before the first address."""

    def __init__(self) -> None:
        self._root: Path | None = None
        self._reached: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
        if isinstance(error, EmbedStoreError) and (told := self.told(str(error))) != str(error):
            raise type(error)(told) from error

    def lay(self, address: str | Path) -> Path:
        """Lay out what is at an address, a folder with all that is below it or one object; its place.

        Raises:
            ConfigError: the address holds credentials.
            AccessError, SlideFetchError: the store does not answer, or refuses.
        """
        uri = checked_uri(address)
        place = self._place(uri)
        found = find_object(uri) if posixpath.splitext(uri_name(uri))[1] or uri.startswith("http") else None
        if found is None and uri.startswith("http"):
            raise SlideNotFoundError(
                f"there is no file {uri}; of a web server, files are named one by one, or in a list"
            )
        if found is None:
            objects = list(list_objects(uri))
            self._lay(objects)
            found = None if objects else find_object(uri)
        if found is not None:
            suffix = posixpath.splitext(uri)[1].lower()
            beside = suffix in DICOM_SUFFIXES and not uri.startswith("http")
            self._lay([found] if not beside else _files_beside(uri), whole_tables=True)
        return place

    def place(self, address: str | Path) -> Path:
        """The place of an address in a list, which is laid out only where its name does not tell that it is a file.

        Raises:
            ConfigError, AccessError, SlideFetchError: as of `lay`; of each bucket one address is looked up.
        """
        uri = checked_uri(address)
        if posixpath.splitext(uri_name(uri))[1].lower() not in SLIDE_SUFFIXES | TIFF_SUFFIXES | DICOM_SUFFIXES:
            with contextlib.suppress(SlideNotFoundError):  # told as that slide is opened
                self.lay(uri)
            return self._place(uri)
        root = split_uri(uri)[0]
        if root not in self._reached:
            self._reached.add(root)
            find_object(uri)
        return self._place(uri)

    def listed(self, written: str, table: Path) -> Path:
        """The place that a list names: an address, or a path relative to the list, which may lie in an object store."""
        if is_uri(written):
            return self.place(written)
        path = Path(os.path.normpath(table.parent / os.path.expanduser(written)))  # noqa: PTH111
        return self.place(self.told(str(path))) if self.holds(path) else path

    def mask(self, written: str, table: Path) -> str:
        """The place of a mask that a list names, which is not looked up."""
        if is_uri(written):
            return str(self._place(checked_uri(written)))
        return os.path.normpath(table.parent / os.path.expanduser(written))  # noqa: PTH111

    def holds(self, path: Path) -> bool:
        """Whether a path lies in the temporary folder."""
        return self._root is not None and path.is_relative_to(self._root)

    def told(self, text: str) -> str:
        """A text with addresses instead of places."""
        return text if self._root is None else re.sub(re.escape(str(self._root)) + r"/(\w+)/", r"\1://", text)

    def source(self, source: SlideSource) -> SlideSource:
        """A source with addresses instead of places."""
        tissue = None if source.tissue is None else self.told(source.tissue)
        return source if self._root is None else replace(source, path=self.told(source.path), tissue=tissue)

    def summary(self, summary: SourceSummary) -> SourceSummary:
        """A summary with addresses instead of places."""
        return replace(
            summary,
            tile_folders=tuple(replace(folder, path=self.told(folder.path)) for folder in summary.tile_folders),
            left_out=tuple(replace(part, examples=tuple(map(self.told, part.examples))) for part in summary.left_out),
            notes=tuple(map(self.told, summary.notes)),
            warnings=tuple(map(self.told, summary.warnings)),
        )

    def _place(self, uri: str) -> Path:
        if self._root is None:
            self._root = make_temporary_folder("listing").resolve()
        scheme, _, rest = uri.partition("://")
        return self._root / scheme / rest

    def _lay(self, objects: Iterable[RemoteObject], *, whole_tables: bool = False) -> None:
        objects = [each for each in objects if ".zarr/" not in each.uri or uri_name(each.uri) in ZARR_FILES]
        pieces: list[tuple[RemoteObject, Path]] = []
        for each in objects:
            file = self._place(each.uri)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                with open(file, "wb") as stream:
                    stream.truncate(each.size)
            except OSError as error:
                raise SlideFormatError(
                    f"{each.uri} cannot stand in a folder of this machine: {error.strerror or error}; rename it, or "
                    "name the slides in a list"
                ) from error
            if each.size and _is_looked_into(each.uri, whole_tables):
                pieces.append((each, file))
        if pieces:
            with ThreadPoolExecutor(PARALLEL) as threads:
                list(threads.map(lambda piece: _write_pieces(*piece), pieces))


def _files_beside(uri: str) -> list[RemoteObject]:
    folder = uri_parent(uri)
    return [each for each in list_objects(folder) if uri_parent(each.uri) == folder]


def _is_looked_into(uri: str, whole_tables: bool) -> bool:
    stem, suffix = posixpath.splitext(uri_name(uri))
    suffix = suffix.lower()
    if uri_name(uri) in ZARR_FILES:
        return True
    if suffix in LIST_SUFFIXES:
        return whole_tables or stem.lower() in READ_TABLES
    return suffix in TIFF_SUFFIXES | DICOM_SUFFIXES or not suffix


def _write_pieces(found: RemoteObject, file: Path) -> None:
    """Write what is looked into of an object."""
    suffix = posixpath.splitext(found.uri)[1].lower()
    if uri_name(found.uri) in ZARR_FILES:
        file.write_bytes(read_part(found, 0, min(found.size, MOST_METADATA_BYTES)))
    elif suffix in LIST_SUFFIXES:
        file.write_bytes(read_part(found, 0, found.size))
    elif suffix in TIFF_SUFFIXES:
        start = bytes(read_part(found, 0, min(DIRECTORY_BYTES, found.size)))
        at = directory_at(start)
        with open(file, "r+b") as stream:
            stream.write(start)
            if at is not None and at < found.size:
                stream.seek(at)
                stream.write(read_part(found, at, min(at + DIRECTORY_BYTES, found.size)))
    elif suffix in DICOM_SUFFIXES or begins_as_dicom(found):
        file.write_bytes(dicom_start(found))  # cut, as zeros would be taken for elements
