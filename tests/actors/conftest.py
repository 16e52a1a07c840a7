"""Runs that do not wait, and a network that is arithmetic."""

import functools

import pytest

from actors.run_record import RunRecord

from .toys import ToyExtractor


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.dispatch.TICK_S", 0.0)
    monkeypatch.setattr("actors.ingest_workers.ASK_AGAIN_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr("actors.ingest.RunRecord", functools.partial(RunRecord, threaded=False))
    monkeypatch.setattr("actors.scheduler.ADJUST_S", 0.0)
    monkeypatch.setattr("actors.extractor_worker.load_extractor", lambda config, device: ToyExtractor())
