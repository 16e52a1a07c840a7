"""Run the service: one process, one port."""

import asyncio
import ctypes
import errno
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from embedstore.errors import ConfigError
from embedstore.service.app import create_app
from embedstore.service.connection import Connection
from embedstore.service_config import ServiceConfig

#: glibc's number for the most arenas of malloc.
M_ARENA_MAX = -8
#: Seconds that answers in progress have when the service is told to end.
GRACE_S = 10


def serve(store_uri: str, config: ServiceConfig, *, on_start: Callable[[str, str], None] | None = None) -> None:
    """Serve a store until a signal ends the process.

    Args:
        store_uri: A directory, or the URI of an object store.
        config: The settings.
        on_start: Called with the URL, and a sentence on who may ask, once the port is bound.
    Raises:
        StoreNotFoundError: nothing there was written by embedstore.
        ConfigError: the address cannot be listened on.
        AccessError: the store can only be read, so that nobody's looks could be recorded.
    """
    _share_arenas()
    app = create_app(store_uri, config)
    app.state.service.access_log.require_writable()
    listening = _bound(config.host, config.port)
    if on_start is not None:
        on_start(url_of(listening), app.state.service.authenticator.who())
    app.state.service.jobs.prepare()
    server = _Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # whom a proxy has logged in is for `security` to believe
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    with listening:
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that lets those go who listen to jobs when it is told to end, before it waits for their connections."""

    def __init__(self, config: uvicorn.Config):
        super().__init__(config)
        logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.config.app.state.service.jobs.stop_listening()  # type: ignore[union-attr]
        super().handle_exit(sig, frame)


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """False of the traceback of an answer that the server broke off as it ended; uvicorn says in a line how many."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


def _bound(host: str, port: int) -> socket.socket:
    try:
        if host.startswith("/"):
            return _bound_file(Path(host))
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(1024)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        where = host if host.startswith("/") else f"{host}:{port}"
        raise ConfigError(
            f"address {where} cannot be listened on: {error.strerror or error}; give another --host or --port"
        ) from error
    return listening


def _bound_file(path: Path) -> socket.socket:
    """A Unix socket that the user and the group of this process reach, such as that of a proxy."""
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        path.unlink()  # of a service that was killed
    listening = socket.socket(socket.AF_UNIX)
    try:
        before = os.umask(0o117)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        listening.listen(1024)
    except BaseException:
        listening.close()
        raise
    return listening


def url_of(listening: socket.socket) -> str:
    """The URL of a bound socket."""
    if listening.family == socket.AF_UNIX:
        return f"unix:{listening.getsockname()}"
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _share_arenas() -> None:
    """Let all threads allocate from two arenas: glibc gives each thread its own, which keeps what was freed there."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_ARENA_MAX, 2)
