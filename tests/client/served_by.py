"""The client of a service on a Unix socket, which tests may use."""

from pathlib import Path

import httpx2

from embedstore.client import RemoteStore
from embedstore.client.connection import Connection
from embedstore.client.store import connected

URL = "http://127.0.0.1:8765"


def transport(socket: str | Path) -> httpx2.HTTPTransport:
    return httpx2.HTTPTransport(uds=str(socket))


def connect_by(socket: str | Path, *, token: str | None = None) -> RemoteStore:
    """What `embedstore.connect` gives, by a Unix socket."""
    return connected(Connection(URL, token=token, transport=transport(socket)))
