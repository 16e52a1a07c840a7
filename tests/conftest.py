"""Shared fixtures; unit tests are kept from the network and from Ray."""

import os
from pathlib import Path

import pytest
import pytest_socket

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real slides, tiles and weights, where they are at hand."""
    folder = Path(os.environ.get("EMBEDSTORE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: set EMBEDSTORE_DATA")
    return folder


@pytest.fixture(autouse=True)
def _offline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """No network in any test, and no Ray in one that is not marked for it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if request.node.get_closest_marker("ray"):
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
