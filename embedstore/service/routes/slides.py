"""Slides: listed with filter, sort and paging; one slide with its outcome in every collection."""

from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Query, Request, Response

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
        if sort not in found.column_names:
            raise ConfigError(f"slides have no column {sort!r} to sort by; they have {', '.join(found.column_names)}")
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
