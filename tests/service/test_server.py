"""What a service listens on, and how it ends."""

import asyncio
import logging
import socket
import threading

import pytest
import uvicorn

from embedstore.errors import ConfigError
from embedstore.service.server import _bound, _Server, url_of


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
