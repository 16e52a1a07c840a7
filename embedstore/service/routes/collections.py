"""Collections: what they hold, their tiles and vectors, and what a filter may name."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from embedstore.collection_summary import TILE_COLUMNS
from embedstore.search.filters import TilePage, tile_page
from embedstore.service.answers import (
    MOST_VECTOR_BYTES,
    OR_ARROW,
    TABLE,
    Format,
    Limit,
    TableAnswer,
    arrow_answer,
    json_answer,
    json_rows,
    most_rows,
    table_answer,
    wants_arrow,
)
from embedstore.service.failures import answers
from embedstore.service.routes.tiles import PixelInQuery, TileIdInPath, WithVector, tile_answer, tile_at_answer
from embedstore.service.visible import SeenByReader, Visible

router = APIRouter(prefix="/api/collections", tags=["collections"])

Version = Annotated[
    int | None, Query(ge=1, lt=1 << 63, description="Version of the first page, for those that follow it.")
]
Start = Annotated[int, Query(ge=0, lt=1 << 62, description="`next` of the page before.")]
#: What is told of a warm collection: its folder is the server's own affair.
_WARM = ("state", "version", "tiles", "memory_bytes", "recall")
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
    """A collection: extractor, tiling, number of slides and tiles, its search index, and whether it is kept warm."""

    def read() -> Response:
        chosen = seen.service.collection(collection)
        warm = chosen.warm_facts
        facts = {
            "index": seen.of_whole_store(asdict(chosen.index)),
            "index_choice": chosen.index_choice,
            "record": _without_folders(chosen.record.as_record()),
            "warm": None if warm is None else seen.of_whole_store({name: getattr(warm, name) for name in _WARM}),
        }
        return json_answer({**seen.summary(chosen), **facts})

    return await seen.run("reads", request, read)


def _without_folders(record: Any) -> Any:
    """A record in which files of weights are known by their names alone."""
    if not isinstance(record, dict):
        return record
    return {
        name: Path(value).name if name == "weights" and isinstance(value, str) else _without_folders(value)
        for name, value in record.items()
    }


@router.get("/{collection}/filter-columns", responses=answers())
async def filter_columns(request: Request, seen: SeenByReader, collection: str) -> dict[str, str]:
    """The columns that `where` may name, and where each comes from."""
    return await seen.run("reads", request, lambda: seen.filter_columns(seen.service.collection(collection)))


@router.get("/{collection}/slides", responses=answers())
async def slides_of_collection(request: Request, seen: SeenByReader, collection: str) -> dict[str, int]:
    """The slides of a collection that are complete, with the number of their tiles."""
    return await seen.run("reads", request, lambda: seen.slide_counts(seen.service.collection(collection)))


@router.get("/{collection}/tiles", response_model=TableAnswer, responses=TABLE | answers(409))
async def list_tiles(
    request: Request,
    seen: SeenByReader,
    collection: str,
    slide_id: Annotated[str | None, Query(description="Only tiles of this slide.")] = None,
    where: Where = None,
    columns: Annotated[list[str] | None, Query(max_length=100)] = None,
    limit: Limit = None,
    format: Format = None,
    version: Version = None,
    start: Start = 0,
) -> Response:
    """Tiles, a row each, in the order of slides; coordinates are level-0 pixels.

    An Arrow stream says in its metadata where the next page begins (`next`), and of which version it is (`version`).
    """

    def read() -> Response:
        slide = None if slide_id is None else seen.slide(slide_id)
        if slide is not None:
            seen.looked(slide, "tiles")
        most = most_rows(request, limit, arrow=wants_arrow(request, format))
        chosen = seen.service.collection(collection)
        wanted = None if columns is None else [name for name in columns if name != "vector"]
        if wants_arrow(request, format):
            page = tile_page(
                seen.service.tables, chosen.table, seen.where(where), slide_id=slide,
                columns=wanted or TILE_COLUMNS, limit=most, version=version, start=start,
            )  # fmt: skip
            return _page_answer(seen, page)
        tiles = chosen.tiles(slide_id=slide, where=seen.where(where), columns=wanted, limit=most)
        return table_answer(request, seen.table(tiles.to_arrow()), limit=limit, format=format)

    return await seen.run("reads", request, read)


@router.get("/{collection}/vectors", response_class=Response, responses=OR_ARROW | answers(409))
async def vectors(
    request: Request,
    seen: SeenByReader,
    collection: str,
    slide_id: Annotated[str | None, Query(description="Only tiles of this slide.")] = None,
    where: Where = None,
    columns: Annotated[list[str] | None, Query(max_length=100, description="tile_id and vector when left out.")] = None,
    limit: Limit = None,
    version: Version = None,
    start: Start = 0,
) -> Response:
    """Embeddings (float16) as an Arrow stream, in the order of tiles.

    Its metadata says where the next page begins (`next`), and of which version of the collection it is (`version`):
    pages of one version hold each of its rows once, whatever is ingested meanwhile.
    """

    def read() -> Response:
        chosen = seen.service.collection(collection)
        most = min(most_rows(request, limit, arrow=True), max(1, MOST_VECTOR_BYTES // (2 * chosen.dim)))
        slide = None if slide_id is None else seen.slide(slide_id)
        if slide is not None:
            seen.looked(slide, "vectors")
        page = tile_page(
            seen.service.tables, chosen.table, seen.where(where), slide_id=slide,
            columns=columns or ["tile_id", "vector"], limit=most, version=version, start=start,
        )  # fmt: skip
        return _page_answer(seen, page, vectors=True)

    return await seen.run("reads", request, read)


def _page_answer(seen: Visible, page: TilePage, *, vectors: bool = False) -> Response:
    facts = {"version": str(page.version)}
    if page.following is not None:
        facts["next"] = str(page.following)
    return arrow_answer(seen.table(page.rows, vectors=vectors), metadata=facts)


@router.get("/{collection}/tiles/{tile_id}", response_model=dict[str, Any], responses=answers())
async def tile_of_collection(
    request: Request, seen: SeenByReader, collection: str, tile_id: TileIdInPath, vector: WithVector = False
) -> Response:
    """A tile's row."""
    return await seen.run("reads", request, lambda: tile_answer(seen, tile_id, collection, vector=vector))


@router.get("/{collection}/tile-at", response_model=dict[str, Any], responses=answers())
async def tile_of_collection_at(
    request: Request,
    seen: SeenByReader,
    collection: str,
    slide_id: str,
    x: PixelInQuery = None,
    y: PixelInQuery = None,
    vector: WithVector = False,
) -> Response:
    """The row of the tile at a pixel of a slide; of the slide's first tile without a pixel."""
    return await seen.run("reads", request, lambda: tile_at_answer(seen, slide_id, x, y, collection, vector=vector))


@router.get("/{collection}/similar-slides", response_model=list[dict[str, Any]], responses=OR_ARROW | answers())
async def similar_slides(
    request: Request,
    seen: SeenByReader,
    collection: str,
    slide_id: str,
    k: Annotated[int, Query(ge=1, le=1000)] = 10,
    encoder: Annotated[
        str | None, Query(max_length=100, description="An encoding of the slides; their tiles when left out.")
    ] = None,
    where: Where = None,
    exclude_same_patient: bool = False,
) -> Response:
    """Slides similar to a slide, the most similar first."""

    def read() -> Response:
        slide = seen.slide(slide_id)
        found = seen.service.collection(collection).similar_slides(
            slide, k=k, encoder=encoder, where=seen.where(where), exclude_same_patient=exclude_same_patient
        )
        rows = seen.table(found.to_arrow())
        return arrow_answer(rows) if wants_arrow(request, None) else json_answer(json_rows(rows))

    return await seen.run("searches", request, read)
