"""The row of a run: written while it runs, kept when it ends; and the metrics that follow it."""

import time
from pathlib import Path
from typing import ClassVar

import pytest
import ray.util.metrics

from actors.run_counts import RunCounts
from actors.run_metrics import RunMetrics
from actors.run_record import RunRecord
from embedstore.store import Run, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def record(store: Store, name: str, *collections: str, threaded: bool = False) -> RunRecord:
    return RunRecord(store.runs, Run(run_id=name, collections=collections), threaded=threaded)


def test_what_another_run_has_in_hand_is_read_after_what_is_offered_is_written(store: Store):
    with record(store, "r1", "c") as one, record(store, "r2", "c", "d") as two, record(store, "r3", "e") as apart:
        one.offer(["a", "b"])
        two.offer(["b", "z"])
        apart.offer(["a"])
        assert one.theirs == set() and two.theirs == {"a", "b"} and apart.theirs == set()
        one.offer(["a"])
        assert one.theirs == {"b", "z"} and one.seen == {"r2", "r3"}
        assert not one.is_alone() and apart.is_alone()
    assert {run.state for run in store.runs.all()} == {"stopped"}
    with record(store, "r4", "c") as late:
        with record(store, "r5", "c"):  # begins and ends while the other is stopped
            pass
        late.offer([])
        assert late.seen == {"r5"} and late.is_alone()


def test_a_run_says_how_it_ended(store: Store):
    with record(store, "r1", "c") as done:
        done.counts = RunCounts(slides=2, done=2, tiles=7)
        done.offer(["a"])
        done.end("done")
    with pytest.raises(OSError, match="full"), record(store, "r2", "c"):
        raise OSError("the disk\nis full")
    with pytest.raises(KeyboardInterrupt), record(store, "r3", "c"):
        raise KeyboardInterrupt
    runs = {run.run_id: run for run in store.runs.all()}
    assert {name: run.state for name, run in runs.items()} == {"r1": "done", "r2": "failed", "r3": "stopped"}
    assert (runs["r1"].done, runs["r1"].tiles, runs["r1"].in_hand) == (2, 7, ())
    assert runs["r2"].error is not None and runs["r2"].error.startswith("OSError: the disk") and runs["r2"].ended_at


@pytest.mark.slow
def test_a_thread_writes_the_row_and_is_gone_at_the_end(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actors.run_record.BEAT_S", 0.01)
    with record(store, "r1", "c", threaded=True) as run:
        run.offer(["a"])
        while not run.answered:
            time.sleep(0.01)
        run.counts.tiles = 5
        while (row := store.runs.get("r1")) is None or row.tiles < 5:
            time.sleep(0.01)
        assert row.in_hand == ("a",)
    assert not run._thread.is_alive()


class Metric:
    """Ray's, which refuses a tag that is missing or no text."""

    told: ClassVar[dict[str, float]] = {}

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.keys = name, tag_keys

    def inc(self, value: float, tags: dict[str, str]) -> None:
        self.set(self.told.get(self._key(tags), 0) + value, tags)

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(self.keys) and all(isinstance(each, str) for each in tags.values())
        self.told[self._key(tags)] = value

    def _key(self, tags: dict[str, str]) -> str:
        return " ".join([self.name, *tags.values()])


def test_metrics_follow_the_row(store: Store, monkeypatch: pytest.MonkeyPatch):
    for name in ("Counter", "Gauge"):
        monkeypatch.setattr(ray.util.metrics, name, Metric)
    monkeypatch.setattr(Metric, "told", {})
    with record(store, "r1", "c", "d") as run:
        run.metrics = RunMetrics()
        for counts in (RunCounts(slides=9, done=1, tiles=30), RunCounts(slides=9, done=3, elsewhere=1, tiles=70)):
            run.counts = counts
            run.offer([])
    assert Metric.told == {
        "embedstore_tiles r1 c,d": 70,
        "embedstore_slides r1 c,d done": 3,
        "embedstore_slides r1 c,d elsewhere": 1,
        "embedstore_slides_left r1 c,d": 5,
    }
