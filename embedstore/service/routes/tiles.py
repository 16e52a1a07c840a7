"""One tile: by its id, or at a place of a slide, in any collection."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from embedstore.service.answers import json_answer
from embedstore.service.failures import answers
from embedstore.service.visible import SeenByReader, Visible

router = APIRouter(prefix="/api", tags=["collections"])

TileIdInPath = Annotated[int, "A tile's id"]
PixelInQuery = Annotated[int | None, Query(ge=-(1 << 31), lt=1 << 31, description="Level-0 pixel.")]
WithVector = Annotated[bool, Query(description="Also the tile's vector.")]
InCollection = Annotated[str | None, Query(description="Only of this collection; of any when left out.")]


@router.get("/tiles/{tile_id}", response_model=dict[str, Any], responses=answers())
async def show_tile(
    request: Request,
    seen: SeenByReader,
    tile_id: TileIdInPath,
    collection: InCollection = None,
    vector: WithVector = False,
) -> Response:
    """A tile's row."""
    return await seen.run("reads", request, lambda: tile_answer(seen, tile_id, collection, vector=vector))


@router.get("/tile-at", response_model=dict[str, Any], responses=answers())
async def tile_at(
    request: Request,
    seen: SeenByReader,
    slide_id: str,
    x: PixelInQuery = None,
    y: PixelInQuery = None,
    collection: InCollection = None,
    vector: WithVector = False,
) -> Response:
    """The row of the tile at a pixel of a slide; of the slide's first tile without a pixel."""
    return await seen.run("reads", request, lambda: tile_at_answer(seen, slide_id, x, y, collection, vector=vector))


def tile_answer(seen: Visible, tile_id: int, collection: str | None, *, vector: bool) -> Response:
    """A tile's row, as JSON."""
    row = seen.service.store.tile(tile_id, collection=collection)
    answer = _row_answer(seen, row, vector=vector)
    seen.looked(row["slide_id"], "tile")
    return answer


def tile_at_answer(
    seen: Visible, slide_id: str, x: int | None, y: int | None, collection: str | None, *, vector: bool
) -> Response:
    """The row of the tile at a place, as JSON."""
    slide = seen.slide(slide_id)
    seen.looked(slide, "tile")
    place = None if x is None or y is None else (x, y)
    return _row_answer(seen, seen.service.store.tile_at(slide, place, collection=collection), vector=vector)


def _row_answer(seen: Visible, row: dict[str, Any], *, vector: bool) -> Response:
    shown = {**seen.row(row), "tile_id": str(row["tile_id"])}
    return json_answer({**shown, "vector": row["vector"]} if vector else shown)
