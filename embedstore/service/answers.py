"""Tables as answers: JSON rows with a bound, or a stream of Arrow."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pyarrow as pa
from fastapi import Query, Request, Response
from pydantic import BaseModel, Field
from pydantic_core import to_json

from embedstore.annotations import geometry_objects
from embedstore.arrow_stream import ARROW, stream_of
from embedstore.config import MIB
from embedstore.errors import ConfigError
from embedstore.service.service import service_of

#: Query parameters of every route that answers with a table.
Offset = Annotated[int, Query(ge=0, le=2**31, description="Rows to leave out at the beginning.")]
Limit = Annotated[int | None, Query(ge=1, le=2**31, description="Most rows; the service's own bound when left out.")]
Format = Annotated[
    Literal["json", "arrow"] | None, Query(description="`arrow` for an IPC stream; else by the header Accept.")
]


class TableAnswer(BaseModel):
    """Rows of a table. Ids of tiles are text, as JavaScript's numbers are too short for them."""

    total: int = Field(description="Rows that there are, before offset and limit.")
    version: str | None = Field(None, description="Of the table: pages of the same version are of one state of it.")
    rows: list[dict[str, Any]]


#: Vectors of one answer, bytes.
MOST_VECTOR_BYTES = 64 * MIB

#: What a route that answers with `table_answer` may answer, for the OpenAPI document.
TABLE: dict[int | str, dict[str, Any]] = {200: {"model": TableAnswer, "content": {ARROW: {}}}}


#: The same of a route that may answer with Arrow beside its own JSON, or only so.
OR_ARROW: dict[int | str, dict[str, Any]] = {200: {"content": {ARROW: {}}}}


def content(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """An answer that is no JSON, for the OpenAPI document."""
    return {200: {"content": {each: {} for each in media_types}}}


def wants_arrow(request: Request, format: Literal["json", "arrow"] | None) -> bool:
    return format == "arrow" if format else ARROW in request.headers.get("accept", "")


def most_rows(request: Request, limit: int | None, *, arrow: bool) -> int:
    """How many rows an answer may have.

    Raises:
        ConfigError: more were asked for than the service gives.
    """
    most = service_of(request).config.max_rows * (10 if arrow else 1)
    if limit is not None and limit > most:
        raise ConfigError(f"limit is {limit}; expected at most {most} rows an answer")
    return limit or most


def json_answer(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON of plain values, dates and rows; what is not a number is null."""
    return Response(
        to_json(content, inf_nan_mode="null", bytes_mode="base64"), status, dict(headers or {}), "application/json"
    )


def table_answer(
    request: Request,
    table: pa.Table,
    *,
    offset: int = 0,
    limit: int | None = None,
    total: int | None = None,
    format: Literal["json", "arrow"] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Response:
    """Rows of a table in the format that was asked for.

    Args:
        total: Rows that there are; those of the table when None.
        metadata: Facts about the table: beside the rows in JSON, in the schema's metadata in Arrow.
    """
    arrow = wants_arrow(request, format)
    total = table.num_rows if total is None else total
    table = table.slice(offset, most_rows(request, limit, arrow=arrow))
    if arrow:
        return arrow_answer(table, metadata={**(metadata or {}), "total": str(total)})
    return json_answer({**(metadata or {}), "total": total, "rows": json_rows(table)})


def arrow_answer(table: pa.Table, *, metadata: Mapping[str, str] | None = None) -> Response:
    kept = {
        **(table.schema.metadata or {}),
        **{key.encode(): value.encode() for key, value in (metadata or {}).items()},
    }
    return Response(memoryview(stream_of(table.replace_schema_metadata(kept))), media_type=ARROW)


def json_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as dictionaries, with the ids of tiles as text, and areas as GeoJSON."""
    for position, name in enumerate(table.column_names):
        if name.endswith("tile_id"):
            table = table.set_column(position, name, table[name].cast(pa.string()))
    rows = table.to_pylist()
    if "geometry" in table.column_names:
        for row, geometry in zip(rows, geometry_objects(table["geometry"].to_pylist()), strict=True):
            row["geometry"] = geometry
    return rows
