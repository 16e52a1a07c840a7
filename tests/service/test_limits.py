"""A slow client holds nothing up, and a client that goes before its turn costs nothing."""

import json
import threading
from typing import Any

import anyio
import pytest
from starlette.exceptions import HTTPException

from embedstore.errors import ClientGoneError
from embedstore.service.limits import BoundedBodies, Limits
from embedstore.service_config import ServiceConfig

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Client:
    """Stands in for a request: its client stays, or goes when `gone` is set."""

    def __init__(self) -> None:
        self.gone = anyio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def test_calls_wait_for_their_turn_and_not_for_other_kinds_of_work():
    limits = Limits(ServiceConfig(pictures=1, searches=1))
    begun, go_on = threading.Event(), threading.Event()

    def picture() -> str:
        begun.set()
        go_on.wait(300)
        return "picture"

    done: list[str] = []

    async def ask() -> None:
        done.append(await limits.run(limits.pictures, Client(), picture))  # type: ignore[arg-type]

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask)
        await anyio.to_thread.run_sync(begun.wait)
        assert await limits.run(limits.searches, Client(), lambda: "found") == "found"  # type: ignore[arg-type]
        assert done == [] and limits.pictures.statistics().tasks_waiting == 19
        go_on.set()
    assert len(done) == 20 and limits.pictures.borrowed_tokens == 0


async def test_a_client_that_goes_before_its_turn_is_not_served():
    limits = Limits(ServiceConfig(searches=1))
    go_on, calls = threading.Event(), []
    gone = Client()

    async def goes() -> None:
        with pytest.raises(ClientGoneError):
            await limits.run(limits.searches, gone, lambda: calls.append("served"))  # type: ignore[arg-type]

    async with anyio.create_task_group() as group:
        group.start_soon(limits.run, limits.searches, Client(), lambda: go_on.wait(300))
        await anyio.sleep(0)
        group.start_soon(goes)
        while not limits.searches.statistics().tasks_waiting:
            await anyio.sleep(0.001)
        gone.gone.set()
        while limits.searches.statistics().tasks_waiting:
            await anyio.sleep(0.001)
        go_on.set()
    assert calls == [] and limits.searches.borrowed_tokens == 0


async def test_a_body_that_stops_half_way_is_given_up():
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        from starlette.exceptions import HTTPException

        try:
            while (await receive()).get("more_body"):
                pass
        except HTTPException as error:
            await send({"type": "http.response.start", "status": error.status_code})

    parts = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> dict[str, Any]:
        for part in parts:
            return part
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    bounded = BoundedBodies(app, ServiceConfig(body_timeout_s=0.05))
    await bounded({"type": "http", "headers": [(b"content-type", b"application/json")]}, receive, send)  # type: ignore[arg-type]
    assert sent == [{"type": "http.response.start", "status": 408}]


async def test_a_stated_length_is_refused_before_a_byte_is_read():
    sent: list[dict[str, Any]] = []

    async def never(*_: Any) -> None:
        raise AssertionError("the body was read")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-length", b"99999999999"), (b"content-type", b"image/png")]
    await BoundedBodies(never, ServiceConfig())({"type": "http", "headers": headers}, never, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["error"]["type"] == "TooLargeError"


async def test_bodies_that_are_held_are_bounded_together():
    refused, held, go_on = [], [], anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            held.append(await receive())
        except HTTPException as error:
            refused.append((error.status_code, str(error.__cause__)))
            return
        await go_on.wait()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": bytes(100)}

    bounded = BoundedBodies(app, ServiceConfig(max_upload_bytes=100))
    scope = {"type": "http", "headers": [(b"content-type", b"image/png")]}
    async with anyio.create_task_group() as group:
        for _ in range(12):
            group.start_soon(bounded, scope, receive, receive)
        await anyio.wait_all_tasks_blocked()
        assert len(held) == 8 and refused == [(503, "too much is being sent at once; send it again in a while")] * 4
        go_on.set()
    await bounded(scope, receive, receive)  # type: ignore[arg-type]
    assert len(held) == 9
