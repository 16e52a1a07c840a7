"""What an administrator does: removes slides and patients, and reads the access log and how ingests went."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from embedstore.errors import NotAllowedError, SlideNotInStoreError
from embedstore.service.answers import TABLE, Format, Limit, Offset, TableAnswer, table_answer
from embedstore.service.failures import answers
from embedstore.service.visible import SeenByAdmin

router = APIRouter(prefix="/api", tags=["admin"])

Name = Annotated[str, Field(min_length=1, max_length=1000)]


class RemoveBody(BaseModel):
    """Slides, and patients with all their slides."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"patients": ["P042"]}})

    slides: list[Name] = Field([], max_length=10_000)
    patients: list[Name] = Field([], max_length=10_000)


class RemoveAnswer(BaseModel):
    """What was removed."""

    slides: list[str]
    tiles: dict[str, int] = Field(description="{collection: tiles removed}.")


@router.post("/remove", responses=answers(409))
async def remove(request: Request, seen: SeenByAdmin, body: RemoveBody) -> RemoveAnswer:
    """Remove slides and patients: tiles, views, predictions, labels, and their names in the access log.

    They are in no answer from then on, and in no file after POST /api/compact with `keep_hours` 0.
    """

    def work() -> RemoveAnswer:
        store, visible = seen.service.store, seen.slides()
        patients = [seen.patient(name) for name in body.patients]
        slides = store.find_slides(slides=[seen.slide(name) for name in body.slides], patients=patients)
        if visible is not None and not set(slides) <= visible:
            raise NotAllowedError("a patient has slides of another project as well; name the slides of yours")
        if not slides:
            raise SlideNotInStoreError("no slide was named; give `slides` or `patients`")
        shown = [seen.shown_id(slide_id) for slide_id in slides]
        seen.changed("slides.remove", slides=slides)
        return RemoveAnswer(slides=shown, tiles=store.remove(slides=slides))

    return await seen.run("writes", request, work)


@router.get("/access-log", response_model=TableAnswer, responses=TABLE | answers())
async def access_log(
    request: Request,
    seen: SeenByAdmin,
    slide_id: Annotated[str | None, Query(max_length=1000, description="Only of this slide.")] = None,
    caller: Annotated[str | None, Query(max_length=200, description="Only of this token or person.")] = None,
    action: Annotated[str | None, Query(max_length=200, description="Such as `look` or `labels.add`.")] = None,
    since: Annotated[dt.datetime | None, Query(description="Only from this time on; UTC without a time zone.")] = None,
    offset: Offset = 0,
    limit: Limit = None,
    format: Format = None,
) -> Response:
    """Who changed the store through the service, and who looked at which slide; oldest first."""
    if seen.caller.project is not None:
        raise NotAllowedError("the access log is of the whole store; a token of a project cannot read it")

    def read() -> Response:
        slide = None if slide_id is None else seen.slide(slide_id)
        at = since if since is None or since.tzinfo else since.replace(tzinfo=dt.UTC)
        rows = seen.service.store.access_log.table(slide=slide, caller=caller, action=action, since=at)
        return table_answer(request, seen.table(rows.to_arrow()), offset=offset, limit=limit, format=format)

    return await seen.run("reads", request, read)


@router.get("/runs", response_model=TableAnswer, responses=TABLE | answers())
async def runs(
    request: Request, seen: SeenByAdmin, offset: Offset = 0, limit: Limit = None, format: Format = None
) -> Response:
    """The ingests that run, with how far they are, and how earlier ones ended; the newest first."""
    if seen.caller.project is not None:
        raise NotAllowedError("ingests are of the whole store; a token of a project cannot see them")

    def read() -> Response:
        found = seen.runs(seen.service.store.runs.to_arrow())
        return table_answer(request, found, offset=offset, limit=limit, format=format)

    return await seen.run("reads", request, read)
