"""The map of a collection: its tiles in two dimensions, and what they are coloured by."""

import hashlib
from dataclasses import replace
from typing import Annotated, Literal

import pyarrow as pa
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from embedstore.errors import ConfigError, NotAllowedError
from embedstore.maps import MapColours, TileMap, colours_to_bytes, column_of, map_colours, map_to_bytes, read_map
from embedstore.search.filters.columns import Column
from embedstore.service.answers import content
from embedstore.service.failures import answers
from embedstore.service.routes.jobs import ACCEPTED, JobAnswer, start_job
from embedstore.service.visible import SeenByAdmin, SeenByFitter, SeenByReader, Visible

router = APIRouter(prefix="/api/collections", tags=["maps"])

SAFETENSORS = "application/vnd.safetensors"


class MapBody(BaseModel):
    """Make the map, or place new slides into it; fields as of `MapConfig`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"tiles": 20_000}})

    rebuild: bool = Field(False, description="Make it anew where there is one.")
    method: Literal["pacmap", "pca"] | None = None
    tiles: int | None = Field(None, ge=0, le=1_000_000, description="Tiles on the map, evenly over slides; 0 for all.")
    neighbours: int | None = Field(None, ge=2, le=200)
    seed: int | None = Field(None, ge=0, lt=1 << 31)


@router.post(
    "/{collection}/map", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers()
)  # fmt: skip
async def make_map(request: Request, seen: SeenByFitter, collection: str, body: MapBody) -> Response:
    """Lay the tiles of a collection out in two dimensions, or place new slides into the map that there is; as a job."""
    return await start_job(request, seen, "map", body, collection=collection)


@router.get(
    "/{collection}/map",
    response_class=Response,
    responses=content(SAFETENSORS) | {304: {"description": "It is as the client has it."}} | answers(),
)
async def show_map(request: Request, seen: SeenByReader, collection: str) -> Response:
    """The tiles on the map of a collection, for a viewer that draws them itself.

    The body is in the format safetensors: 8 bytes with the length n of the header (little endian), n bytes of JSON,
    then the arrays: `tile_id` (tiles,) int64; `xy` (tiles, 2) float32, about -1 to 1, to the right and upwards; `slide`
    (tiles,) uint32, an index into `slide_ids`; `placed` (tiles,) uint8, 1 for a tile that came after the map was made.
    `__metadata__.map` of the header is JSON with `slide_ids`, `version`, `record` (method, seed, sample, library …),
    `collection_tiles`, and `new_slides`, those that are not on the map yet. Of more tiles than 100,000 a sample is on
    the map; `note` says so.
    """

    def read() -> Response:
        chosen = seen.service.collection(collection)
        tables, visible = seen.service.tables, seen.slides()
        held = tables.map(collection).pinned()
        version = held.version(), chosen.table.dataset().version
        known = "map", collection, *version, seen.shown_id("a slide"), sorted(visible) if visible is not None else None
        tag = f'"{hashlib.blake2b(repr(known).encode(), digest_size=12).hexdigest()}"'
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        data = seen.service.drawn.get_or_make(("map", tag), lambda: map_to_bytes(_shown(seen, collection)))
        return Response(data, media_type=SAFETENSORS, headers=headers)

    return await seen.run("reads", request, read)


@router.delete("/{collection}/map", status_code=204, response_class=Response, responses=answers(409))
async def remove_map(request: Request, seen: SeenByAdmin, collection: str) -> None:
    """Remove the map of a collection."""

    def remove() -> None:
        if seen.caller.project is not None:
            raise NotAllowedError("a map is of the whole store; a token of a project cannot remove it")
        chosen = seen.service.collection(collection)
        seen.service.tables.map(collection).record()  # raises before the log says that it is removed
        seen.changed("map.remove", collection=collection)
        chosen.remove_map()

    await seen.run("writes", request, remove)


@router.get("/{collection}/map/colours", response_class=Response, responses=content(SAFETENSORS) | answers())
async def show_map_colours(
    request: Request,
    seen: SeenByReader,
    collection: str,
    by: Annotated[
        str,
        Query(
            max_length=500,
            description="slide, patient, label:TASK, head:NAME, or a column of filter-columns.",
            examples=["patient"],
        ),
    ],
) -> Response:
    """A value for each tile on the map, in the order of the tiles there.

    The body is in the format safetensors: `values` (tiles,), int32 indices into `classes`, -1 for none; or float32
    numbers, NaN for none. `__metadata__.colours` of the header is JSON with `by`, `title`, `kind` (classes or numbers),
    `classes`, `counts`, `range`, `threshold`, `positive`, and the `version` of the map that the values are of.
    """

    def read() -> Response:
        tables, visible = seen.service.tables, seen.slides()
        own = tables if visible is None else tables.of_slides(visible)
        table = seen.service.collection(collection).table
        tiles = read_map(own, table, slides=visible)
        column = column_of(own, table, by)
        if not seen.is_shown(column.name.casefold()) and column.source in ("tile", "slide"):
            raise ConfigError(
                f"no column {by!r} to colour by; GET /api/collections/{collection}/filter-columns lists them"
            )
        colours = _with_shown_names(seen, column, map_colours(own, table, tiles, by))
        return Response(colours_to_bytes(colours, tiles.facts.version), media_type=SAFETENSORS)

    return await seen.run("reads", request, read)


def _shown(seen: Visible, collection: str) -> TileMap:
    """The map as the caller sees it: of their slides, by the names that they know."""
    visible = seen.slides()
    tiles = read_map(seen.service.tables, seen.service.collection(collection).table, slides=visible)
    facts = tiles.facts
    if visible is not None:  # how many tiles others have is not told
        facts = replace(
            facts,
            record=replace(facts.record, tiles=facts.tiles, candidates=facts.collection_tiles, slides=facts.slides),
        )
    return TileMap(seen.table(tiles.rows), facts)


def _with_shown_names(seen: Visible, column: Column, colours: MapColours) -> MapColours:
    """Slides and patients by the names that the caller knows."""
    if colours.kind != "classes" or column.source not in ("tile", "slide"):
        return colours
    shown = seen.table(pa.table({column.name: pa.array(colours.classes, pa.string())}))
    return replace(colours, classes=tuple(shown[column.name].to_pylist()))
