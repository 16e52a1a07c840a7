"""A service in a thread of this process, on a Unix socket, which tests may use."""

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from embedstore.service import create_app
from embedstore.service_config import ServiceConfig


@contextlib.contextmanager
def served(store_uri: str, config: ServiceConfig | None = None, *, at: Path | None = None) -> Iterator[Path]:
    """Serve a store; gives the socket, which is `at` a path or one of its own."""
    with tempfile.TemporaryDirectory(prefix="es-") as folder:  # paths of sockets are short
        socket = at or Path(folder, "s")
        socket.parent.mkdir(exist_ok=True)
        app = create_app(store_uri, config)
        server = uvicorn.Server(uvicorn.Config(app, uds=str(socket), log_level="error", lifespan="on", ws="none"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        try:
            yield socket
        finally:
            server.should_exit = True
            thread.join(30)
