"""Run the service: one process, one port."""

import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from embedstore.errors import ConfigError
from embedstore.service.app import create_app
from embedstore.service_config import ServiceConfig

#: Seconds that answers in progress have when the service is told to end.
GRACE_S = 10


def serve(store_uri: str, config: ServiceConfig, *, on_start: Callable[[str], None] | None = None) -> None:
    """Serve a store until a signal ends the process.

    Args:
        store_uri: A directory, or the URI of an object store.
        config: The settings.
        on_start: Called with the URL once the port is bound.
    Raises:
        StoreNotFoundError: nothing there was written by embedstore.
        ConfigError: the address cannot be listened on.
    """
    app = create_app(store_uri, config)
    listening = _bound(config.host, config.port)
    if on_start is not None:
        on_start(url_of(listening))
    app.state.service.jobs.prepare()
    server = _Server(
        uvicorn.Config(
            app,
            http="httptools",
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

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.config.app.state.service.jobs.stop_listening()  # type: ignore[union-attr]
        super().handle_exit(sig, frame)


def _bound(host: str, port: int) -> socket.socket:
    try:
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
        raise ConfigError(
            f"address {host}:{port} cannot be listened on: {error.strerror or error}; give another --host or --port"
        ) from error
    return listening


def url_of(listening: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
