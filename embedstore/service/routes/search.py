"""Search: the tiles nearest to a tile, a place, a region, a class, words or a vector."""

import json
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from embedstore.api import Collection
from embedstore.errors import NotAllowedError, QueryError, TooLargeError, one_line
from embedstore.progress import no_progress
from embedstore.query_text import MOST_CHARACTERS
from embedstore.search import Query as SearchQuery
from embedstore.search import SearchConfig, away_from, many_queries, more_like, text_query, to_query
from embedstore.search_config import AWAY_WEIGHT, IndexSearchConfig
from embedstore.service.answers import ARROW, OR_ARROW, arrow_answer, json_answer, json_rows, wants_arrow
from embedstore.service.failures import answers
from embedstore.service.visible import SeenByReader, Visible
from embedstore.store import TileLocation

router = APIRouter(prefix="/api/collections/{collection}", tags=["search"])

#: Longest vector that a query may hold, and most examples that it moves to, or away from.
MOST_VALUES, MOST_EXAMPLES = 16_384, 100
MOST_NEIGHBOURS = 10_000
#: Most texts of a query by words: a text tower embeds some ten a second on a CPU.
MOST_PROMPTS = 100
#: Most rows of an answer to many queries.
MOST_ROWS = 1_000_000


def _tile_id(text: str) -> str:
    if not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError("ids of tiles have 64 bits")
    return text


TileId = Annotated[str, Field(pattern=r"^-?[0-9]{1,19}$", examples=["-4611686018427387904"]), AfterValidator(_tile_id)]
Pixel = Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)]
SlideId = Annotated[str, Field(min_length=1, max_length=1000)]


class _Example(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TileExample(_Example):
    """A tile by its id."""

    tile_id: TileId


class PlaceExample(_Example):
    """The tile at a pixel of a slide."""

    slide_id: SlideId
    x: Pixel = Field(description="Level-0 pixel.")
    y: Pixel = Field(description="Level-0 pixel.")


class RegionExample(_Example):
    """The tiles whose centre is in a box of a slide."""

    slide_id: SlideId
    region: tuple[Pixel, Pixel, Pixel, Pixel] = Field(description="x, y, width and height; level-0 pixels.")


class ClassExample(_Example):
    """The mean of the tiles that are labelled with a class of a task."""

    task: str = Field(max_length=200)
    label: str = Field(max_length=200)


class VectorExample(_Example):
    """A vector of the collection's extractor, or a query as the route `query` answers it."""

    vector: list[float] = Field(min_length=1, max_length=MOST_VALUES)
    title: str = Field("a given vector", max_length=1000, description="The query in words.")
    slides: list[SlideId] = Field([], max_length=10_000, description="Slides that it was made from.")
    tile_ids: list[TileId] = Field(
        [], max_length=100_000, description="Tiles that it was made from; a search leaves them out."
    )


Example = TileExample | PlaceExample | RegionExample | ClassExample | VectorExample


class IndexSearch(BaseModel):
    """How the search index is used; fields as of `embedstore.search_config.IndexSearchConfig`."""

    model_config = ConfigDict(extra="forbid")

    nprobes: int = Field(IndexSearchConfig().nprobes, ge=1, le=65_536)
    refine_factor: int = Field(IndexSearchConfig().refine_factor, ge=1, le=100)
    exact: bool = False


class SearchBody(BaseModel):
    """What to search for; fields beside the query as of `embedstore.SearchConfig`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"query": {"slide_id": "a.svs", "x": 20480, "y": 10240}, "k": 20}},
    )

    query: Example
    more_like: list[Example] = Field(
        [], max_length=MOST_EXAMPLES, description="The query is moved to the mean of itself and these."
    )
    away_from: list[Example] = Field([], max_length=MOST_EXAMPLES, description="The query is moved away from these.")
    away_weight: float = Field(AWAY_WEIGHT, ge=0, le=1000, allow_inf_nan=False)
    k: int = Field(10, ge=1, le=MOST_NEIGHBOURS, description="Number of neighbours.")
    where: str | None = Field(None, max_length=20_000, description="A filter that every neighbour passes.")
    exclude_same: Literal["slide", "patient"] | None = None
    per_slide: int | None = Field(None, ge=1, le=MOST_NEIGHBOURS)
    diverse: float = Field(0, ge=0, le=1)
    columns: list[str] = Field([], max_length=100, description="Columns of slides to show beside each neighbour.")
    index_search: IndexSearch = Field(default_factory=lambda: IndexSearch.model_validate({}))


class Hit(BaseModel):
    """A tile that was found."""

    model_config = ConfigDict(extra="allow")

    rank: int
    distance: float = Field(description="1 - cosine, 0 to 2.")
    tile_id: str
    slide_id: str
    patient: str | None
    x: int = Field(description="Level-0 pixel.")
    y: int
    edge_l0: int
    name: str | None
    tissue: float | None


class SearchAnswer(BaseModel):
    """The nearest tiles; the picture of one is at /api/collections/COLLECTION/tiles/TILE/picture."""

    query: str = Field(description="The query in words.")
    note: str = Field(description="What the user should know, such as why there are few neighbours; often empty.")
    hits: list[Hit]


class QueryAnswer(BaseModel):
    """A query as a vector, to search with later or elsewhere."""

    title: str
    vector: list[float]
    slides: list[str] = Field(description="Slides that it was made from.")
    tile_ids: list[str] = Field(description="Tiles that it was made from; a search leaves them out.")
    tiles: list[dict[str, Any]] = Field(description="A few of these tiles, with their places, to show.")


@router.post("/search", response_model=SearchAnswer, responses=OR_ARROW | answers(409))
async def search(request: Request, seen: SeenByReader, collection: str, body: SearchBody) -> Response:
    """The tiles that are nearest to a query, by the cosine of their embeddings; the query's own are left out."""

    def find() -> Response:
        chosen = seen.service.collection(collection)
        query, positives, negatives = (
            [as_query(seen, chosen, example) for example in examples]
            for examples in ([body.query], body.more_like, body.away_from)
        )
        moved = away_from(more_like(query[0], positives), negatives, weight=body.away_weight)
        config = SearchConfig(
            k=body.k,
            where=seen.where(body.where),
            exclude_same=body.exclude_same,
            per_slide=body.per_slide,
            diverse=body.diverse,
            columns=tuple(seen.shown_columns(body.columns)),
            index_search=IndexSearchConfig(**body.index_search.model_dump()),
        )
        version = chosen.table.dataset().version
        hits = chosen.search(moved, config).hits
        seen.service.known_tiles.keep(chosen.table, version, TileLocation.from_table(hits.table))
        table, title, note = seen.table(hits.table), seen.text(hits.query.title), seen.text(hits.note)
        if wants_arrow(request, None):
            made_of = {"slides": _shown_slides(seen, hits.query), "tiles": _shown_tiles(seen, hits.query)}
            return arrow_answer(table, metadata={"query": title, "note": note, "made_of": json.dumps(made_of)})
        return json_answer({"query": title, "note": note, "hits": json_rows(table)})

    return await seen.run("searches", request, find)


@router.post(
    "/search-many",
    response_class=Response,
    responses=OR_ARROW | answers(),
    openapi_extra={
        "requestBody": {"required": True, "content": {ARROW: {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def search_for_many(
    request: Request,
    seen: SeenByReader,
    collection: str,
    k: Annotated[int, Query(ge=1, le=MOST_NEIGHBOURS, description="Neighbours of each query.")] = 10,
    where: Annotated[str | None, Query(max_length=20_000, description="A filter that every neighbour passes.")] = None,
    exclude_same: Literal["slide", "patient"] | None = None,
    columns: Annotated[list[str] | None, Query(max_length=100, description="Columns of slides to show.")] = None,
) -> Response:
    """The nearest tiles of each of many queries, in one call: a table in, a table out, both as Arrow streams.

    The body has a column `tile_id` (int64), or `vector` (a list of numbers of the collection's dimension).
    """
    body = await request.body()

    def find() -> Response:
        queries = _table_of(body)
        if queries.num_rows * k > MOST_ROWS:
            raise TooLargeError(
                f"{queries.num_rows:,} queries with {k} neighbours each are more than {MOST_ROWS:,} rows; ask in parts"
            )
        chosen = seen.service.collection(collection)
        if seen.slides() is not None and "tile_id" in queries.column_names:
            seen.require_slides(many_queries(chosen.table.pinned(), queries).slides or ())
        found = chosen.search_many(
            queries,
            k=k,
            where=seen.where(where),
            exclude_same=exclude_same,
            columns=seen.shown_columns(columns or []),
            on_progress=no_progress,
        )
        return arrow_answer(seen.table(found.to_arrow()))

    return await seen.run("batches", request, find)


def _table_of(body: bytes) -> pa.Table:
    """The table of an Arrow stream.

    Raises:
        QueryError: it is none.
    """
    try:
        with pa.ipc.open_stream(body) as stream:
            table = stream.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise QueryError(f"the body is no Arrow stream ({one_line(str(error))[:100]}); expected a table") from error
    return table


class TextBody(BaseModel):
    """Words to search by."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"texts": ["dense lymphocytes", "an infiltrate of lymphocytes"]}}
    )

    texts: list[Annotated[str, Field(max_length=MOST_CHARACTERS)]] = Field(
        min_length=1, max_length=MOST_PROMPTS, description="Texts that say the same; the query is their mean."
    )


class TextAnswer(BaseModel):
    """Words as a query: search with its vector."""

    title: str
    vector: list[float]


@router.post("/embed-text", response_model=TextAnswer, responses=answers(409))
async def embed_text(request: Request, seen: SeenByReader, collection: str, body: TextBody) -> Response:
    """Embed words with the text tower of the collection's extractor, if it has one: their vector is a query."""
    service = seen.service
    table = await seen.run("reads", request, lambda: service.collection(collection).table)

    def make() -> Response:
        query = text_query(table, body.texts, tower=service.extractors.text_tower(table))
        return json_answer({"title": query.title, "vector": query.vector.tolist()})

    return await seen.run("embeddings", request, make)


@router.post("/query", response_model=QueryAnswer, responses=answers())
async def make_query(request: Request, seen: SeenByReader, collection: str, body: Example) -> Response:
    """A query as a vector: of a tile, a place, a region or a class."""

    def make() -> Response:
        query = as_query(seen, seen.service.collection(collection), body)
        return json_answer(query_record(seen, query))

    return await seen.run("searches", request, make)


def query_record(seen: Visible, query: SearchQuery) -> dict[str, Any]:
    """A query as JSON values; fields as of `QueryAnswer`."""
    return {
        "title": seen.text(query.title),
        "vector": query.vector.tolist(),
        "slides": _shown_slides(seen, query),
        "tile_ids": [str(tile_id) for tile_id in query.tile_ids.tolist()],
        "tiles": _shown_tiles(seen, query),
    }


def _shown_slides(seen: Visible, query: SearchQuery) -> list[str]:
    return [seen.shown_id(slide_id) for slide_id in query.slides]


def _shown_tiles(seen: Visible, query: SearchQuery) -> list[dict[str, Any]]:
    return [
        {**tile._asdict(), "tile_id": str(tile.tile_id), "slide_id": seen.shown_id(tile.slide_id)}
        for tile in query.tiles
    ]


def as_query(seen: Visible, collection: Collection, example: Example) -> SearchQuery:
    """The query of an example.

    Raises:
        TileNotFoundError, SlideNotInStoreError: there is no such tile, or the caller does not see it.
    """
    match example:
        case TileExample():
            query = to_query(seen.service.tables, collection.table, int(example.tile_id))
        case PlaceExample():
            query = to_query(
                seen.service.tables, collection.table, (seen.slide(example.slide_id), example.x, example.y)
            )
        case RegionExample():
            query = collection.query_by_region(seen.slide(example.slide_id), example.region)
        case ClassExample():
            query = collection.query_by_label(example.task, example.label)
            if seen.slides() is not None and len(query.tile_ids):
                reason = "the mean of a class is over all slides, and this token sees a project; search by tiles"
                raise NotAllowedError(reason)
        case VectorExample():
            query = replace(
                collection.query_by_vector(np.asarray(example.vector, np.float64)),
                title=example.title,
                slides=tuple(map(seen.slide, example.slides)),
                tile_ids=np.unique(np.array(example.tile_ids, np.int64)),
            )
    seen.require_slides(query.slides)
    return query
