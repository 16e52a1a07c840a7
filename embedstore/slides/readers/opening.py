"""Open a slide with the fastest reader whose pixels equal OpenSlide's."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from embedstore.errors import SlideError, SlideFormatError, SlideNotFoundError
from embedstore.slides.readers.agreement import disagreement
from embedstore.slides.readers.dicom_reader import DicomSlide
from embedstore.slides.readers.dicom_series import is_dicom
from embedstore.slides.readers.fastslide_reader import FastSlideSlide, import_fastslide
from embedstore.slides.readers.openslide_reader import OpenSlideSlide
from embedstore.slides.readers.tiff_reader import VENDORS, TiffSlide
from embedstore.slides.slide import Slide

READERS: dict[str, Callable[[str], Slide]] = {
    "tiff": TiffSlide,
    "dicom": DicomSlide,
    "fastslide": FastSlideSlide,
    "openslide": OpenSlideSlide,
}


def check_file(path: str | Path) -> str:
    """Check that a path may be a slide, and return it as a string.

    Raises:
        SlideNotFoundError: there is no file.
        SlideFormatError: it is a folder, empty, or not readable.
    """
    file = Path(path)
    if not file.exists():
        raise SlideNotFoundError(f"slide {str(path)!r}: no such file")
    if not file.is_file():
        raise SlideFormatError(f"slide {str(path)!r} is a folder; expected a file (find_slides takes folders)")
    if file.stat().st_size == 0:
        raise SlideFormatError(f"slide {str(path)!r} is empty (0 bytes); was a copy interrupted?")
    try:
        with open(file, "rb"):
            pass
    except PermissionError as error:
        raise SlideFormatError(f"slide {str(path)!r} cannot be read by this user: {error}") from error
    return str(file)


def check_reader(reader: str) -> None:
    """Raise a ConfigError where the package of a reader that was given by name is not installed."""
    if reader == FastSlideSlide.reader:
        import_fastslide()


def open_slide(path: str | Path, *, reader: str = "auto") -> Slide:
    """Open a slide.

    `auto` opens the file with OpenSlide and with the reader that decodes its format directly. It takes the direct
    reader where a few seeded regions on every level equal OpenSlide's, and OpenSlide otherwise. A reader given by name
    is used without a comparison: workers open slides by the name in the plan.

    Raises:
        SlideNotFoundError: there is no file.
        SlideFormatError: no reader opens it, or the named one does not; the message lists what was tried.
        ConfigError: the named reader needs a package that is not installed.
    """
    if reader != "auto":
        name = check_file(path)
        if reader not in READERS:
            raise SlideFormatError(f"no reader is named {reader!r}; expected auto or one of {', '.join(READERS)}")
        return READERS[reader](name)
    return choose_slide(path).slide


@dataclass(frozen=True, kw_only=True)
class ReaderChoice:
    """The slide that `auto` opened.

    Attributes:
        slide: The open slide.
        passed_over: {reader: why it was not chosen}.
    """

    slide: Slide
    passed_over: dict[str, str]


def choose_slide(path: str | Path) -> ReaderChoice:
    """Open a slide with the first reader that agrees with OpenSlide; arguments and errors as in `open_slide`.

    fastslide is never chosen. Where `tiff` does not open a slide, fastslide saves little (CPU-ms a 512² region against
    OpenSlide's: NDPI 4.7 : 5.2, JPEG 2000 43 : 48), and fastslide 0.8.1 never returns from some corrupt JPEG data,
    which would cost the run a worker where it should cost a tile. It can be given by name.
    """
    path = check_file(path)
    passed_over: dict[str, str] = {}
    reference: Slide | None = None
    try:
        reference = OpenSlideSlide(path)
    except SlideError as error:
        passed_over["openslide"] = str(error)
    fast = _fast_reader(path, reference)
    if fast is None:
        if reference is None:
            raise _no_reader(path, passed_over)
        return ReaderChoice(slide=reference, passed_over=passed_over)
    candidate: Slide | None = None
    try:
        candidate = READERS[fast](path)
        if isinstance(candidate, DicomSlide) and candidate.contradiction:
            why = None  # OpenSlide is wrong about this one
        elif reference is None:
            candidate.warnings.append("OpenSlide does not open it, so its pixels could not be compared")
            why = None
        else:
            why = disagreement(reference, candidate)
    except Exception as error:  # OpenSlide is used for whatever the fast reader fails on
        why = f"{type(error).__name__}: {error}"
    if why is None and candidate is not None:
        if reference is not None:
            reference.close()
        return ReaderChoice(slide=candidate, passed_over=passed_over)
    if candidate is not None:
        candidate.close()
    passed_over[fast] = why or ""
    if reference is None:
        raise _no_reader(path, passed_over)
    return ReaderChoice(slide=reference, passed_over=passed_over)


def _fast_reader(path: str, reference: Slide | None) -> str | None:
    if reference is not None and reference.vendor in VENDORS:
        return "tiff"
    return "dicom" if is_dicom(path) else None


def _no_reader(path: str, tried: dict[str, str]) -> SlideFormatError:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in tried.items())
    return SlideFormatError(f"no reader opens slide {path!r}; tried {reasons}")


def single_thread() -> None:
    """Make OpenCV use only the calling thread; call it once in each process that runs readers.

    Readers already run in parallel. A thread per core inside each of them multiplies the CPU cost of a tile without
    making it faster (by four, measured for the same mistake with torch's threads).
    """
    cv2.setNumThreads(1)
