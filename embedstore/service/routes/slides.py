"""Slides: listed with filter, sort and paging; one slide with its outcome in every collection."""

from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from embedstore.errors import ConfigError
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
from embedstore.service.visible import SeenByReader, Visible

router = APIRouter(prefix="/api", tags=["slides"])

Text = Annotated[str | None, Query(max_length=200, description="Only slides whose id or patient holds this text.")]
Where = Annotated[str | None, Query(max_length=20_000, description="A filter over the columns of slides.")]


@router.get("/slides", response_model=TableAnswer, responses=TABLE | answers())
async def list_slides(
    request: Request,
    seen: SeenByReader,
    text: Text = None,
    where: Where = None,
    state: Annotated[
        Literal["done", "empty", "failed"] | None, Query(description="Only slides with this outcome.")
    ] = None,
    collection: Annotated[str | None, Query(description="The collection that `state` is of.")] = None,
    sort: Annotated[str, Query(max_length=200, description="Column to sort by.")] = "slide_id",
    order: Literal["ascending", "descending"] = "ascending",
    offset: Offset = 0,
    limit: Limit = None,
    format: Format = None,
) -> Response:
    """Slides, a row each: its size, resolution, patient, and the columns of the user's list that are shown."""

    def read() -> Response:
        version = str(seen.service.tables.ledger.version())  # before the rows are read
        found = _chosen(seen, text, where, state, collection)
        _require_column(found, sort)
        found = found.take(pc.sort_indices(found, [(sort, order)]))
        return table_answer(request, found, offset=offset, limit=limit, format=format, metadata={"version": version})

    return await seen.run("reads", request, read)


def _chosen(seen: Visible, text: str | None, where: str | None, state: str | None, collection: str | None) -> pa.Table:
    slides = seen.slide_table()
    if where is not None:
        chosen = seen.select_slides(where)
        slides = slides.filter(pc.is_in(slides["slide_id"], value_set=pa.array(chosen, pa.string())))
    if state is not None:
        rows = seen.table(seen.service.store.outcomes(collection=collection, states=[state]).to_arrow())  # type: ignore[list-item]
        slides = slides.filter(pc.is_in(slides["slide_id"], value_set=pc.unique(rows["slide_id"])))
    if text:
        holds = [
            pc.fill_null(pc.match_substring(slides[name], text, ignore_case=True), False)
            for name in ("slide_id", "patient")
            if name in slides.column_names
        ]
        slides = slides.filter(holds[0] if len(holds) == 1 else pc.or_(*holds))
    return slides


class SlideCard(BaseModel):
    """A slide in short, beside the columns of the user's list that are shown."""

    model_config = ConfigDict(extra="allow")

    slide_id: str
    kind: str | None = Field(description="`wsi`, or `tiles`: a folder of ready-made tiles.")
    patient: str | None
    slide_mpp: float | None = Field(description="Micrometres per level-0 pixel.")
    tissue_mm2: float | None
    state: Literal["done", "empty", "failed"] | None = Field(
        description="What became of it in the collection; null where it was not ingested into it."
    )
    tiles: int | None = Field(description="Its tiles in the collection.")
    reason: str | None = Field(description="Why it failed, or is empty.")


class SlideCards(BaseModel):
    """Slides of a collection, and what there is of them in numbers."""

    total: int = Field(description="Slides that were found, before offset and limit.")
    states: dict[str, int] = Field(description="How many of each state there are, `none` included, whatever `state`.")
    tiles: int = Field(description="Tiles of the slides that were found.")
    tissue_mm2: float
    rows: list[SlideCard]


#: What an outcome adds to the row of a slide.
_OUTCOME = ("state", "tiles", "reason")


@router.get("/collections/{collection}/slide-cards", response_model=SlideCards, responses=answers())
async def slide_cards(
    request: Request,
    seen: SeenByReader,
    collection: str,
    text: Text = None,
    where: Where = None,
    state: Annotated[
        Literal["done", "empty", "failed", "none"] | None, Query(description="`none`: not ingested into it.")
    ] = None,
    sort: Annotated[str, Query(max_length=200, description="Column to sort by.")] = "slide_id",
    order: Literal["ascending", "descending"] = "ascending",
    offset: Offset = 0,
    limit: Limit = None,
) -> Response:
    """Slides with what became of them in a collection: for a wall of thumbnails."""

    def read() -> Response:
        table = seen.service.collection(collection).table
        cards = _with_outcomes(seen, _chosen(seen, text, where, None, None), table.name)
        states = pc.fill_null(cards["state"], "none")
        counts = {row["values"]: row["counts"] for row in states.value_counts().to_pylist()}
        if state is not None:
            cards = cards.filter(pc.equal(states, state))
        _require_column(cards, sort)
        keys = {"slide_id": "ascending"} | {sort: order}
        found = cards.take(pc.sort_indices(cards, [(name, keys[name]) for name in dict.fromkeys([sort, "slide_id"])]))
        return json_answer(
            {
                "total": found.num_rows,
                "states": counts,
                "tiles": pc.sum(found["tiles"]).as_py() or 0,
                "tissue_mm2": pc.sum(found["tissue_mm2"]).as_py() or 0,
                "rows": json_rows(found.slice(offset, most_rows(request, limit, arrow=False))),
            }
        )

    return await seen.run("reads", request, read)


def _with_outcomes(seen: Visible, slides: pa.Table, collection: str) -> pa.Table:
    """Slides with the columns of their outcome in a collection; null where there is none."""
    outcomes = seen.table(seen.service.tables.ledger.outcome_table(collection, ["slide_id", *_OUTCOME]))
    positions = pc.index_in(slides["slide_id"], value_set=outcomes["slide_id"].combine_chunks())
    for name in _OUTCOME:
        column = outcomes[name].take(positions)
        if name in slides.column_names:  # a column of the user's list
            slides = slides.drop_columns([name])
        slides = slides.append_column(name, column)
    return slides


def _require_column(slides: pa.Table, sort: str) -> None:
    if sort not in slides.column_names:
        raise ConfigError(f"slides have no column {sort!r} to sort by; they have {', '.join(slides.column_names)}")


@router.get("/outcomes", response_model=TableAnswer, responses=TABLE | answers())
async def list_outcomes(
    request: Request,
    seen: SeenByReader,
    collection: str | None = None,
    state: Annotated[list[Literal["done", "empty", "failed"]], Query(max_length=3)] = [],  # noqa: B006
    slide_id: Annotated[str | None, Query(description="Only of this slide.")] = None,
    offset: Offset = 0,
    limit: Limit = None,
    format: Format = None,
) -> Response:
    """The outcome for each slide in each collection: state, tiles, and the reason of a failure."""

    def read() -> Response:
        slide = None if slide_id is None else seen.slide(slide_id)
        rows = seen.service.store.outcomes(collection=collection, states=state, slide_id=slide)
        return table_answer(request, seen.table(rows.to_arrow()), offset=offset, limit=limit, format=format)

    return await seen.run("reads", request, read)


@router.get("/slides/{slide_id:path}", response_model=dict[str, Any], responses=OR_ARROW | answers())
async def show_slide(request: Request, seen: SeenByReader, slide_id: str) -> Response:
    """A slide's row, and its outcome in each collection."""

    def read() -> Response:
        slide = seen.slide(slide_id)
        seen.looked(slide, "slide")
        if wants_arrow(request, None):  # the row alone, with the types of its columns
            slides = seen.slide_table()
            return arrow_answer(slides.filter(pc.equal(slides["slide_id"], slide_id)))
        outcomes = seen.table(seen.service.store.outcomes(slide_id=slide).to_arrow())
        return json_answer({**seen.slide_row(seen.service.store.slide(slide)), "outcomes": outcomes.to_pylist()})

    return await seen.run("reads", request, read)
