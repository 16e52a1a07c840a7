"""Slides of an object store in a run: fetched ahead, waiting for room, and refused."""

import dataclasses
from pathlib import Path

import pytest

from actors import group_pipeline
from embedstore.errors import AccessError, SlideCacheFullError
from tests.actors.scene import Scene, assert_complete
from tests.actors.toys import ToyReader

SLIDES = [f"s{i}:{9 + i}" for i in range(6)]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_pipeline, "ROOM_PAUSE_S", 0.02)


@dataclasses.dataclass
class Disk:
    """A disk that holds so many slides; readers share it."""

    room: int
    held: set[str] = dataclasses.field(default_factory=set)
    refused: int = 0

    def reader(self) -> type[ToyReader]:
        disk = self

        class Reader(ToyReader):
            def plan(self, one, ahead=None):
                return super().plan(one)

            def open(self, key, planned):
                if len(disk.held) >= disk.room:
                    disk.refused += 1
                    raise SlideCacheFullError("slides in use fill the disk")
                disk.held.add(key)
                super().open(key, planned)

            def close(self, key):
                disk.held.discard(key)
                super().close(key)

        return Reader


@pytest.mark.slow
def test_slides_wait_for_room_on_the_disk_and_all_come_in(tmp_path: Path):
    scene, disk = Scene(tmp_path), Disk(room=1)
    scene.run(SLIDES, reader=disk.reader())
    assert disk.refused
    assert_complete(scene, SLIDES)


@pytest.mark.slow
def test_a_slide_that_never_finds_room_fails_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(group_pipeline, "ROOM_S", 0.0)

    class Full(ToyReader):
        def plan(self, one, ahead=None):
            if one.slide_id == SLIDES[0]:
                raise SlideCacheFullError("slides in use fill the disk")
            return super().plan(one)

    scene = Scene(tmp_path)
    scene.run(SLIDES, reader=Full)
    assert scene.states() == dict.fromkeys(SLIDES, "done") | {SLIDES[0]: "failed"}


@pytest.mark.slow
def test_refused_credentials_end_the_run_and_do_not_fail_its_slides(tmp_path: Path):
    class Refused(ToyReader):
        def plan(self, one, ahead=None):
            if one.slide_id == SLIDES[3]:
                raise AccessError("the object store refuses")
            return super().plan(one)

    scene = Scene(tmp_path)
    with pytest.raises(
        AccessError, match=r"the object store refuses; the run has ended: .* run the same command again"
    ):
        scene.run(SLIDES, reader=Refused)
    assert "failed" not in scene.states().values()
    scene.run(SLIDES)
    assert_complete(scene, SLIDES)


@pytest.mark.slow
def test_each_slide_is_fetched_ahead_by_one_group_which_then_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    planned, ahead_of = [], {}

    class Remote(ToyReader):
        def plan(self, one, ahead=None):
            planned.append((one.slide_id, self))
            if ahead is not None:
                assert ahead.slide_id not in ahead_of
                ahead_of[ahead.slide_id] = self
            return super().plan(one)

    monkeypatch.setattr(group_pipeline, "is_uri", lambda path: True)
    scene = Scene(tmp_path)
    scene.run(SLIDES, reader=Remote, readers=1)
    assert_complete(scene, SLIDES)
    assert len(ahead_of) >= len(SLIDES) - 2
    assert all(ahead_of.get(slide, reader) is reader for slide, reader in planned[:-2])  # the last are for who is idle
