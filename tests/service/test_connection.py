"""A client that sends an endless head, or none, holds nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvicorn
from uvicorn.server import ServerState

from embedstore.service import connection as module
from embedstore.service.connection import Connection

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


async def echo(scope, receive, send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": f"{len(body):8}".encode()})


def talk(folder: Path, say: Talk) -> bytes:
    async def run() -> bytes:
        config, state = uvicorn.Config(echo, lifespan="off", ws="none", timeout_keep_alive=1000), ServerState()
        config.load()
        loop, path = asyncio.get_running_loop(), str(folder / "s")
        server = await loop.create_unix_server(lambda: Connection(config, state, {}), path)
        async with server:
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return await asyncio.wait_for(say(reader, writer), 300)
            finally:
                writer.close()

    return asyncio.run(run())


def test_endless_head_ends_the_connection(tmp_path: Path):
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        await writer.drain()
        for _ in range(5):  # five chunks of 16 KB are more than the limit of 64 KB
            await asyncio.sleep(0.01)
            writer.write(b"a" * 16_384)
        return await reader.read()

    assert talk(tmp_path, say).startswith(b"HTTP/1.1 431")


def test_head_that_does_not_come_ends_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "HEAD_S", 0.05)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        return await reader.read()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await reader.readuntil(b"       0")
        assert answer.startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(module, "HEAD_S", 0.05)
        writer.write(b"GET / HTTP/1.1\r\nX: a")
        assert await reader.read() == b""
        return b"closed"

    assert talk(tmp_path, silent) == b""
    (tmp_path / "s").unlink()
    monkeypatch.setattr(module, "HEAD_S", 100.0)
    assert talk(tmp_path, slow) == b"closed"


def test_large_bodies_and_many_requests_pass(tmp_path: Path):
    size = 3_000_000

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        loop, later_s = asyncio.get_running_loop(), 0.0
        loop.time = lambda: time.monotonic() + later_s  # type: ignore[method-assign]
        for _ in range(3):
            head = f"POST / HTTP/1.1\r\nHost: a\r\nX: {'b' * 30_000}\r\nContent-Length: {size}\r\n\r\n"
            writer.write(head.encode() + b"c" * size)
            answer = await reader.readuntil(f"{size:8}".encode())
            assert answer.startswith(b"HTTP/1.1 200")
            later_s += 0.8 * module.HEAD_S
            await asyncio.sleep(0.01)
        return answer

    assert talk(tmp_path, say)
