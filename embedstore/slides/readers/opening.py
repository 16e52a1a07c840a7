"""Open a slide with the fastest reader whose pixels equal OpenSlide's."""

from collections.abc import Callable
from pathlib import Path

from embedstore.errors import SlideError, SlideFormatError
from embedstore.slides.readers.agreement import disagreement
from embedstore.slides.readers.dicom_reader import DicomSlide
from embedstore.slides.readers.dicom_series import is_dicom
from embedstore.slides.readers.fastslide_reader import FastSlideSlide
from embedstore.slides.readers.openslide_reader import OpenSlideSlide
from embedstore.slides.readers.tiff_images import TO_TILED_TIFF, describe_unread
from embedstore.slides.readers.tiff_reader import VENDORS, TiffSlide
from embedstore.slides.readers.zarr_reader import ZarrSlide, is_zarr_image
from embedstore.slides.slide import Slide

READERS: dict[str, Callable[[str], Slide]] = {
    "tiff": TiffSlide,
    "dicom": DicomSlide,
    "zarr": ZarrSlide,
    "fastslide": FastSlideSlide,
    "openslide": OpenSlideSlide,
}

#: Files that a reader agreed with OpenSlide about in this process: a slide is opened again for its plan, its tiles and
#: pictures of it, and a comparison takes more than all else of opening. Those of a DICOM series may change apart.
_agreed: set[tuple[object, ...]] = set()
MOST_AGREED = 10_000


def open_here(path: str, *, reader: str = "auto") -> Slide:
    """Open a slide in this process; arguments and errors as in `open_slide`."""
    if reader != "auto" and reader not in READERS:
        raise SlideFormatError(f"no reader is named {reader!r}; expected auto or one of {', '.join(READERS)}")
    slide = choose_slide(path) if reader == "auto" else READERS[reader](path)
    if slide.vendor == "generic-tiff":
        slide.warnings.extend(describe_unread(path, slide.size_l0))
    return slide


def choose_slide(path: str) -> Slide:
    """Open a slide in this process with the first reader that agrees with OpenSlide; its `passed_over` says why.

    fastslide is never chosen. Where `tiff` does not open a slide, fastslide saves little (CPU-ms a 512² region against
    OpenSlide's: NDPI 4.7 : 5.2), and fastslide 0.8.1 never returns from some corrupt JPEG data,
    which would cost the slide where it should cost a tile. It can be given by name.

    Raises:
        SlideFormatError: no reader opens it; the message lists what was tried.
    """
    if is_zarr_image(path):  # which OpenSlide does not open
        return ZarrSlide(path)
    passed_over: dict[str, str] = {}
    reference: Slide | None = None
    try:
        reference = OpenSlideSlide(path)
    except SlideError as error:
        passed_over["openslide"] = str(error)
    fast = _fast_reader(path, reference)
    candidate, why = (None, None) if fast is None else _try_fast(fast, path, reference)
    if fast is not None and candidate is None:
        passed_over[fast] = why or ""
    if candidate is not None and reference is not None:
        reference.close()
    slide = candidate or reference
    if slide is None:
        raise _no_reader(path, passed_over)
    slide.passed_over = passed_over
    return slide


def _try_fast(reader: str, path: str, reference: Slide | None) -> tuple[Slide | None, str]:
    """The slide as opened by a fast reader, or None and why not."""
    candidate: Slide | None = None
    file: tuple[object, ...] | None = None
    try:
        candidate = READERS[reader](path)
        if candidate.overrules_openslide:
            return candidate, ""
        if reference is None:
            candidate.warnings.append("OpenSlide does not open it, so its pixels could not be compared")
            return candidate, ""
        if reader != "dicom":
            file = _file_version(reader, path)
        if file in _agreed:
            return candidate, ""
        why = disagreement(reference, candidate)
    except Exception as error:  # OpenSlide is used for whatever the fast reader fails on
        why = f"{type(error).__name__}: {error}"
    if why is None:
        if file is not None and len(_agreed) < MOST_AGREED:
            _agreed.add(file)
        return candidate, ""
    if candidate is not None:
        candidate.close()
    return None, why


def _file_version(reader: str, path: str) -> tuple[object, ...]:
    """What tells that a file, and what reads it, is the same as before."""
    found = Path(path).stat()
    return READERS[reader], found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _fast_reader(path: str, reference: Slide | None) -> str | None:
    if reference is not None and reference.vendor in VENDORS:
        return "tiff"
    return "dicom" if is_dicom(path) else None


def _no_reader(path: str, tried: dict[str, str]) -> SlideFormatError:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in tried.items())
    is_tiff = path.lower().endswith((".tif", ".tiff"))
    advice = f"; where it is a TIFF in strips, save it in tiles: {TO_TILED_TIFF}" if is_tiff else ""
    return SlideFormatError(f"no reader opens slide {path!r}; tried {reasons}{advice}")
