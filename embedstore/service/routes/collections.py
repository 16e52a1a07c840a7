"""Collections: what they hold, their tiles and vectors, and what a filter may name."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from embedstore.errors import TileNotFoundError
from embedstore.service.answers import (
    OR_ARROW,
    TABLE,
    Format,
    Limit,
    Offset,
    TableAnswer,
    arrow_answer,
    json_answer,
    json_rows,
    most_rows,
    table_answer,
    wants_arrow,
)
from embedstore.service.failures import answers
from embedstore.service.visible import SeenByReader

router = APIRouter(prefix="/api/collections", tags=["collections"])

Where = Annotated[str | None, Query(max_length=20_000, description="A filter, as of a search.")]


@router.get("", response_model=list[dict[str, Any]], responses=answers())
async def list_collections(request: Request, seen: SeenByReader) -> Response:
    """Every collection with its extractor, tiling, and number of slides and tiles."""

    def read() -> Response:
        store = seen.service.store
        return json_answer([seen.summary(seen.service.collection(each.name)) for each in store.collections])

    return await seen.run("reads", request, read)


@router.get("/{collection}", response_model=dict[str, Any], responses=answers())
async def show_collection(request: Request, seen: SeenByReader, collection: str) -> Response:
    """A collection: extractor, tiling, number of slides and tiles, and the facts of its search index."""

    def read() -> Response:
        chosen = seen.service.collection(collection)
        return json_answer({**seen.summary(chosen), "index": asdict(chosen.index), "record": chosen.record.as_record()})

    return await seen.run("reads", request, read)


@router.get("/{collection}/filter-columns", responses=answers())
async def filter_columns(request: Request, seen: SeenByReader, collection: str) -> dict[str, str]:
    """The columns that `where` may name, and where each comes from."""
    return await seen.run("reads", request, lambda: seen.filter_columns(seen.service.collection(collection)))


@router.get("/{collection}/slides", responses=answers())
async def slides_of_collection(request: Request, seen: SeenByReader, collection: str) -> dict[str, int]:
    """The slides of a collection that are complete, with the number of their tiles."""
    return await seen.run("reads", request, lambda: seen.slide_counts(seen.service.collection(collection)))


@router.get("/{collection}/tiles", response_model=TableAnswer, responses=TABLE | answers())
async def list_tiles(
    request: Request,
    seen: SeenByReader,
    collection: str,
    slide_id: Annotated[str | None, Query(description="Only tiles of this slide.")] = None,
    where: Where = None,
    columns: Annotated[list[str] | None, Query(max_length=100)] = None,
    limit: Limit = None,
    format: Format = None,
) -> Response:
    """Tiles, a row each, in the order of slides; coordinates are level-0 pixels."""

    def read() -> Response:
        slide = None if slide_id is None else seen.slide(slide_id)
        if slide is not None:
            seen.looked(slide, "tiles")
        most = most_rows(request, limit, arrow=wants_arrow(request, format))
        wanted = None if columns is None else [name for name in columns if name != "vector"]
        tiles = seen.service.collection(collection).tiles(
            slide_id=slide, where=seen.where(where), columns=wanted, limit=most
        )
        return table_answer(request, seen.table(tiles.to_arrow()), limit=limit, format=format)

    return await seen.run("reads", request, read)


@router.get("/{collection}/vectors", response_class=Response, responses=OR_ARROW | answers())
async def vectors(
    request: Request, seen: SeenByReader, collection: str, where: Where = None, offset: Offset = 0, limit: Limit = None
) -> Response:
    """Embeddings as an Arrow stream with the columns tile_id and vector (float16), in the order of tiles."""

    def read() -> Response:
        most = most_rows(request, limit, arrow=True)
        tiles = seen.service.collection(collection).tiles(
            where=seen.where(where), columns=["tile_id", "vector"], limit=offset + most
        )
        return arrow_answer(tiles.to_arrow().slice(offset, most))

    return await seen.run("reads", request, read)


@router.get("/{collection}/tiles/{tile_id}", response_model=dict[str, Any], responses=answers())
async def show_tile(
    request: Request,
    seen: SeenByReader,
    collection: str,
    tile_id: Annotated[int, "A tile's id"],
    vector: Annotated[bool, Query(description="Also the tile's vector.")] = False,
) -> Response:
    """A tile's row."""

    def read() -> Response:
        if not -(1 << 63) <= tile_id < 1 << 63:
            raise TileNotFoundError(f"no tile {tile_id}: ids of tiles have 64 bits")
        row = seen.service.store.tile(tile_id, collection=seen.service.collection(collection).name)
        shown = {**seen.row(row), "tile_id": str(tile_id)}
        seen.looked(row["slide_id"], "tile")
        return json_answer({**shown, "vector": row["vector"]} if vector else shown)

    return await seen.run("reads", request, read)


@router.get("/{collection}/tile-at", response_model=dict[str, Any], responses=answers())
async def tile_at(
    request: Request,
    seen: SeenByReader,
    collection: str,
    slide_id: str,
    x: Annotated[int | None, Query(ge=-(1 << 31), lt=1 << 31, description="Level-0 pixel.")] = None,
    y: Annotated[int | None, Query(ge=-(1 << 31), lt=1 << 31, description="Level-0 pixel.")] = None,
    vector: Annotated[bool, Query(description="Also the tile's vector.")] = False,
) -> Response:
    """The row of the tile at a pixel of a slide; of the slide's first tile without a pixel."""

    def read() -> Response:
        slide = seen.slide(slide_id)
        seen.looked(slide, "tile")
        place = None if x is None or y is None else (x, y)
        row = seen.service.store.tile_at(slide, place, collection=seen.service.collection(collection).name)
        shown = {**seen.row(row), "tile_id": str(row["tile_id"])}
        return json_answer({**shown, "vector": row["vector"]} if vector else shown)

    return await seen.run("reads", request, read)


@router.get("/{collection}/similar-slides", response_model=list[dict[str, Any]], responses=answers())
async def similar_slides(
    request: Request,
    seen: SeenByReader,
    collection: str,
    slide_id: str,
    k: Annotated[int, Query(ge=1, le=1000)] = 10,
    where: Where = None,
    exclude_same_patient: bool = False,
) -> Response:
    """Slides similar to a slide, the most similar first."""

    def read() -> Response:
        slide = seen.slide(slide_id)
        found = seen.service.collection(collection).similar_slides(
            slide, k=k, where=seen.where(where), exclude_same_patient=exclude_same_patient
        )
        return json_answer(json_rows(seen.table(found.to_arrow())))

    return await seen.run("searches", request, read)
