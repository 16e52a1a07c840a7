"""Encodings of a collection: a vector for each slide, by a slide encoder."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from embedstore.encoder_config import BuiltinEncoder
from embedstore.errors import NotAllowedError
from embedstore.service.answers import MOST_VECTOR_BYTES, OR_ARROW, Limit, Offset, arrow_answer, most_rows
from embedstore.service.failures import answers
from embedstore.service.routes.jobs import ACCEPTED, JobAnswer, Name, SlideNames, start_job
from embedstore.service.visible import SeenByAdmin, SeenByFitter, SeenByReader
from embedstore.store import slide_states

router = APIRouter(prefix="/api/collections", tags=["encodings"])


class EncodingAnswer(BaseModel):
    """What an encoding holds now, of the slides that the caller sees."""

    record: dict[str, Any] = Field(description="How it was made: the encoder, the extractor, the collection's version.")
    slides: int = Field(description="Slides whose present tiles are encoded.")
    lacking: int = Field(description="Slides that are not, or whose tiles changed since.")


class EncodeBody(BaseModel):
    """What to encode; fields as of `Collection.encode_slides`. Functions of users are not run."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"encoder": "mean"}})

    encoder: BuiltinEncoder = "mean"
    name: Name | None = Field(None, description="Of the vectors in the store; the encoder's when left out.")
    slides: SlideNames = Field([], description="Only these; all when empty.")
    rebuild: bool = Field(False, description="Make them anew where there are some.")
    codebook_of: Name | None = Field(None, description="A collection whose codebook is used.")
    settings: dict[str, Any] = Field({}, max_length=100, description="Fields of `VisualWordsConfig`.")


@router.get("/{collection}/encodings", responses=answers())
async def list_encodings(request: Request, seen: SeenByReader, collection: str) -> dict[str, EncodingAnswer]:
    """The encodings of a collection by their names."""

    def read() -> dict[str, EncodingAnswer]:
        tables, visible = seen.service.tables, seen.slides()
        table = seen.service.collection(collection).table
        found = tables.encodings(collection)
        states = slide_states(tables.ledger, table) if found else {}
        present = {slide: state for slide, state in states.items() if visible is None or slide in visible}
        encodings = {}
        for each in found:
            facts = each.facts(present)
            record = facts.record.as_record()
            if sample := record["details"].get("codebook_of"):
                record["details"]["codebook_of"] = seen.of_whole_store(sample)
            encodings[each.encoder] = EncodingAnswer(
                record=seen.value(record), slides=facts.slides, lacking=facts.lacking
            )
        return encodings

    return await seen.run("reads", request, read)


@router.get("/{collection}/encodings/{encoding}/vectors", response_class=Response, responses=OR_ARROW | answers(409))
async def slide_vectors(
    request: Request, seen: SeenByReader, collection: str, encoding: str, offset: Offset = 0, limit: Limit = None
) -> Response:
    """The vectors of the slides that the caller sees, a row each: slide_id, vector (float32). An Arrow stream.

    Its metadata has the number of rows (`total`) and the version of the encoding; pages of one version are one state.
    """

    def read() -> Response:
        held = seen.service.tables.encoding(collection, encoding)
        version = str(held.version())  # before the rows: a commit in between is told by the next page
        rows = seen.table(held.rows(seen.service.collection(collection).slides), vectors=True)
        most = min(most_rows(request, limit, arrow=True), max(1, MOST_VECTOR_BYTES // (4 * held.record().ref.dim)))
        return arrow_answer(rows.slice(offset, most), metadata={"version": version, "total": str(len(rows))})

    return await seen.run("reads", request, read)


@router.post(
    "/{collection}/encodings", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers()
)  # fmt: skip
async def encode_slides(request: Request, seen: SeenByFitter, collection: str, body: EncodeBody) -> Response:
    """Turn the tile vectors of each slide that is not encoded yet into one vector, as a job."""
    return await start_job(request, seen, "encode-slides", body, collection=collection)


@router.delete("/{collection}/encodings/{encoding}", status_code=204, response_class=Response, responses=answers(409))
async def remove_encoding(request: Request, seen: SeenByAdmin, collection: str, encoding: str) -> None:
    """Remove an encoding: the vectors of all slides by an encoder."""

    def remove() -> None:
        if seen.caller.project is not None:
            raise NotAllowedError("an encoding is of the whole store; a token of a project cannot remove it")
        chosen = seen.service.collection(collection)
        seen.service.tables.encoding(collection, encoding).record()  # raises before the log says that it is removed
        seen.changed("encoding.remove", collection=collection, name=encoding)
        chosen.remove_encoding(encoding)

    await seen.run("writes", request, remove)
