"""Predictions of a head: as rows, and of one slide as a raster for viewers or as a file."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

import pyarrow as pa
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from embedstore.errors import PredictionsNotFoundError, TooLargeError
from embedstore.export import RasterType, export_scope, prediction_raster
from embedstore.progress import no_progress
from embedstore.service.answers import (
    TABLE,
    Format,
    Limit,
    Offset,
    TableAnswer,
    content,
    most_rows,
    table_answer,
    wants_arrow,
)
from embedstore.service.failures import answers
from embedstore.service.jobs import Export, Workplace
from embedstore.service.routes.jobs import instead_of_export
from embedstore.service.visible import SeenByReader, Visible
from embedstore.store import Predictions
from embedstore.temporary_folder import make_temporary_folder

router = APIRouter(prefix="/api/heads/{head}/predictions", tags=["predictions"])

RASTER = "application/vnd.safetensors"
#: A slide with more tiles is exported by a job: as GeoJSON 20,000 take a third of a second.
MOST_DIRECT_TILES = 20_000

Kind = Annotated[Literal["predictions", "attention"], Query(description="`attention`: of a head for slides, to tiles.")]


@router.get("", response_model=TableAnswer, responses=TABLE | answers())
async def list_predictions(
    request: Request,
    seen: SeenByReader,
    head: str,
    slide_id: Annotated[str | None, Query(max_length=1000, description="Only of this slide.")] = None,
    kind: Kind = "predictions",
    offset: Offset = 0,
    limit: Limit = None,
    format: Format = None,
) -> Response:
    """What a head predicted, a row a tile or slide: `label`, and `p_…` for each class. `total` is without the limit."""

    def read() -> Response:
        table = _predictions(seen, head, kind)
        facts = {"version": str(table.version())}  # before the rows are read
        counts = _seen_counts(seen, table)
        if slide_id is not None:
            chosen = seen.slide(slide_id)
            seen.looked(chosen, "predictions")
            counts = {chosen: counts.get(chosen, 0)}
        most = most_rows(request, limit, arrow=wants_arrow(request, format))
        rows = pa.Table.from_batches(_some(table, list(counts), offset, most), table.schema())
        total = sum(counts.values())
        return table_answer(request, seen.table(rows), total=total, limit=limit, format=format, metadata=facts)

    return await seen.run("reads", request, read)


def _predictions(seen: Visible, head: str, kind: Literal["predictions", "attention"] = "predictions") -> Predictions:
    """The table of a head.

    Raises:
        HeadNotFoundError, PredictionsNotFoundError: there is no such head, or it has predicted nothing.
    """
    tables = seen.service.tables
    table = tables.predictions(head, kind)
    if not table.exists():
        tables.heads.get(head)
    table.facts()
    return table


def _seen_counts(seen: Visible, table: Predictions) -> dict[str, int]:
    """{slide that the caller sees: number of its rows}."""
    counts, visible = table.slides(), seen.slides()
    return counts if visible is None else {name: rows for name, rows in counts.items() if name in visible}


def _some(table: Predictions, slides: list[str], offset: int, most: int) -> Iterator[pa.RecordBatch]:
    """`most` rows from `offset` on; what comes behind them is not read."""
    for batch in table.batches(slides=slides):
        yield batch.slice(offset, most)
        most -= max(0, min(most, batch.num_rows - offset))
        offset = max(0, offset - batch.num_rows)
        if most == 0:
            return


@router.get("/slides", responses=answers())
async def predicted_slides(
    request: Request, seen: SeenByReader, head: str, kind: Kind = "predictions"
) -> dict[str, int]:
    """The slides that a head has predicted, with the number of their rows."""

    def read() -> dict[str, int]:
        counts = _seen_counts(seen, _predictions(seen, head, kind))
        return {seen.shown_id(name): rows for name, rows in counts.items()}

    return await seen.run("reads", request, read)


@router.get(
    "/{slide_id:path}/raster",
    response_class=Response,
    responses=content(RASTER) | {304: {"description": "It is as the client has it."}} | answers(),
)
async def show_raster(
    request: Request,
    seen: SeenByReader,
    head: str,
    slide_id: str,
    type: Annotated[RasterType, Query(description="Of a value: uint8, 255 for none; or float16.")] = "uint8",
) -> Response:
    """Predictions on the tiles of a slide, a value a tile, for a viewer that colours them itself.

    The body is in the format safetensors: 8 bytes with the length n of the header (little endian), n bytes of JSON,
    then the arrays. `values` is (planes, rows, columns): uint8, 0 to 254 for a probability of 0 to 1, and 255 where no
    tile is; `decided` (rows, columns) int16: the class decided on, -1 for none. `__metadata__.raster` of the header is
    JSON with `planes` (the classes; or attention, as ranks), `origin_l0` (x, y), `step_l0` and `edge_l0` (level-0
    pixels), `thresholds`, and the head. The square of the tile in a cell begins at the cell's top-left corner. A slide
    that the head has not predicted is not found.
    """

    def read() -> Response:
        slide = seen.slide(slide_id)
        seen.looked(slide, "raster")
        tables = seen.service.tables
        facts = _predictions(seen, head).facts()
        table = tables.predictions(head, "predictions" if facts.level == "tile" else "attention")
        key = "raster", head, facts.head_digest, table.version(), slide, seen.shown_id(slide), type
        tag = f'"{hashlib.blake2b(repr(key).encode(), digest_size=12).hexdigest()}"'
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)

        def make() -> bytes:
            if slide not in table.slides():
                raise PredictionsNotFoundError(
                    f"head {head!r} has not predicted slide {slide_id!r}; POST /api/heads/{head}/predict does"
                )
            raster = prediction_raster(export_scope(tables, head=head, slides=[slide]), slide)
            return replace(raster, slide_id=seen.shown_id(slide)).to_bytes(type)

        return Response(seen.service.drawn.get_or_make(key, make), media_type=RASTER, headers=headers)

    return await seen.run("reads", request, read)


@router.get(
    "/{slide_id:path}/export",
    response_class=FileResponse,
    responses=content("application/geo+json", "image/png", "text/csv", "application/vnd.apache.parquet") | answers(),
)
async def export_slide(
    request: Request,
    seen: SeenByReader,
    head: str,
    slide_id: str,
    format: Annotated[Literal["geojson", "png", "csv", "parquet"], Query()],
    origin: Annotated[Literal["bounds", "level0"], Query(description="geojson: where coordinates begin.")] = "bounds",
    merge: Annotated[bool, Query(description="geojson: unite neighbours of one class.")] = False,
    min_probability: Annotated[float, Query(ge=0, le=1)] = 0.0,
    of_class: Annotated[str | None, Query(max_length=200, description="png: whose probability.")] = None,
    picture_px: Annotated[int, Query(ge=64, le=8192, description="png: longer side.")] = 1600,
) -> FileResponse:
    """Predictions of one slide as a file: GeoJSON for QuPath, a heat map as PNG, or rows.

    A slide with very many tiles, and several slides, are exported by a job: POST /api/exports.
    """

    def write() -> FileResponse:
        seen.require_names("an export", instead=instead_of_export(head))
        slide = seen.slide(slide_id)
        seen.looked(slide, "export")
        rows = _predictions(seen, head).slides().get(slide, 0)
        if rows > MOST_DIRECT_TILES and format != "parquet":
            raise TooLargeError(
                f"slide {slide_id!r} has {rows:,} predicted tiles, and at most {MOST_DIRECT_TILES:,} are written while "
                "you wait; POST /api/exports writes them in the background"
            )
        settings: dict[str, Any] = {"origin": origin, "merge": merge, "min_probability": min_probability}
        if format == "png":
            settings = {"of_class": of_class, "picture_px": picture_px}
        folder = make_temporary_folder("export")
        try:
            export = Export(format=format, head=head, slides=(slide,), settings=settings)
            service = seen.service
            at = Workplace(tables=service.tables, store=service.store, folder=folder, on_progress=no_progress)
            path, media_type, _ = export.write(at)
            return FileResponse(
                path,
                filename=path.name,
                media_type=media_type,
                background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    return await seen.run("exports", request, write)
