"""Exports: files of predictions and embeddings, written in the background and then downloaded."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from embedstore.export_format import ServedFormat
from embedstore.service.failures import answers
from embedstore.service.routes.jobs import ACCEPTED, Filter, JobAnswer, Name, SlideNames, start_job
from embedstore.service.visible import SeenByReader

router = APIRouter(prefix="/api", tags=["exports"])


class ExportBody(BaseModel):
    """What to export; fields as of `Store.export`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"format": "parquet", "head": "tissue-linear", "where": "cohort = 'A'"}},
    )

    format: ServedFormat = Field(
        description="geojson and png: a file a slide, as a ZIP where there are several; slides: a row for each slide."
    )
    head: Name | None = Field(None, description="Its predictions; without one, the embeddings of a collection.")
    collection: Name | None = None
    slides: SlideNames = Field([], description="Only these; all when empty.")
    where: Filter | None = None
    settings: dict[str, Any] = Field(
        {}, max_length=20, description="origin, merge, min_probability, of_class, picture_px: as of `ExportRequest`."
    )


@router.post("/exports", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers())
async def start_export(request: Request, seen: SeenByReader, body: ExportBody) -> Response:
    """Write a file, as a job; when it is done, GET /api/jobs/JOB/file downloads it."""
    return await start_job(request, seen, "export", body)
