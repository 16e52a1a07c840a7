"""Facts about the store and the service, health and metrics."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from embedstore.errors import NotAllowedError
from embedstore.service.failures import answers
from embedstore.service.security import Role, public
from embedstore.service.service import service_of
from embedstore.service.visible import SeenByReader
from embedstore.version import __version__

router = APIRouter(tags=["store"])


class StoreAnswer(BaseModel):
    """What is served, and to whom."""

    version: str = Field(description="Of embedstore.", examples=["0.4.0"])
    collections: list[str]
    slides: int = Field(description="Slides that the caller sees.")
    tasks: list[str] = Field(description="Tasks that have labels.")
    heads: list[str]
    caller: str = Field(description="Name of the caller, the author of their labels.")
    role: Role
    project: str | None = Field(description="The filter on slides that every answer obeys.")


class HealthAnswer(BaseModel):
    status: Literal["ok"] = "ok"


@router.get("/health", dependencies=[public()], responses=answers())
async def health() -> HealthAnswer:
    """Whether the process answers."""
    return HealthAnswer()


@router.get("/ready", dependencies=[public()], responses=answers())
async def ready(request: Request) -> HealthAnswer:
    """Whether the store can be read."""
    service = service_of(request)
    await service.limits.run(service.limits.reads, request, service.tables.ledger.slide_table, ["slide_id"])
    return HealthAnswer()


@router.get("/metrics", responses=answers(), response_class=Response)
async def metrics(request: Request, seen: SeenByReader) -> Response:
    """Counts and durations in the text format of Prometheus."""
    if seen.caller.project is not None:
        raise NotAllowedError("metrics are of the whole service; a token of a project cannot read them")
    return Response(service_of(request).metrics.text(), media_type="text/plain; version=0.0.4")


@router.get("/api", responses=answers())
async def store(request: Request, seen: SeenByReader) -> StoreAnswer:
    """What is served, and who asks."""

    def read() -> StoreAnswer:
        store = seen.service.store
        return StoreAnswer(
            version=__version__,
            collections=[collection.name for collection in store.collections],
            slides=len(seen.slide_table(["slide_id"])),
            tasks=seen.labels().tasks,
            heads=[head.name for head in store.heads],
            caller=seen.caller.name,
            role=seen.caller.role,
            project=seen.shown_project(),
        )

    return await seen.run("reads", request, read)
