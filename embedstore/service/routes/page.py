"""The page: what `viewer/` is built into, served at `/`. It has no secrets: it asks the other routes as any client."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from embedstore.service.security import public

router = APIRouter(include_in_schema=False)

BUILT = Path(__file__).parent.parent / "page"
#: Names of assets hold a digest of what is in them, so that a browser keeps them.
KEPT = "public, max-age=31536000, immutable"
#: Compressed text that is smaller than this is no faster to send, bytes.
LEAST_COMPRESSED = 1024
COMPRESSED = ("text/", "application/json", "image/svg+xml")
NOT_BUILT = (
    "<!doctype html><title>embedstore</title><p>The page is not built: run <code>make viewer</code> in the repository. "
    'The service answers without it: <a href="/api">/api</a>, <a href="/api/openapi.json">/api/openapi.json</a>.'
)


@dataclass(frozen=True, kw_only=True)
class PageFile:
    """A file of the page, as it is sent."""

    content: bytes
    media_type: str
    tag: str

    @cached_property
    def compressed(self) -> bytes | None:
        """By gzip, once somebody asks for it; None where that gains nothing."""
        worth = self.media_type.startswith(COMPRESSED) and len(self.content) >= LEAST_COMPRESSED
        return gzip.compress(self.content, 9, mtime=0) if worth else None


def read_page(folder: Path = BUILT) -> dict[str, PageFile]:
    """{path below `/`: file} of the built page; nothing where it is not built."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            files[path.relative_to(folder).as_posix()] = PageFile(
                content=content,
                media_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
                tag=f'"{hashlib.sha256(content).hexdigest()[:24]}"',
            )
    return files


@router.get("/", dependencies=[public()])
async def page(request: Request) -> Response:
    """The page."""
    file = request.app.state.page.get("index.html")
    return HTMLResponse(NOT_BUILT) if file is None else _sent(request, file, "no-cache")


@router.get("/assets/{name}", dependencies=[public()])
async def asset(request: Request, name: str) -> Response:
    """A script, style or picture of the page."""
    file = request.app.state.page.get(f"assets/{name}")
    if file is None:  # of a page that was open while the service was updated
        return Response("no such file; load the page again", 404, media_type="text/plain")
    return _sent(request, file, KEPT)


def _sent(request: Request, file: PageFile, cache: str) -> Response:
    headers = {"ETag": file.tag, "Cache-Control": cache, "Vary": "Accept-Encoding"}
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if file.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)
