"""Jobs: what runs in the background, listed, followed, cancelled; and their files."""

import datetime as dt
from collections.abc import AsyncIterable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field

from embedstore.errors import JobNotFoundError, NotAllowedError
from embedstore.service.answers import json_answer
from embedstore.service.failures import Failure, answers
from embedstore.service.jobs import KINDS, MOST_SAMPLE, job_kind
from embedstore.service.jobs.events import job_changes
from embedstore.service.visible import SeenByAdmin, SeenByFitter, SeenByReader, Visible
from embedstore.store import Job, JobState

router = APIRouter(prefix="/api", tags=["jobs"])

MOST_JOBS = 1000
FAILURE_SCHEMA = "#/components/schemas/FailureAnswer"
_SETTINGS = 1000
JobId = Annotated[str, Path(pattern="^[0-9a-f]{1,32}$", examples=["5f0c2a7d9b1e4c36"])]
Name = Annotated[str, Field(min_length=1, max_length=200)]
SlideNames = Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=10_000)]
Filter = Annotated[str, Field(max_length=20_000, description="Only slides that fulfil this SQL.")]


class ProgressAnswer(BaseModel):
    """How far a job has come."""

    stage: str
    message: str
    done: int
    total: int | None
    unit: str = Field(description="What is counted, in the plural.")


class JobAnswer(BaseModel):
    """A job at one moment."""

    id: str
    kind: str = Field(examples=list(KINDS))
    caller: str = Field(description="Who asked for it.")
    state: JobState
    params: dict[str, Any] = Field(description="What it was asked for.")
    progress: ProgressAnswer | None
    result: dict[str, Any] | None = Field(description="What came out, once it is done.")
    error: Failure | None = Field(description="Why it failed.")
    message: str | None = Field(description="What became of it, where it was cancelled or interrupted.")
    created_at: dt.datetime
    started_at: dt.datetime | None
    ended_at: dt.datetime | None


def job_answer(seen: Visible, job: Job) -> JobAnswer:
    """A job as a caller sees it."""
    if job.caller == seen.caller.name:
        seen = seen.knowing(job.params)
    message = None if job.message is None else seen.text(job.message)
    params = seen.value(job.params)
    if "where" in params and job.caller != seen.caller.name:
        params["where"] = seen.shown_filter(params["where"])
    result = None if job.result is None else seen.value(job.result)
    if job.result is not None and result is not None and "file" in result:
        result["file"]["media_type"] = job.result["file"]["media_type"]  # which looks like a path
    progress = None
    if job.progress is not None:
        fields = asdict(job.progress)
        progress = ProgressAnswer(**{**fields, "message": seen.text(job.progress.message)})
    return JobAnswer(
        id=job.id,
        kind=job.kind,
        caller=job.caller,
        state=job.state,
        params=params,
        progress=progress,
        result=result,
        error=None if job.error is None else Failure(type=job.error, message=message or ""),
        message=None if job.error is not None else message,
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
    )


async def start_job(request: Request, seen: Visible, kind: str, body: BaseModel, **names: Any) -> Response:
    """Check what a body asks for, and put it into the queue; the answer is the job.

    Args:
        names: Parameters that stand in the path, or that the service gives.
    """

    def submit() -> Job:
        asked = {**body.model_dump(mode="json", exclude_unset=True), **names}
        params, caller = dict(asked), seen.caller
        if kind == "export":
            seen.require_names("an export", instead=instead_of_export(asked.get("head")))
        if "where" in KINDS[kind].__dataclass_fields__:
            params["where"] = seen.where(asked.get("where"))
        elif caller.project is not None:
            raise NotAllowedError(f"a job {kind!r} is of the whole store; a token of a project cannot start it")
        if "slides" in asked:
            params["slides"] = seen.slide_list(asked["slides"])
        return seen.service.jobs.submit(
            job_kind(kind, params),
            caller=caller.name,
            project=caller.project,
            asked=asked,
            on_accept=lambda: seen.changed("job.start", slides=params.get("slides", ()), kind=kind, **_told(asked)),
        )

    job = await seen.run("exports", request, submit)
    answer = job_answer(seen, job).model_dump(mode="json")
    return json_answer(answer, status=202, headers={"Location": f"/api/jobs/{job.id}"})


def instead_of_export(head: str | None) -> str:
    """Where the rows of an export are that is refused."""
    if head is None:
        return "GET /api/collections/NAME/tiles has the tiles"
    return f"GET /api/heads/{head}/predictions has its predictions"


def _told(asked: dict[str, Any]) -> dict[str, Any]:
    """What the access log says of a job."""
    return {name: value for name, value in asked.items() if name not in ("slides", "kind")}


#: What a route that starts a job answers, for the OpenAPI document.
ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"model": JobAnswer, "description": "The job, which waits its turn."}}


def _of_caller(seen: Visible, job: Job) -> Job:
    if seen.caller.project not in (None, job.project):
        raise JobNotFoundError(f"no job {job.id!r}; it never was, or was removed since; the list of jobs shows all")
    return job


async def visible_job(request: Request, seen: SeenByReader, job_id: JobId) -> Job:
    """The job of a path, if the caller may see it."""
    return await seen.run("reads", request, lambda: _of_caller(seen, seen.service.jobs.get(job_id)))


OneJob = Annotated[Job, Depends(visible_job)]


@router.get("/jobs", responses=answers())
async def list_jobs(
    request: Request,
    seen: SeenByReader,
    state: Annotated[list[JobState], Query(max_length=6, description="Only jobs in these states.")] = [],  # noqa: B006
    kind: Annotated[str | None, Query(max_length=50, description="Only jobs of this kind.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_JOBS)] = 100,
) -> list[JobAnswer]:
    """Jobs, the newest first; those of the caller's project, where they have one."""

    def read() -> list[JobAnswer]:
        found = [
            job
            for job in seen.service.jobs.all()
            if seen.caller.project in (None, job.project)
            and (not state or job.state in state)
            and (kind is None or job.kind == kind)
        ]
        return [job_answer(seen, job) for job in found[:limit]]

    return await seen.run("reads", request, read)


@router.get("/jobs/{job_id}", responses=answers())
async def show_job(seen: SeenByReader, job: OneJob) -> JobAnswer:
    """A job: its state, its progress, and what came out."""
    return job_answer(seen, job)


#: FastAPI documents a model in the media type of the route, and a failure is no event.
_FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"description": "A failure", "content": {"application/json": {"schema": {"$ref": FAILURE_SCHEMA}}}}
    for status in answers()
}


@router.get("/jobs/{job_id}/events", response_class=EventSourceResponse, responses=_FAILURES)
async def follow_job(
    seen: SeenByReader, job: OneJob, last_event_id: Annotated[str | None, Header(max_length=100)] = None
) -> AsyncIterable[ServerSentEvent]:
    """A job as server-sent events `job`: as it is now, then at each change, until it has ended.

    With the header `Last-Event-ID`, which browsers send when they connect again, the state that is known is left out.
    """
    async for mark, changed in job_changes(seen.service.jobs, job.id, last=last_event_id):
        yield ServerSentEvent(data=job_answer(seen, changed), event="job", id=mark)


@router.post("/jobs/{job_id}/cancel", responses=answers())
async def cancel_job(request: Request, seen: SeenByReader, job: OneJob) -> JobAnswer:
    """End a job that waits or runs: one's own, or as an admin any; one that has ended stays as it is.

    What it was about to write is taken back. A job that runs is 'cancelled' some seconds later.
    """

    def cancel() -> JobAnswer:
        if job.caller != seen.caller.name and not seen.caller.may("admin"):
            raise NotAllowedError(f"job {job.id} was asked for by {job.caller}; only they and an admin may cancel it")
        seen.changed("job.cancel", job=job.id)
        return job_answer(seen, seen.service.jobs.cancel(job.id))

    return await seen.run("writes", request, cancel)


@router.get("/jobs/{job_id}/file", response_class=FileResponse, responses=answers())
async def job_file(request: Request, seen: SeenByReader, job: OneJob) -> FileResponse:
    """The file that an export wrote. It is kept for a day, and no longer than its slides are in the store."""

    def find() -> FileResponse:
        file = seen.service.jobs.file(job)
        seen.require_names("an export")
        seen.require_slides(file.slides)
        for slide_id in file.slides:
            seen.looked(slide_id, "export")
        return FileResponse(file.path, filename=file.name, media_type=file.media_type)

    return await seen.run("reads", request, find)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CompactBody(_Body):
    """Merge small files, purge removed rows and forget old versions."""

    keep_hours: float = Field(1.0, ge=0, le=1e6, description="Keep versions that are younger than this.")


class IndexBody(_Body):
    """Bring the search index up to date, or choose another kind; fields as of `Collection.update_index`."""

    kind: Annotated[str | None, Field(pattern="^(auto|ivf_rq|flat)$")] = None
    partitions: int | None = Field(None, ge=1, le=65_536)
    bits: int | None = Field(None, ge=1, le=8)
    rebuild: bool = False


class CheckBody(_Body):
    """Look for leaks, duplicate slides or outliers; fields as of `Collection.find_leaks`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"what": "leaks", "sample": 2000}})

    what: Literal["leaks", "duplicates", "outliers"]
    head: Name | None = Field(None, description="leaks: between the parts of this head's split, not patients.")
    distance: float | None = Field(None, ge=0, le=2, description="Up to which two tiles count as the same.")
    sample: int = Field(2000, ge=1, le=MOST_SAMPLE, description="Tiles to check, spread evenly over slides.")


class SelectBody(_Body):
    """Compare candidates for an extractor; fields as of `Store.select_extractor`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"task": "tissue", "candidates": ["stain-texture", "colour-histogram"]}},
    )

    task: Name
    candidates: list[Name] = Field(min_length=1, max_length=50, description="Names of GET /api/extractors.")
    collection: Name | None = None
    rank_check: list[Name] = Field([], max_length=20)
    where: Filter | None = None
    tile_px: int | None = Field(None, ge=16, le=8192)
    mpp: float | None = Field(None, ge=0.02, le=100)
    settings: dict[str, Any] = Field({}, max_length=_SETTINGS, description="Fields of `SelectConfig`.")


@router.post("/compact", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers())
async def compact(request: Request, seen: SeenByAdmin, body: CompactBody) -> Response:
    """Compact the store, as a job."""
    return await start_job(request, seen, "compact", body)


@router.post(
    "/collections/{collection}/index", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers()
)
async def update_index(request: Request, seen: SeenByAdmin, collection: str, body: IndexBody) -> Response:
    """Bring the search index of a collection up to date, as a job."""
    return await start_job(request, seen, "update-index", body, collection=collection)


@router.post(
    "/collections/{collection}/check", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers()
)
async def check(request: Request, seen: SeenByReader, collection: str, body: CheckBody) -> Response:
    """Look for near-duplicates of other patients, slides that are there twice, or tiles unlike others, as a job."""
    return await start_job(request, seen, "check", body, collection=collection)


@router.post("/select-extractor", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers())
async def select_extractor(request: Request, seen: SeenByFitter, body: SelectBody) -> Response:
    """Compare extractors on a sample of a task's labelled tiles, as a job; the result is the report."""
    return await start_job(request, seen, "select-extractor", body)
