"""What to label next, and which labels to look at again."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from embedstore.service.answers import OR_ARROW, arrow_answer, json_answer, json_rows, wants_arrow
from embedstore.service.failures import answers
from embedstore.service.routes.search import MOST_NEIGHBOURS
from embedstore.service.visible import SeenByReader, Visible
from heads.config import MOST_MISTAKES, MOST_SUGGESTED, MistakesConfig, Part, Strategy, SuggestConfig

router = APIRouter(prefix="/api", tags=["suggestions"])

#: Most tiles of a pool: 300 MB of vectors of 1,024 dimensions, as they are stored and at length 1.
MOST_POOL = 50_000

Where = Annotated[str | None, Field(max_length=20_000, description="A filter that every tile passes.")]
Class = Annotated[str | None, Field(max_length=200)]
_PLACE: dict[str, Any] = {
    "rank": 1, "tile_id": "-4611686018427387904", "slide_id": "a.svs", "patient": "P042", "x": 20480, "y": 10240,
    "edge_l0": 512, "name": None,
}  # fmt: skip


class SuggestBody(BaseModel):
    """Which tiles to propose; fields as of `embedstore.SuggestConfig`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"n": 20, "where": "cohort = 'A'"}})

    n: int = Field(SuggestConfig().n, ge=1, le=MOST_SUGGESTED, description="Number of tiles.")
    strategy: Strategy | None = Field(
        None, description="How they are chosen; `uncertain-diverse` with a head, else `typical`, when left out."
    )
    where: Where = None
    per_slide: int | None = Field(
        None, ge=1, le=MOST_NEIGHBOURS, description="Most tiles of one slide; twice an even share when left out."
    )
    pool: int = Field(
        SuggestConfig().pool,
        ge=1,
        le=MOST_POOL,
        description="Tiles that are drawn, evenly over slides, and chosen among.",
    )
    label: Class = Field(None, description="`nearest-to-marks`: the class; that with the fewest tiles when left out.")
    seed: int = Field(0, ge=0, lt=1 << 53, description="The same seed proposes the same tiles.")


class SuggestFirstBody(SuggestBody):
    """Which tiles to propose where there is no head; fields as of `embedstore.Collection.suggest`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"n": 20, "task": "tumour"}})

    task: Class = Field(None, description="Tiles that labels of this task are about are left out.")


class FoundTile(BaseModel):
    """A tile and its place; its picture is at /api/collections/COLLECTION/tiles/TILE/picture."""

    rank: int = Field(description="From 1: the order in which to look at them.")
    tile_id: str
    slide_id: str
    patient: str | None
    x: int = Field(description="Level-0 pixel of the top-left corner.")
    y: int
    edge_l0: int
    name: str | None = Field(description="The file of a ready-made tile.")


class SuggestedTile(FoundTile):
    """A tile to be labelled."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                **_PLACE, "tissue": 0.98, "predicted": "tumour", "probability": 0.52, "uncertainty": 0.999,
                "reason": "the head is not certain, and it differs from the others",
            }
        }
    )  # fmt: skip

    tissue: float | None
    predicted: str | None = Field(description="The class that the head takes it for; null without a head.")
    probability: float | None = Field(description="Of that class.")
    uncertainty: float | None = Field(description="Entropy, 0 to 1.")
    reason: str = Field(description="Why it is proposed, for people.")


class SuggestAnswer(BaseModel):
    """Tiles to be labelled next."""

    collection: str
    title: str
    notes: list[str] = Field(description="What the user should know: how many tiles were looked at, why there are few.")
    tiles: list[SuggestedTile]


class MistakesBody(BaseModel):
    """Which tiles to list; fields as of `embedstore.MistakesConfig`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"n": 50, "label": "tumour"}})

    n: int = Field(MistakesConfig().n, ge=1, le=MOST_MISTAKES, description="Most tiles.")
    where: Where = None
    label: Class = Field(None, description="Only tiles that are labelled with this class.")
    predicted: Class = Field(None, description="Only tiles that the head takes for this class.")
    part: Part | None = Field(None, description="Only of this part; `new`: not among what the head was fitted on.")


class MistakenTile(FoundTile):
    """A labelled tile that the head takes for another class."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                **_PLACE, "label": "tumour", "label_probability": 0.03, "predicted": "normal", "probability": 0.97,
                "part": "test", "authors": "ann, bob",
            }
        }
    )  # fmt: skip

    label: str = Field(description="What its label says.")
    label_probability: float = Field(description="That the head gives to it; the smallest come first.")
    predicted: str = Field(description="What the head says.")
    probability: float | None = Field(description="Of that class.")
    part: Part = Field(
        description="`test`: predicted by networks that have not seen its label; `train` and `valid`: they have; "
        "`new`: labelled since the head was fitted."
    )
    authors: str = Field(description="Who gave the label; several are joined by a comma.")


class MistakesAnswer(BaseModel):
    """Labelled tiles where a head and the labels disagree, the most certain first."""

    collection: str
    title: str
    notes: list[str] = Field(description="What the user should know: of how many tiles, and what hides mistakes.")
    tiles: list[MistakenTile]


@router.post("/heads/{head}/suggest", response_model=SuggestAnswer, responses=OR_ARROW | answers(409))
async def suggest_for_head(request: Request, seen: SeenByReader, head: str, body: SuggestBody) -> Response:
    """Tiles without a label that would teach a head most: uncertain, different, and spread over slides and patients."""

    def propose() -> Response:
        from heads.active import suggest_tiles
        from heads.head import Head

        tables = seen.service.tables
        chosen = Head.from_stored(tables.heads.get(head))
        collection = seen.service.collection(chosen.collection).table
        found = suggest_tiles(tables, collection, _suggest_config(seen, body), head=chosen, labels_of=seen.labels_of())
        return _answer(request, seen, collection.name, found)

    return await seen.run("batches", request, propose)


@router.post("/collections/{collection}/suggest", response_model=SuggestAnswer, responses=OR_ARROW | answers(409))
async def suggest_first(request: Request, seen: SeenByReader, collection: str, body: SuggestFirstBody) -> Response:
    """Tiles to begin with, where there is no head yet: typical ones, spread over slides and patients."""

    def propose() -> Response:
        from heads.active import suggest_tiles

        chosen = seen.service.collection(collection).table
        config, task = _suggest_config(seen, body), body.task
        found = suggest_tiles(seen.service.tables, chosen, config, task=task, labels_of=seen.labels_of())
        return _answer(request, seen, collection, found)

    return await seen.run("batches", request, propose)


@router.post("/heads/{head}/mistakes", response_model=MistakesAnswer, responses=OR_ARROW | answers(409))
async def find_mistakes(request: Request, seen: SeenByReader, head: str, body: MistakesBody) -> Response:
    """Labelled tiles that a head takes for another class, the most certain first, and whose the labels are."""

    def find() -> Response:
        from heads.active import find_mistakes

        tables = seen.service.tables
        stored = tables.heads.get(head)
        config = MistakesConfig(**{**body.model_dump(), "where": seen.where(body.where)})
        found = find_mistakes(tables, stored, config, labels_of=seen.labels_of())
        return _answer(request, seen, stored.collection, found)

    return await seen.run("batches", request, find)


def _suggest_config(seen: Visible, body: SuggestBody) -> SuggestConfig:
    return SuggestConfig(**{**body.model_dump(exclude={"task"}), "where": seen.where(body.where)})


def _answer(request: Request, seen: Visible, collection: str, found: Any) -> Response:
    table, title, notes = seen.table(found.table), seen.text(found.title), [seen.text(note) for note in found.notes]
    if wants_arrow(request, None):
        return arrow_answer(table, metadata={"title": title, "notes": json.dumps(notes)})
    return json_answer({"collection": collection, "title": title, "notes": notes, "tiles": json_rows(table)})
