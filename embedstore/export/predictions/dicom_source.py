"""The DICOM image of a slide, as what is derived from it refers to: its study, its frame of reference, its place."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ExportError, SlideError
from embedstore.slides import is_dicom, local_copy, series_levels
from embedstore.store import SlideRow

if TYPE_CHECKING:
    from pydicom import Dataset

#: What a derived object cannot do without: to whom it belongs, and where it lies.
REQUIRED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "ImageOrientationSlide")
#: Attributes of patient and study that must be there but may be empty; converters leave them out.
MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomSource:
    """The finest level of a slide's series.

    Attributes:
        header: Its attributes, without pixels.
        spacing_mm: Distance of its pixels, mm: between rows, between columns.
        orientation: Direction of its rows and of its columns on the slide, six cosines.
        origin_mm: (x, y, z) of the centre of its first pixel on the slide, mm.
        note: What the user should know, or None.
    """

    header: "Dataset"
    spacing_mm: tuple[float, float]
    orientation: tuple[float, ...]
    origin_mm: tuple[float, float, float]
    note: str | None

    def on_slide(self, xy_l0: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, 3) millimetres on the slide of (n, 2) points in level-0 pixels, where (0, 0) is a corner."""
        along = np.array(self.orientation).reshape(2, 3)
        pixels = np.asarray(xy_l0, np.float64) - 0.5  # from the centre of the first pixel
        return np.array(self.origin_mm) + (pixels * self.spacing_mm[::-1]) @ along


def why_not_dicom(slide: SlideRow) -> str | None:
    """Why nothing in DICOM can refer to a slide, with the next step; None if its file is DICOM."""
    try:
        with local_copy(slide.path) as copy:
            if is_dicom(copy.path):
                return None
    except (OSError, SlideError):
        return (
            f"{slide.slide_id!r} cannot be read at {slide.path or 'a known path'}, and study and place on the glass "
            "come from its file; bring it back there, or export geojson"
        )
    return (
        f"{slide.slide_id!r} is no DICOM file, so it has no study and no place that a viewer could lay a map over; "
        "convert it, for example with wsidicomizer, and ingest what that writes, or export geojson"
    )


def dicom_source(slide: SlideRow) -> DicomSource:
    """The image that a slide's tiles were cut from.

    Raises:
        ExportError: attributes that place it are missing or cannot be used.
    """
    import pydicom

    what = f"slide {slide.slide_id!r}"
    try:
        with local_copy(slide.path) as copy:
            finest = series_levels(copy.path)[0].path
            header = pydicom.dcmread(finest, stop_before_pixels=True)
        missing = [name for name in REQUIRED if not header.get(name)]
        if missing:
            raise ExportError(
                f"{what}: {Path(finest).name} has no {', '.join(missing)}, without which a viewer cannot lay a map "
                "over it; mend or convert the file again, or export geojson"
            )
        size = int(header.TotalPixelMatrixColumns), int(header.TotalPixelMatrixRows)
        if slide.width_l0 and size != (slide.width_l0, slide.height_l0):
            raise ExportError(
                f"{what}: the finest level at {finest} has {size[0]} × {size[1]} px; it had {slide.width_l0} × "
                f"{slide.height_l0} px when its tiles were cut; bring that file back, or ingest the slide again"
            )
        spacing = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
        origin, note = _origin(header, what)
        source = DicomSource(
            header=header,
            spacing_mm=(float(spacing[0]), float(spacing[1])),
            orientation=tuple(float(cosine) for cosine in header.ImageOrientationSlide),
            origin_mm=origin,
            note=note,
        )
    except (ExportError, SlideError):
        raise
    except Exception as error:  # pydicom raises a dozen kinds of errors for broken files
        raise ExportError(f"{what}: its DICOM attributes cannot be used: {error}") from error
    for name in MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, "")
    return source


def _origin(header: Any, what: str) -> tuple[tuple[float, float, float], str | None]:
    """Where the first pixel lies; a header that does not say so is made to, as highdicom asks it too."""
    from pydicom import Dataset

    note = None
    if not header.get("TotalPixelMatrixOriginSequence"):
        note = f"{what} does not say where on the glass it lies (TotalPixelMatrixOriginSequence); taken as 0, 0"
        zero = Dataset()
        zero.XOffsetInSlideCoordinateSystem = zero.YOffsetInSlideCoordinateSystem = 0
        header.TotalPixelMatrixOriginSequence = [zero]
    given = header.TotalPixelMatrixOriginSequence[0]
    x, y = float(given.XOffsetInSlideCoordinateSystem), float(given.YOffsetInSlideCoordinateSystem)
    return (x, y, float(given.get("ZOffsetInSlideCoordinateSystem") or 0)), note
