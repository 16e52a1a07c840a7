"""Upkeep: slides of patients, and stored views."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from embedstore.service.failures import answers
from embedstore.service.visible import SeenByAdmin, SeenByReader, Visible

router = APIRouter(prefix="/api", tags=["upkeep"])

Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Query(max_length=1000)]


@router.get("/find-slides", responses=answers())
async def find_slides(
    request: Request,
    seen: SeenByReader,
    slide: Names = [],  # noqa: B006
    patient: Names = [],  # noqa: B006
) -> list[str]:
    """Ids of some slides, and of all slides of some patients; none where one of them is not in the store."""
    return await seen.run("reads", request, lambda: [seen.shown_id(found) for found in _found(seen, slide, patient)])


def _found(seen: Visible, slides: list[str], patients: list[str]) -> list[str]:
    """Ids in the store of slides that the caller sees, and of those of patients."""
    names = {"slides": list(map(seen.slide, slides)), "patients": list(map(seen.patient, patients))}
    found = seen.service.store.find_slides(**names)
    visible = seen.slides()
    return found if visible is None else [slide_id for slide_id in found if slide_id in visible]


class ViewsAnswer(BaseModel):
    """Stored views of a collection."""

    views: int


@router.get("/collections/{collection}/views", responses=answers())
async def count_views(request: Request, seen: SeenByReader, collection: str) -> ViewsAnswer:
    """The number of stored views of a collection."""
    store = seen.service.store
    return ViewsAnswer(views=await seen.run("reads", request, lambda: store.count_views(collection)))


@router.delete("/collections/{collection}/views", responses=answers(409))
async def remove_views(request: Request, seen: SeenByAdmin, collection: str) -> ViewsAnswer:
    """Remove the stored views of a collection; the answer is how many there were."""

    def take_out() -> ViewsAnswer:
        seen.service.store.count_views(collection)  # before the log says that they are removed
        seen.changed("views.remove", collection=collection)
        return ViewsAnswer(views=seen.service.store.remove_views(collection))

    return await seen.run("writes", request, take_out)
