"""Several ingests into one collection at once: no slide twice, none lost, the work shared."""

import dataclasses
import functools
from pathlib import Path

import pytest

from .scene import FAST, SLIDES, Scene, assert_complete
from .together import Turns

MORE = [*SLIDES, "g:9", "h:12", "i:5", "j:21"]


def ingests(folder: Path, lists: dict[str, list[str]], collections: tuple[str, ...], seed: int, **options) -> dict:
    """A driver for each list of slides."""
    scenes = {name: Scene(folder, collections) for name in lists}
    drivers = {
        name: functools.partial(scene.run, lists[name], seed=seed + i, groups=1, readers=1, **options)
        for i, (name, scene) in enumerate(scenes.items())
    }
    return {"scenes": scenes, "drivers": drivers}


def undisturbed(scene: Scene, slides: list[str]) -> None:
    """The store is as a single run leaves it."""
    assert_complete(scene, slides)
    for name in scene.names:
        assert len(scene.store.collection(name)) == sum(int(slide.split(":")[1]) for slide in slides)
        outcomes = scene.store.ledger.outcomes(collection=name)
        assert {row.slide_id: (row.state, row.tiles) for row in outcomes} == {
            slide: ("done", int(slide.split(":")[1])) for slide in slides
        }
        assert scene.store.writer_of(name) is None, "a lease was left behind"
    assert scene.store.ledger.slide_ids() == set(slides)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_runs_on_the_same_slides_share_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int):
    turns = Turns(seed)
    turns.install(monkeypatch)
    both = ingests(tmp_path, {"one": SLIDES, "two": SLIDES}, ("c",), seed)
    turns.run(both["drivers"])
    scenes = list(both["scenes"].values())
    undisturbed(scenes[0], SLIDES)
    assert sum(scene.summary.done for scene in scenes) == len(SLIDES), "a slide was embedded twice"
    for scene in scenes:
        assert scene.summary.done + scene.summary.already == len(SLIDES)
        assert not scene.summary.failed
    runs = scenes[0].store.runs.all()
    assert [run.state for run in runs] == ["done"] * len(runs)
    assert not any(run.in_hand for run in runs)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_runs_that_are_killed_anywhere_lose_nothing_and_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
):
    turns = Turns(seed, kill_rate=0.02, kills=6)
    turns.install(monkeypatch)
    lists = {"one": SLIDES, "two": SLIDES} if seed == 0 else {
        "one": MORE, "two": MORE, "three": MORE[:5], "four": MORE[5:]
    }  # fmt: skip
    everything = sorted({slide for slides in lists.values() for slide in slides})
    patient = dataclasses.replace(FAST, max_restarts=10_000, max_strikes=1000)  # three deaths may meet one slide
    names = ("c",) if seed % 2 == 0 else ("c", "d")
    several = ingests(tmp_path, lists, names, seed, death_rate=0.01 * (seed % 3), run=patient)
    turns.run(several["drivers"])
    assert turns.killed, "this seed killed nobody: the test shows nothing"
    scene = several["scenes"]["one"]
    undisturbed(scene, everything)
    assert {run.as_seen().state for run in scene.store.runs.all()} <= {"done", "stopped", "lost"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_forced_slides_are_replaced_beside_other_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int):
    Scene(tmp_path, ("c",)).run(SLIDES[:3])
    turns = Turns(seed, kill_rate=0.01, kills=3)
    turns.install(monkeypatch)
    plain = ingests(tmp_path, {"one": SLIDES}, ("c",), seed)
    forced = ingests(tmp_path, {"two": SLIDES, "three": SLIDES[:3]}, ("c",), seed + 10, force=frozenset(SLIDES[:3]))
    turns.run(plain["drivers"] | forced["drivers"])
    undisturbed(plain["scenes"]["one"], SLIDES)
