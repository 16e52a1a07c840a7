"""How the service says that something went wrong: one shape, with the sentence that the command line shows."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from embedstore import errors
from embedstore.access_errors import access_error
from embedstore.service.security.headers import SECURITY_HEADERS
from embedstore.store.sql import clipped

#: Status of an error of this library, by the first class that it is of.
STATUSES: dict[type[Exception], int] = {
    errors.NotAuthenticatedError: 401,
    errors.NotAllowedError: 403,
    errors.TooManyAttemptsError: 429,
    errors.TooLargeError: 413,
    errors.SlowClientError: 408,
    errors.ClientGoneError: 499,
    errors.StoreBusyError: 409,
    errors.VersionNotFoundError: 409,
    errors.HeadExistsError: 409,
    errors.PredictionsExistError: 409,
    errors.AugmenterExistsError: 409,
    errors.JobsFullError: 429,
    errors.AccessError: 503,
    errors.ClusterError: 503,
    errors.StoreNotFoundError: 503,
    errors.StoreFormatError: 503,
    errors.RunError: 503,
    errors.CommitError: 503,
    errors.SlideNotFoundError: 404,
    errors.RegionReadError: 502,
    errors.SlideFormatError: 502,
    errors.SlideCacheFullError: 503,
    errors.SlideFetchError: 502,
    LookupError: 404,
    errors.EmbedStoreError: 400,
}
#: Statuses that every route may answer.
_EVERYWHERE = (400, 401, 403, 404, 408, 413, 422, 429, 503)
#: Seconds after which a request that met a busy table may be sent again.
RETRY_S = 5
#: A path on this machine, or of a table of Lance: two names or more with a slash between them.
_PATH = re.compile(r"(?<![\w:/.])(?!/api/|µm/px)(?:[a-z0-9]+://)?/?(?:[^\s/'\"|,;()]+/)+(?=[^\s/])")
#: What a message with such a path has. In one without it, names with slashes are ids of slides or media types.
_PATH_BEGINS = re.compile(r"(?<![\w:/.])(?:[a-z0-9]+://|/(?!api/)[^\s/]+/)|\.lance\b")


class Failure(BaseModel):
    """What went wrong."""

    type: str = Field(description="Name of the error in `embedstore.errors`, or of the rule of HTTP.")
    message: str = Field(description="One sentence: what is wrong, what was expected, what to do next.")


class FailureAnswer(BaseModel):
    """Every answer that is not a success."""

    error: Failure

    model_config = {
        "json_schema_extra": {
            "example": {"error": {"type": "HeadNotFoundError", "message": "the store has no head 'tumor'; …"}}
        }
    }


#: FailureAnswer by its name in the document. FastAPI makes a validator of each model, route by route: a tenth of a
#: second of the start for this one, so that it is a model once a route.
_FAILURE = {"application/json": {"schema": {"$ref": "#/components/schemas/FailureAnswer"}}}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The failures that a route may answer, for the OpenAPI document; those that every route has are among them."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"content": _FAILURE} for status in sorted({*_EVERYWHERE, *statuses})
    }
    return found | {_EVERYWHERE[0]: {"model": FailureAnswer}}


def status_of(error: Exception) -> int:
    return next(status for kind, status in STATUSES.items() if isinstance(error, kind))


def without_paths(text: str) -> str:
    """A message without folders of this machine; the last name of a path stays."""
    return _PATH.sub("", text) if _PATH_BEGINS.search(text) else text


def failure(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    # What is quoted of a request, such as the name of a field, may have any characters.
    return JSONResponse({"error": {"type": kind, "message": errors.one_line(message)}}, status, headers)


def failure_of(request: Request, error: errors.EmbedStoreError) -> JSONResponse:
    """The answer to a request that ended in an error of this library."""
    status = status_of(error)
    headers = {"Retry-After": str(RETRY_S)} if status in (409, 429, 503) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return failure(status, type(error).__name__, shown_message(request, str(error)), headers)


def add_handlers(app: FastAPI) -> None:
    """Answer every error in the one shape."""

    @app.exception_handler(errors.EmbedStoreError)
    async def of_library(request: Request, error: errors.EmbedStoreError) -> JSONResponse:
        return failure_of(request, error)

    @app.exception_handler(RequestValidationError)
    async def of_schema(request: Request, error: RequestValidationError) -> JSONResponse:
        said = f"{_what_does_not_fit(error.errors())}; /api/openapi.json tells what is expected"
        return failure(422, "ValidationError", said)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, errors.EmbedStoreError):  # of reading a body
            return failure_of(request, error.__cause__)
        return failure(error.status_code, "HTTPError", _told(request, error), dict(error.headers or {}) or None)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        foreseen = access_error(error)
        if foreseen is not None:
            return failure_of(request, foreseen)
        return failure(500, "InternalError", "the service failed; its log tells more", SECURITY_HEADERS)


def _what_does_not_fit(found: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with a request, in one sentence; of alternatives, with the one that it is nearest to."""
    fields: list[tuple[str, Mapping[str, Any]]] = []
    nearest: dict[tuple[Any, ...], dict[str, list[tuple[str, Mapping[str, Any]]]]] = {}
    for each in found:
        at = tuple(map(str, each["loc"]))
        name = ".".join(part for part in at if not part[:1].isupper())
        model = next((number for number, part in enumerate(at) if part[:1].isupper()), None)
        if model is None:
            fields.append((name, each))
        else:
            nearest.setdefault(at[:model], {}).setdefault(at[model], []).append((name, each))
    fields += [each for models in nearest.values() for each in min(models.values(), key=len)]
    name, first = min(fields, key=lambda each: each[1]["type"] != "extra_forbidden")  # mistyped, and so another lacks
    more = f"; and {len(fields) - 1} more" if len(fields) > 1 else ""
    if first["type"] == "json_invalid":
        return f"the body is not JSON, from character {first['loc'][-1]} on"
    return f"{clipped(name)}: {'there is no such field' if first['type'] == 'extra_forbidden' else first['msg']}{more}"


def _told(request: Request, error: HTTPException) -> str:
    """An error of HTTP in the words of this service."""
    path, allowed = clipped(request.url.path), (error.headers or {}).get("Allow")
    if error.status_code == 404 and error.detail == "Not Found":
        return f"there is no route {request.method} {path}; /api/openapi.json lists them"
    if error.status_code == 405:
        takes = f"; it takes {allowed}" if allowed else ""
        return f"the route {path} does not take {request.method}{takes}"
    return str(error.detail)


def shown_message(request: Request, message: str) -> str:
    """A message of this library as a client may see it: without paths, and with slides as the caller knows them."""
    show = getattr(request.state, "shown_message", None)
    return without_paths(message) if show is None else show(message)
