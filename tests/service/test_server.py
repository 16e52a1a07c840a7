"""What a service listens on, and how it ends."""

import asyncio
import logging
import os
import socket
import threading
from pathlib import Path

import pytest
import uvicorn

from embedstore.access_config import AccessConfig
from embedstore.errors import AccessError, ConfigError
from embedstore.service import server
from embedstore.service.server import _bound, _Server, url_of
from embedstore.service_config import ServiceConfig


def test_unix_socket_is_for_the_user_and_the_group_and_outlives_no_service(tmp_path):
    path = tmp_path / "a.sock"
    with _bound(str(path), 0) as listening:
        assert url_of(listening) == f"unix:{path}" and path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(ConfigError, match="in use"):
            _bound(str(path), 0)
    assert path.is_socket()  # of a service that was killed
    _bound(str(path), 0).close()
    path.unlink()
    path.write_text("a file of the user")
    with pytest.raises(ConfigError, match="cannot be listened on"):
        _bound(str(path), 0)
    assert path.read_text() == "a file of the user"


def test_answers_that_are_broken_off_at_the_end_are_a_line_in_the_log(tmp_path, caplog: pytest.LogCaptureFixture):
    begun = threading.Event()

    async def never(scope, receive, send) -> None:
        begun.set()
        await asyncio.sleep(10_000)

    path = str(tmp_path / "s")
    config = uvicorn.Config(never, uds=path, lifespan="off", log_config=None, timeout_graceful_shutdown=0)
    server = _Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    with caplog.at_level(logging.WARNING):
        thread.start()
        while not server.started:
            assert thread.is_alive()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert begun.wait(300)
            server.should_exit = True
            thread.join(300)
    assert "Cancel 1 running task(s)" in caplog.text
    of_server = [each for each in caplog.records if each.name.startswith(("uvicorn", "asyncio"))]
    text = "\n".join(map(logging.Formatter().format, of_server))  # without other tests' services that go on
    assert "Traceback" not in text and "CancelledError" not in text


def test_a_store_that_can_only_be_read_is_served_without_a_record_of_looks_or_not_at_all(
    toy_store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(server._Server, "run", lambda *_, **__: None)
    with pytest.raises(AccessError, match=r"cannot be recorded, so nobody could look: .*; or pass --no-access-log"):
        server.serve(toy_store.uri, ServiceConfig(host=str(tmp_path / "a.sock")))
    started: list[str] = []
    config = ServiceConfig(host=str(tmp_path / "b.sock"), access=AccessConfig(access_log=False))
    server.serve(toy_store.uri, config, on_start=lambda url, who: started.append(url))
    assert len(started) == 1
