"""One call writes a collection in the layout of another tool: slide by slide, and what stands already stays."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embedstore.config import Settings, require
from embedstore.errors import LayoutExportError
from embedstore.export.predictions import ExportScope, export_scope
from embedstore.export.predictions.anndata_export import about_export, prediction_tables
from embedstore.export_format import LayoutName
from embedstore.layouts.writing import (
    COLUMNS,
    WRITTEN_LAYOUTS,
    SlideTiles,
    WrittenLayout,
    is_done,
    make_mark,
    renamed,
    slide_names,
)
from embedstore.output_files import FILE_BYTES, ROW_BYTES, remove_leftovers, require_folder, require_room
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.store import SlideRow, SlideRows, Store

SHOWN = 6  # files or slides of a result that a notebook shows


@dataclass(frozen=True, kw_only=True)
class LayoutExportRequest(Settings):
    """What to write in the layout of another tool.

    Attributes:
        layout: trident (Patho-Bench reads it too), clam, stamp, anndata (a .h5ad a slide), spatialdata (a .zarr a
            slide, as LazySlide keeps it) or parquet (a file a slide).
        folder: The folder to write to, such as TRIDENT's job.
        head: anndata, spatialdata, parquet: add the predictions of this head.
        collection: Collection to write where no head is named; may be left out where there is only one.
        slides: Only these slides.
        where: Only slides whose row fulfils this SQL, such as "cohort = 'A'".
        columns: anndata, spatialdata, parquet: add these columns of slides, such as patient; none without it, as the
            files may go to others.
    """

    layout: LayoutName
    folder: Path
    head: str | None = None
    collection: str | None = None
    slides: tuple[str, ...] = ()
    where: str | None = None
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.head is None or self.collection is None,
            f"head {self.head!r} and collection {self.collection!r} are both named; a head knows its collection",
        )
        asked = "the predictions of a head" if self.head else "columns of slides" if self.columns else None
        require(
            asked is None or WRITTEN_LAYOUTS[self.layout].columns,
            f"{self.layout} has vectors and places, and no room for {asked}; export them with --layout anndata, "
            "spatialdata or parquet",
        )


@dataclass(frozen=True, kw_only=True)
class ExportedSlide:
    """A slide of an export in the layout of another tool.

    Attributes:
        slide_id: The slide.
        path: Its file, or folder; of several, that with the vectors.
        tiles: Number of its tiles.
        stood: It stood there already, as this export would write it, and was left.
    """

    slide_id: str
    path: Path
    tiles: int
    stood: bool = False


@dataclass(frozen=True, kw_only=True)
class LayoutExportResult:
    """What was written in the layout of another tool.

    Attributes:
        layout: The layout.
        slides: The slides that stand in the folder now, in the order of their ids.
        failed: {slide: why it could not be written}.
        notes: What the user should know.
    """

    layout: str
    slides: tuple[ExportedSlide, ...]
    failed: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        tiles, stood = sum(slide.tiles for slide in self.slides), sum(slide.stood for slide in self.slides)
        lines = [f"{len(self.slides)} slide(s), {tiles:,} tiles as {self.layout}; {stood} stood there already"]
        lines += [f"  {slide.path}" for slide in self.slides[:SHOWN]]
        lines += [f"  … {more} more in .slides"] if (more := len(self.slides) - SHOWN) > 0 else []
        lines += [f"  failed: {slide_id}: {reason}" for slide_id, reason in list(self.failed.items())[:SHOWN]]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def export_layout(
    store: Store, request: LayoutExportRequest, *, on_progress: OnProgress = no_progress
) -> LayoutExportResult:
    """Write a collection, or some of its slides, in the layout of another tool.

    A slide is written whole or not at all, and only some blocks of its vectors are in memory. A slide that stands in
    the folder already, from the same vectors, is left; one from older vectors of the collection is replaced; a file
    that embedstore did not write, or wrote from another collection, stays, and that slide fails.

    Raises:
        SlideNotInStoreError: a slide is not in the store.
        PredictionsNotFoundError: the head has no predictions.
        ExportError: there is nothing to write, or the folder cannot be written to.
        ConfigError: `where` is not a valid condition, or there is no such column of slides.
    """
    layout = WRITTEN_LAYOUTS[request.layout]
    scope = export_scope(
        store, head=request.head, collection=request.collection, slides=request.slides, where=request.where
    )
    _check_columns(store, request.columns)
    chosen, notes = list(scope.slides), []
    if layout.located:
        chosen, folders = scope.located_slides(request.layout, named=bool(request.slides))
        notes = [f"{name!r} is a folder of ready-made tiles, which have no place on a slide" for name in folders]
    require_folder(request.folder)
    remove_leftovers(request.folder)
    names = slide_names(chosen, flat=layout.flat)
    notes += _renamed(names, layout)
    source = _Source(scope, request, names)
    written: list[ExportedSlide] = []
    failed: dict[str, str] = {}
    for done, slide_id in enumerate(sorted(chosen), start=1):
        try:
            written.append(_write(layout, request.folder, source.tiles(slide_id)))
        except LayoutExportError as error:
            failed[slide_id] = str(error)
        on_progress(Progress(stage="export", done=done, total=len(chosen), unit="slides"))
    return LayoutExportResult(layout=request.layout, slides=tuple(written), failed=failed, notes=tuple(notes))


def _write(layout: WrittenLayout, folder: Path, tiles: SlideTiles) -> ExportedSlide:
    files = layout.files(folder, tiles)
    stood = is_done(files, tiles.mark)
    if not stood:
        size = len(tiles) * (tiles.dim * layout.value_bytes + ROW_BYTES) + FILE_BYTES
        require_room(folder, size, then="then run the same command again, which goes on there")
        layout.write(folder, tiles)
    return ExportedSlide(slide_id=tiles.slide_id, path=files[0], tiles=len(tiles), stood=stood)


class _Source:
    """Gives the tiles of each slide of an export."""

    def __init__(self, scope: ExportScope, request: LayoutExportRequest, names: Mapping[str, str]):
        self._scope, self._request, self._names = scope, request, names
        collection = scope.store.collection(scope.collection)
        self._record, self._dim = collection.record(), collection.dim
        self._rows = SlideRows(collection)
        outcomes = scope.store.ledger.outcomes(collection=scope.collection)
        self._run = {outcome.slide_id: (outcome.run_id, outcome.updated_at) for outcome in outcomes}
        predictions = scope.predictions
        self._predicted_at = None if predictions is None else predictions.written_at()
        self._about = about_export(scope)

    def tiles(self, slide_id: str) -> SlideTiles:
        """A slide's tiles, without their vectors."""
        slide, ref = self._scope.slides[slide_id], self._record.extractor.ref
        rows = self._rows.table(slide_id, COLUMNS)
        mark = make_mark(
            collection=self._scope.collection, extractor=ref.digest, made_of=(self._scope.collection, ref.digest),
            slide=slide_id, tiles=len(rows), run=self._run.get(slide_id), layout=self._request.layout,
            columns=self._request.columns,
            head=self._about.get("head"), predicted=self._predicted_at,
            slide_facts=[slide.column(name) for name in ("slide_mpp", "width_l0", "height_l0", *self._request.columns)],
        )  # fmt: skip
        return SlideTiles(
            slide_id=slide_id, name=self._names[slide_id], rows=self._with_columns(rows, slide),
            blocks=functools.partial(self._rows.vectors, slide_id), dim=self._dim, collection=self._scope.collection,
            extractor=self._record.extractor, tiling=self._record.tiling, slide_mpp=slide.slide_mpp,
            size_l0=_pair(slide.width_l0, slide.height_l0), bounds_l0=_bounds(slide), about=self._about, mark=mark,
        )  # fmt: skip

    def _with_columns(self, rows: pa.Table, slide: SlideRow) -> pa.Table:
        """Tiles with predictions, and with the columns of their slide that were asked for."""
        scope = replace(self._scope, slides={slide.slide_id: slide}, all_slides=False)
        keys = rows.append_column("slide_id", pa.array([slide.slide_id] * len(rows), pa.string()))
        for key, table in prediction_tables(scope):
            at = pc.index_in(keys[key], value_set=table[key].combine_chunks())
            for name in table.column_names:
                if name != key:
                    rows = rows.append_column(name, table[name].combine_chunks().take(at))
        for name in self._request.columns:
            column = pa.array([slide.column(name)] * len(rows))
            if pa.types.is_null(column.type):
                column = column.cast(pa.string())
            rows = rows.append_column(name if name not in rows.column_names else f"slide_{name}", column)
        return rows


def _check_columns(store: Store, columns: tuple[str, ...]) -> None:
    hidden = ("slide_id", "path", "fingerprint")
    known = [name for name in store.ledger.slide_schema().names if name not in hidden]
    for name in columns:
        require(name in known, f"slides have no column {name!r} to export; they have {', '.join(known)}")


def _renamed(names: dict[str, str], layout: WrittenLayout) -> list[str]:
    others = renamed(names, flat=layout.flat)
    if not others:
        return []
    first = others[0]
    return [
        f"{len(others)} slide(s) share the name of their file with others, so their files have the whole id, such as "
        f"{names[first]!r} for {first!r}; the tool does not find them by the slide's file name"
    ]


def _pair(width: int | None, height: int | None) -> tuple[int, int] | None:
    return None if not width or not height else (width, height)


def _bounds(slide: SlideRow) -> tuple[int, int, int, int] | None:
    if not slide.bounds_width or not slide.bounds_height:
        return None
    return (*slide.corner_l0, slide.bounds_width, slide.bounds_height)
