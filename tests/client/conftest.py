"""A small store, opened in its folder and by a service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import embedstore
from embedstore.client import RemoteStore
from tests.client.served import served
from tests.client.served_by import connect_by
from tests.service.conftest import toy_store as toy_store


@pytest.fixture(scope="session")
def toy_socket(toy_store) -> Iterator[Path]:
    with served(toy_store.uri) as socket:
        yield socket


@pytest.fixture(scope="session")
def remote(toy_socket: Path) -> Iterator[RemoteStore]:
    """The store by its service, for tests that do not change it."""
    with connect_by(toy_socket) as store:
        yield store


@pytest.fixture(scope="session")
def local(toy_store) -> embedstore.Store:
    """The store in its folder, for tests that do not change it."""
    return embedstore.open(toy_store.uri)
