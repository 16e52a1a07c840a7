"""What a client may take: bodies of bounded size and duration, and a share of the threads for each kind of work."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread
from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedstore.cores import cores
from embedstore.errors import AccessError, ClientGoneError, SlowClientError, TooLargeError
from embedstore.service.failures import failure
from embedstore.service_config import ServiceConfig

P = ParamSpec("P")
T = TypeVar("T")

#: Bodies of the largest size that are held in memory at once.
BODIES_AT_ONCE = 8
#: One is decoded while the other is encoded.
PICTURES_OF_SLIDE = 2

#: How the paths of routes end that take a file as their body, whatever its type.
FILES = "/import"


class Limits:
    """How many calls of each kind of work run at once; the others wait in the order in which they came.

    Each kind has threads of its own, so that a wall of thumbnails never delays a search.
    """

    def __init__(self, config: ServiceConfig):
        there = cores()
        self.searches = anyio.CapacityLimiter(config.searches or there)
        self.batches = anyio.CapacityLimiter(1)  # of thousands of queries, which take all cores for seconds
        self.pictures = anyio.CapacityLimiter(config.pictures or 2 * there)  # decoded in other processes
        self.files = anyio.CapacityLimiter(2 * there)  # looked for: a file system of slides may hang, tables go on
        self.reads = anyio.CapacityLimiter(2 * there)  # of tables: short, and mostly waiting for the disk
        self.writes = anyio.CapacityLimiter(4)
        self.embeddings = anyio.CapacityLimiter(1 if config.cluster is None else 8)  # there, replicas take turns
        self.exports = anyio.CapacityLimiter(2)
        self._threads = anyio.CapacityLimiter(1000)  # those above decide
        self._of_slides: WeakValueDictionary[str, anyio.CapacityLimiter] = WeakValueDictionary()

    def all(self) -> dict[str, anyio.CapacityLimiter]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def of_slide(self, slide: str) -> anyio.CapacityLimiter:
        """Pictures of one slide that are made at once: it has one process, and others need not wait where it hangs."""
        limiter = self._of_slides.get(slide)
        if limiter is None:
            limiter = self._of_slides[slide] = anyio.CapacityLimiter(PICTURES_OF_SLIDE)
        return limiter

    async def run(
        self,
        limiter: anyio.CapacityLimiter,
        request: Request,
        function: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a function in a thread once the limiter lets it; not at all if the client has gone by then."""
        async with self.turn(limiter, request):
            return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=self._threads)

    @contextlib.asynccontextmanager
    async def turn(self, limiter: anyio.CapacityLimiter, request: Request) -> AsyncIterator[None]:
        """Wait until a limiter lets a request; for as long as the `with` lasts.

        Raises:
            ClientGoneError: the client went before its turn came.
        """
        borrower = object()
        try:
            limiter.acquire_on_behalf_of_nowait(borrower)
        except anyio.WouldBlock:
            await self._wait(limiter, request, borrower)
        try:
            yield
        finally:
            limiter.release_on_behalf_of(borrower)

    async def _wait(self, limiter: anyio.CapacityLimiter, request: Request, borrower: object) -> None:
        got = False

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await limiter.acquire_on_behalf_of(borrower)
            got = True
            group.cancel_scope.cancel()
        if not got:
            raise ClientGoneError("the client went before its turn came")


class BoundedBodies:
    """Middleware: refuses bodies that are too large, clients that stop in the middle of one, and too many at once."""

    def __init__(self, app: ASGIApp, config: ServiceConfig):
        self._app, self._config = app, config
        self._held = 0  # bytes of bodies whose requests are not answered yet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_file = scope.get("path", "").endswith(FILES)  # GeoJSON is a file there, and not parsed as it comes
        is_json = not is_file and "json" in headers.get("content-type", "json")
        most = self._config.max_json_bytes if is_json else self._config.max_upload_bytes
        stated = headers.get("content-length", "0")
        if stated.isdigit() and int(stated) > most:
            await failure(413, "TooLargeError", _too_large(most))(scope, receive, send)
            return
        taken, ended = 0, False

        async def bounded() -> Message:
            nonlocal taken, ended
            if ended:
                return await receive()  # waits until the client goes
            with anyio.move_on_after(self._config.body_timeout_s) as waited:
                message = await receive()
            if waited.cancelled_caught:
                pause = f"no byte of the body came for {self._config.body_timeout_s:g} s; send it again"
                raise HTTPException(408) from SlowClientError(pause)
            size = len(message.get("body", b""))
            taken += size
            self._held += size
            if self._held > BODIES_AT_ONCE * self._config.max_upload_bytes:
                raise HTTPException(503) from AccessError("too much is being sent at once; send it again in a while")
            if taken > most:
                raise HTTPException(413) from TooLargeError(_too_large(most))
            ended = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, bounded, send)
        finally:
            self._held -= taken


def _too_large(most: int) -> str:
    return f"the body is larger than {most:,} bytes, which this service takes at most; send less, or in parts"
