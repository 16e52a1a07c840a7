"""Nodes that join and are lost in mid-run, at seeded moments: every tile once, and no slide is blamed."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from actors.extractor_worker import ExtractorWorker
from embedstore.errors import RunError
from tests.marks import slow

from .scene import FAST, SLIDES, Scene, assert_complete

#: Neither a worker's death nor a strike is allowed: those of lost nodes are none.
STRICT = dataclasses.replace(FAST, max_restarts=1, max_strikes=1)


@pytest.mark.parametrize("seed", [0, *map(slow, range(1, 40))])
def test_nodes_that_come_and_go_lose_nothing(tmp_path: Path, seed: int):
    scene = Scene(tmp_path, ("c", "d"))
    scene.run(SLIDES, seed=seed, losses=8, run=STRICT)
    assert scene.fleet.lost, "this seed lost no node: the test shows nothing"
    assert_complete(scene, SLIDES)
    assert set(scene.states().values()) == {"done"}


@pytest.mark.parametrize("seed", [0, *map(slow, range(1, 20))])
def test_nodes_lost_while_workers_die_of_their_own(tmp_path: Path, seed: int):
    scene = Scene(tmp_path)
    patient = dataclasses.replace(FAST, max_restarts=10_000, max_strikes=1000)
    pool = scene.run(SLIDES, seed=seed, losses=5, death_rate=0.05, run=patient, spare=("committer",))
    assert pool.deaths and scene.fleet.lost, "this seed killed nobody: the test shows nothing"
    assert_complete(scene, SLIDES)


@pytest.mark.slow
def test_a_node_that_joins_takes_work(tmp_path: Path):
    scene = Scene(tmp_path)
    scene.run([f"{name}:9" for name in "abcdefghijklmnop"], losses=0)
    fed = {worker.name for worker in scene.workers if "feed" in worker.calls}
    assert scene.fleet.started == 3 and fed == {"extractor-0", "extractor-1", "extractor-2"}


def test_groups_without_work_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actors.scheduler.IDLE_S", -1.0)
    scene = Scene(tmp_path)
    scene.run(["a:5", "big:400"], losses=0)
    assert_complete(scene, ["a:5", "big:400"])
    assert scene.fleet.released and len(scene.fleet.groups) == 1
    assert scene.fleet.started <= 3  # none is started again for slides that others have in hand


def test_a_run_waits_for_a_node_and_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actors.scheduler.ALONE_S", -1.0)
    monkeypatch.setattr("tests.actors.simulation.SimFleet.comes_back", False)
    scene = Scene(tmp_path)
    with pytest.raises(RunError, match="has had no extractor worker for"):
        scene.run(SLIDES, losses=1)


@pytest.mark.slow
def test_a_node_with_other_weights_is_left_out(tmp_path: Path):
    made: list[Any] = []

    class Odd(ExtractorWorker):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

        def records(self) -> list[dict[str, Any]]:
            return [record | {"digest": str(made.index(self) == 2)} for record in super().records()]

    scene = Scene(tmp_path)
    scene.extractor = Odd
    slides = [f"{name}:9" for name in "abcdefghijklmnop"]
    scene.run(slides, losses=0)
    assert [group.extractor.name for group in scene.fleet.refused] == ["extractor-2"]
    assert_complete(scene, slides)
