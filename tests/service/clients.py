"""Clients of applications that serve a store, without a socket."""

from collections.abc import Mapping
from typing import Any

from starlette.testclient import TestClient

from embedstore.access_config import AccessConfig
from embedstore.service import create_app
from embedstore.service_config import ServiceConfig
from embedstore.store import Store


def client_of(
    store: Store,
    *,
    token: str | None = None,
    host: str = "127.0.0.1",
    settings: Mapping[str, Any] | None = None,
    **access: Any,
) -> TestClient:
    """A client on this machine of an application that serves a store; for a `with`, which starts the application.

    Args:
        token: That it sends.
        host: Where the service listens.
        settings: Other fields of `ServiceConfig`.
        access: Fields of `AccessConfig`.
    """
    app = create_app(store.uri, ServiceConfig(host=host, access=AccessConfig(**access), **settings or {}))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return TestClient(app, base_url="http://127.0.0.1:8765", headers=headers, client=("127.0.0.1", 50_000))
