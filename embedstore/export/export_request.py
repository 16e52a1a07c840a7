"""One call for every export of predictions and embeddings: what to export, and the files that were written."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embedstore.annotations import Origin
from embedstore.config import Settings, require
from embedstore.errors import ExportError
from embedstore.export.predictions import (
    ExportScope,
    export_scope,
    why_not_dicom,
    write_anndata,
    write_dicom,
    write_geojson,
    write_heat_map,
    write_slide_scores,
    write_table,
)
from embedstore.export.predictions.heat_map_sheet import PICTURE_PX
from embedstore.export_format import DICOM_SUFFIXES, SUFFIXES, ExportFormat, require_place
from embedstore.output_files import slide_path
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.store import Store

SHOWN_FILES = 6  # of a result that a notebook shows


@dataclass(frozen=True, kw_only=True)
class ExportRequest(Settings):
    """What to export.

    Attributes:
        format: geojson (for QuPath), png (heat maps), csv or parquet (all rows), slides (a row for each slide, as .csv,
            .parquet or .json), anndata (.h5ad), or dicom (a parametric map and annotations; see `write_dicom`).
        path: A file; of geojson and png also a folder, which gets a file for each slide; of dicom a folder, which gets
            SLIDE.map.dcm and SLIDE.ann.dcm.
        head: Export the predictions of this head; without one, the embeddings of a collection.
        collection: Collection to export where no head is named; may be left out where there is only one.
        slides: Only these slides.
        where: Only slides whose row fulfils this SQL, such as "cohort = 'A'".
        origin: geojson: coordinates from the corner of the slide's image, as QuPath shows it, or of level 0.
        merge: geojson: unite neighbouring tiles of one class to annotations.
        min_probability: geojson, annotations of dicom: leave out tiles whose class is less probable.
        of_class: png: show the probability of this class.
        picture_px: png: longer side of the slide's picture, pixels.
    """

    format: ExportFormat
    path: Path
    head: str | None = None
    collection: str | None = None
    slides: tuple[str, ...] = ()
    where: str | None = None
    origin: Origin = "bounds"
    merge: bool = False
    min_probability: float = 0.0
    of_class: str | None = None
    picture_px: int = PICTURE_PX

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.head is None or self.collection is None,
            f"head {self.head!r} and collection {self.collection!r} are both named; a head knows its collection",
        )
        require(
            self.format != "dicom" or self.path.suffix.lower() != SUFFIXES["dicom"],
            f"path is {str(self.path)!r}; dicom writes two files for each slide: expected a folder",
        )
        require(0 <= self.min_probability <= 1, f"min_probability is {self.min_probability}; expected 0 to 1")
        require(self.picture_px >= 1, f"picture_px is {self.picture_px}; expected 1 or more pixels")


@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """A file that was written.

    Attributes:
        path: The file.
        rows: Rows, objects or pictures in it.
        slide_id: The slide that it shows; None where it has rows of all slides.
    """

    path: Path
    rows: int
    slide_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was exported.

    Attributes:
        slides: How many slides were chosen.
        files: The files, in the order of the slides.
        unit: What `rows` of a file counts: "objects", "pictures", "tile values" or "rows".
        notes: What the user should know, such as folders of ready-made tiles that were left out.
    """

    slides: int
    files: tuple[ExportedFile, ...]
    unit: str
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        rows = sum(file.rows for file in self.files)
        lines = [f"{self.slides} slide(s), {rows:,} {self.unit} in {len(self.files)} file(s)"]
        lines += [f"  {file.path}" for file in self.files[:SHOWN_FILES]]
        lines += [f"  … {more} more in .files"] if (more := len(self.files) - SHOWN_FILES) > 0 else []
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def export(store: Store, request: ExportRequest, *, on_progress: OnProgress = no_progress) -> ExportResult:
    """Write a head's predictions, or a collection's embeddings, to one file or to a file for each slide.

    Raises:
        PredictionsNotFoundError: the head has no predictions.
        SlideNotInStoreError: a slide is not in the store.
        ExportError: there is nothing to export in this format, or the path cannot be written to.
        ConfigError: `where` is not a valid condition.
    """
    scope = export_scope(
        store, head=request.head, collection=request.collection, slides=request.slides, where=request.where
    )
    require_place(request.path, request.format)
    if request.format in SUFFIXES:
        return _export_by_slide(scope, request, on_progress)
    file = ExportedFile(path=request.path, rows=_write_rows(scope, request))
    return ExportResult(slides=len(scope.slides), files=(file,), unit="rows")


def _export_by_slide(scope: ExportScope, request: ExportRequest, on_progress: OnProgress) -> ExportResult:
    scope.tile_values(request.format)  # raises before anything is written
    located, folders = scope.located_slides(request.format, named=bool(request.slides))
    notes = [f"{name!r} is a folder of ready-made tiles, which {request.format} cannot show" for name in folders]
    if request.format == "dicom":
        located, others = _dicom_slides(scope, located, named=bool(request.slides))
        notes += others
    files: list[ExportedFile] = []
    for done, (written, of_slide) in enumerate(_write_slides(scope, request, located), start=1):
        files += written
        notes += of_slide
        on_progress(Progress(stage="export", done=done, total=len(located), unit="slides"))
    unit = {"geojson": "objects", "dicom": "tile values"}.get(request.format, "pictures")
    return ExportResult(slides=len(scope.slides), files=tuple(files), unit=unit, notes=tuple(notes))


def _dicom_slides(scope: ExportScope, slides: list[str], *, named: bool) -> tuple[list[str], list[str]]:
    """The slides that are DICOM, and a note about the others.

    Raises:
        ExportError: none is, or one that is not was named.
    """
    reasons = {slide_id: why_not_dicom(scope.slides[slide_id]) for slide_id in slides}
    others = [reason for reason in reasons.values() if reason]
    if others and (named or len(others) == len(slides)):
        raise ExportError(others[0])
    more = f" ({len(others)} such slides)" if len(others) > 1 else ""
    return [slide_id for slide_id in slides if not reasons[slide_id]], [
        f"left out: {others[0]}{more}"
    ] if others else []


def _write_slides(
    scope: ExportScope, request: ExportRequest, slides: list[str]
) -> Iterator[tuple[list[ExportedFile], list[str]]]:
    """Each slide's files, with notes for the user."""
    for slide_id in slides:
        if request.format == "dicom":
            pair = [slide_path(request.path, slide_id, suffix, single=False) for suffix in DICOM_SUFFIXES]
            *counts, notes = write_dicom(scope, slide_id, *pair, min_probability=request.min_probability)
            written = [
                ExportedFile(path=path, rows=rows, slide_id=slide_id)
                for path, rows in zip(pair, counts, strict=True)
                if rows
            ]
            yield written, notes
            continue
        path = slide_path(request.path, slide_id, SUFFIXES[request.format], single=len(slides) == 1)
        rows, note = 1, None
        if request.format == "geojson":
            rows = write_geojson(
                scope,
                slide_id,
                path,
                origin=request.origin,
                merge=request.merge,
                min_probability=request.min_probability,
            )
        else:
            note = write_heat_map(scope, slide_id, path, of_class=request.of_class, picture_px=request.picture_px)
        yield [ExportedFile(path=path, rows=rows, slide_id=slide_id)], [note] if note else []


def _write_rows(scope: ExportScope, request: ExportRequest) -> int:
    """Write one file with rows of all slides; returns how many rows."""
    path, file_format = request.path, request.format
    match file_format:
        case "slides":
            return write_slide_scores(scope, path)
        case "anndata":
            return write_anndata(scope, path)
        case "parquet":
            return write_table(scope, path, file_format="parquet")
        case _:
            return write_table(scope, path, file_format="csv")
