"""Runs that do not wait, and a network that is arithmetic."""

import pytest

from .toys import ToyExtractor


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.dispatch.TICK_S", 0.0)
    monkeypatch.setattr("actors.ingest_workers.ASK_AGAIN_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr("actors.extractor_worker.load_extractor", lambda config, device: ToyExtractor())
    # A committer that the simulation kills leaves its lease behind in a process that lives on: let it be taken.
    monkeypatch.setattr("embedstore.store.lease._Holder.lives", lambda holder: False)
