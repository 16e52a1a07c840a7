"""The objects that belong to one slide, as the files beside it do in a folder."""

import functools
import hashlib
import io
import posixpath
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from embedstore.errors import EmbedStoreError, SlideFormatError, SlideNotFoundError
from embedstore.slides.readers.dicom_series import DICOM_SUFFIXES, MAGIC, MAGIC_AT, DicomHeader, read_header
from embedstore.slides.readers.zarr_image import METADATA_FILES
from embedstore.slides.remote.objects import RemoteObject, find_object, list_objects, read_part
from embedstore.uris import uri_name, uri_parent

#: Requests at a time.
PARALLEL = 16
#: So long, seconds, `version_now` does not ask again; and of so many slides it remembers.
KNOWN_S, MOST_VERSIONS = 10.0, 10_000
_versions: dict[str, tuple[str, float]] = {}
#: Bytes in which a DICOM header is sought, one after another.
HEADER_BYTES = (16 << 10, 1 << 20, 16 << 20)


@dataclass(frozen=True, kw_only=True)
class SlideObjects:
    """A slide or a folder of ready-made tiles as its store has it.

    Attributes:
        uri: Its address.
        folder: Address of the folder to which the names of its files are relative.
        objects: Its objects; the one that is opened goes first, except in a folder of tiles.
    """

    uri: str
    folder: str
    objects: tuple[RemoteObject, ...]

    @property
    def size(self) -> int:
        return sum(each.size for each in self.objects)

    @property
    def version(self) -> str:
        """What changes whenever one of its objects does."""
        text = "\n".join(f"{self.name(each)} {each.size} {each.version}" for each in self.objects)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def name(self, each: RemoteObject) -> str:
        """Path of an object in the folder."""
        return each.uri[len(self.folder) + 1 :]


def slide_objects(uri: str, kind: Literal["wsi", "tiles"] = "wsi") -> SlideObjects:
    """Look up the objects of a slide: one, or those of an MRXS, a VMS, a DICOM series, an OME-Zarr, or tiles.

    Raises:
        SlideNotFoundError: there is none at the address.
        SlideFetchError, AccessError: the store does not answer, or refuses.
    """
    if kind == "tiles":
        tiles = tuple(list_objects(uri, patient=True))
        if not tiles:
            raise SlideNotFoundError(f"there is no object below {uri}; was the folder moved or deleted?")
        return SlideObjects(uri=uri, folder=uri, objects=tiles)
    main = find_object(uri, patient=True)
    if main is None:
        raise SlideNotFoundError(f"there is no object {uri}; was it moved or deleted?")
    folder = uri_parent(uri)
    stem, suffix = posixpath.splitext(uri)
    others: Iterable[RemoteObject] = ()
    if suffix.lower() == ".mrxs":
        others = list_objects(stem, patient=True)
    elif suffix.lower() in (".vms", ".vmu"):
        others = (each for each in _beside(folder) if each.uri.startswith(stem))
    elif uri_name(uri) in METADATA_FILES:
        others = list_objects(folder, patient=True)
    elif suffix.lower() in DICOM_SUFFIXES or (not suffix and begins_as_dicom(main)):
        others = _series(main, _beside(folder))
    return SlideObjects(uri=uri, folder=folder, objects=(main, *(each for each in others if each.uri != uri)))


def version_now(uri: str, kind: Literal["wsi", "tiles"] = "wsi") -> str:
    """What changes when a slide is written anew, as of the last few seconds; "" of a folder of tiles.

    Raises:
        SlideNotFoundError: there is no object at the address.
        SlideFetchError, AccessError: the store does not answer, or refuses.
    """
    if kind == "tiles":
        return ""
    version, known_s = _versions.get(uri, ("", 0.0))
    if time.monotonic() - known_s > KNOWN_S or not version:
        found = find_object(uri)
        if found is None:
            raise SlideNotFoundError(f"there is no object {uri}; was it moved or deleted?")
        if len(_versions) > MOST_VERSIONS:
            _versions.clear()
        version = found.version
        _versions[uri] = version, time.monotonic()
    return version


def reaches(uri: str) -> bool:
    """Whether the store of an address answers this machine, and shows objects to it."""
    try:
        find_object(uri)
    except EmbedStoreError:
        return False
    return True


def begins_as_dicom(found: RemoteObject) -> bool:
    """Whether an object begins with DICOM's magic bytes."""
    least = MAGIC_AT + len(MAGIC)
    return found.size > least and bytes(read_part(found, 0, least))[MAGIC_AT:] == MAGIC


def dicom_start(found: RemoteObject) -> bytes:
    """As much of a DICOM object as its header takes; all that was tried where it has none."""
    data = b""
    for most in HEADER_BYTES:
        stop = min(most, found.size)
        data += bytes(read_part(found, len(data), stop)) if stop > len(data) else b""
        if _parsed(data, found.uri) is not None or stop == found.size:
            break
    return data


def _parsed(data: bytes, uri: str) -> DicomHeader | None:
    try:
        return read_header(io.BytesIO(data), uri)
    except SlideFormatError:
        return None


def _beside(folder: str) -> list[RemoteObject]:
    """The objects directly in a folder."""
    return [each for each in list_objects(folder, patient=True) if uri_parent(each.uri) == folder]


def _series(main: RemoteObject, beside: list[RemoteObject]) -> list[RemoteObject]:
    """The objects of a folder that are of the same DICOM series."""
    may_be = [each for each in beside if posixpath.splitext(uri_name(each.uri))[1].lower() in (*DICOM_SUFFIXES, "")]
    with ThreadPoolExecutor(PARALLEL) as threads:
        series = dict(zip(may_be, threads.map(_series_of, may_be), strict=True))
    named = series.get(main) or _series_of(main)
    return [each for each in may_be if named is not None and series[each] == named]


@functools.lru_cache(maxsize=100_000)  # a folder of many series is looked through for each
def _series_of(found: RemoteObject) -> str | None:
    header = _parsed(dicom_start(found), found.uri)
    return header.series if header is not None and header.whole_slide else None
