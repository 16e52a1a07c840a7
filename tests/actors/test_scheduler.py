"""The run's promises, with workers killed at seeded moments: every tile once, in order, whatever died."""

import dataclasses
import errno
import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.committer import CommitBatch, Committer
from actors.extractor_worker import ExtractorWorker
from actors.group_pipeline import GroupPipeline
from actors.reader import Chunk, PlannedSlide
from embedstore.config import RunConfig
from embedstore.errors import AccessError, ExtractorError, RunError, WorkerDiedError
from embedstore.slides import SlideSource
from embedstore.store import Store
from embedstore.store.ledger import Ledger
from tests.marks import slow

from .scene import FAST, SLIDES, DriverKilled, Scene, assert_complete
from .simulation import SimPool, SimWorker
from .toys import CONFIG, ToyExtractor, ToyReader, expected, pixels_of


def test_every_tile_is_there_once_and_in_order(tmp_path: Path):
    scene = Scene(tmp_path)
    scene.run(SLIDES)
    assert_complete(scene, SLIDES)
    assert set(scene.states().values()) == {"done"}


def test_a_slide_that_fails_costs_itself_only(tmp_path: Path):
    scene = Scene(tmp_path)
    scene.run(["torn:1", *SLIDES, "blank:1"])
    assert_complete(scene, SLIDES)
    assert scene.states() == dict.fromkeys(SLIDES, "done") | {"torn:1": "failed", "blank:1": "empty"}
    reasons = {row.slide_id: row.reason for row in scene.store.ledger.outcomes()}
    assert "cannot be opened" in reasons["torn:1"]
    assert "0 of 0.0 mm²" in reasons["blank:1"]


def test_unreadable_tiles_are_counted_and_past_a_share_fail_the_slide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scene = Scene(tmp_path)
    scene.run(["holes:50", "b:7"])
    assert scene.states() == {"holes:50": "failed", "b:7": "done"}
    assert len(scene.store.collection("c")) == 7


def test_a_slide_with_few_unreadable_tiles_keeps_the_others(tmp_path: Path):
    lenient = dataclasses.replace(CONFIG, reading=dataclasses.replace(CONFIG.reading, max_unreadable=0.2))
    scene = Scene(tmp_path)
    scene.run(["holes:50"], config=lenient)
    np.testing.assert_array_equal(scene.rows("c", "holes:50"), expected("holes:50", 50, range(3, 50, 10)))
    (outcome,) = scene.store.ledger.outcomes()
    assert (outcome.tiles, outcome.unreadable) == (45, 5)
    assert re.fullmatch(r"5 of 50 tiles could not be read \((\(\d+, 0\)(, )?){5}\)", *outcome.warnings)
    assert scene.summary.tiles == 45
    assert scene.summary.warned == [("holes:50", *outcome.warnings)]


class CopiesReader(ToyReader):
    """All slides have one content, with pen marks and a further image in the file."""

    def plan(self, one: SlideSource) -> PlannedSlide:
        planned = super().plan(one)
        warnings = "pen marks of 2.3 mm² left out", "1 further image of the file not read"
        return dataclasses.replace(
            planned, plan=dataclasses.replace(planned.plan, fingerprint="one", warnings=warnings)
        )


def test_a_copy_of_a_slide_and_what_is_not_read_of_a_file_are_told(tmp_path: Path):
    scene = Scene(tmp_path)
    scene.run(["a:7", "b:7"], reader=CopiesReader)
    assert set(scene.states().values()) == {"done"}
    told = [warning.reason for warning in scene.summary.warned]
    assert sum("has the same content as" in text for text in told) == 1
    assert told.count("1 further image of the file not read") == 2
    assert len(told) == 3  # pen marks stand in the outcomes alone: many slides have them


@pytest.mark.parametrize("seed", [0, *map(slow, range(1, 12))])
def test_workers_killed_at_random_lose_nothing_and_double_nothing(tmp_path: Path, seed: int):
    scene = Scene(tmp_path, ("c", "d"))
    config = RunConfig(**{**vars(FAST), "max_strikes": 1000, "max_restarts": 10_000})
    pool = scene.run(SLIDES, seed=seed, death_rate=0.08, run=config)
    assert pool.deaths, "this seed killed nobody: the test shows nothing"
    assert_complete(scene, SLIDES)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_driver_killed_at_random_resumes_to_the_undisturbed_result(tmp_path: Path, seed: int):
    scene = Scene(tmp_path, ("c", "d"))
    rng = np.random.default_rng(seed)
    for _ in range(30):
        left = int(rng.integers(1, 60))

        def countdown() -> bool:
            nonlocal left
            left -= 1
            if left < 0:
                raise DriverKilled
            return False

        try:
            scene.run(SLIDES, seed=seed, death_rate=0.02, should_stop=countdown)
        except DriverKilled:
            continue
        break
    else:
        scene.run(SLIDES)
    assert_complete(scene, SLIDES)


@pytest.mark.slow
def test_a_slide_that_kills_its_readers_fails_alone(tmp_path: Path):
    class Fragile(ToyReader):
        def read(self, key: str, start: int, stop: int):
            if key.startswith("poison"):
                raise WorkerDiedError("the decoder crashed")
            return super().read(key, start, stop)

    scene = Scene(tmp_path)
    scene.run(["poison:9", *SLIDES], reader=Fragile)
    assert scene.states() == dict.fromkeys(SLIDES, "done") | {"poison:9": "failed"}
    reasons = {row.slide_id: row.reason for row in scene.store.ledger.outcomes()}
    assert "3 workers died while reading it" in reasons["poison:9"]
    assert_complete(scene, SLIDES)


def test_a_run_gives_up_when_workers_die_without_end(tmp_path: Path):
    scene = Scene(tmp_path)
    config = RunConfig(**{**vars(FAST), "max_restarts": 5})
    with pytest.raises(RunError, match="workers died 6 times"):
        scene.run(SLIDES, death_rate=0.8, run=config, spare=("committer",))


@pytest.mark.slow
def test_stopping_commits_the_finished_and_leaves_the_rest_for_the_next_run(tmp_path: Path):
    scene = Scene(tmp_path)
    calls = iter(range(10**6))
    scene.run(SLIDES, groups=1, readers=1, should_stop=lambda: next(calls) > 60)
    done = scene.store.collection("c").slides()
    assert 0 < len(done) < len(SLIDES)
    scene.run(SLIDES)
    assert_complete(scene, SLIDES)


@pytest.mark.slow
@pytest.mark.parametrize("readers", [4, 12])
def test_pixels_in_flight_are_bounded_and_every_reader_is_busy(
    readers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen, busy = [], []
    original = GroupPipeline.maybe_flush

    def spy(self: GroupPipeline) -> None:
        original(self)
        seen.append(self.in_flight_bytes)
        busy.append(sum(bool(reader.calls) for reader in self.group.readers))

    monkeypatch.setattr(GroupPipeline, "maybe_flush", spy)
    scene = Scene(tmp_path)
    scene.run(["big:400"], groups=1, readers=readers)
    assert max(busy) == readers
    assert max(seen) <= FAST.in_flight_bytes + FAST.chunk_bytes
    assert max(seen) > FAST.chunk_bytes


@pytest.mark.slow
def test_only_missing_collections_are_filled(tmp_path: Path):
    scene = Scene(tmp_path, ("c",))
    scene.run(["a:5"])
    wider = Scene(tmp_path, ("c", "d"))
    wider.run(["a:5", "b:7"])
    assert_complete(wider, ["a:5", "b:7"])
    assert len(wider.store.collection("c").dataset().get_fragments()) <= 2


@pytest.mark.slow
def test_the_same_name_with_another_file_is_refused_until_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scene = Scene(tmp_path)
    scene.run(["a:5"])
    scene.store.ledger.record([], [])
    wider = Scene(tmp_path, ("c", "d"))
    monkeypatch.setattr(
        "tests.actors.toys.plan",
        functools.partial(_other_file, original=__import__("tests.actors.toys", fromlist=["plan"]).plan),
    )
    wider.run(["a:5"])
    reasons = [row.reason for row in wider.store.ledger.outcomes(collection="d")]
    assert "from another file" in reasons[0]
    wider.run(["a:5"], force=frozenset({"a:5"}))
    assert_complete(wider, ["a:5"])


def test_an_extractor_started_again_between_two_calls_loses_nothing(tmp_path: Path):
    """No call was under way, so nobody was told; the tiles in its half-filled batch are gone all the same."""
    scene = Scene(tmp_path)
    forgotten = []

    class Forgetful(ExtractorWorker):
        def flush(self):
            if not forgotten:
                forgotten.append(True)
                for branch in self._branches:
                    branch.slides.clear()
                    branch._waiting.clear()
                    branch._stream.flush()
                return []
            return super().flush()

    scene.extractor = Forgetful
    scene.run(["a:3", "b:7"], groups=1)
    assert forgotten
    assert_complete(scene, ["a:3", "b:7"])


def test_finished_slides_are_committed_when_the_run_ends_with_an_error(tmp_path: Path):
    class Breaks(ExtractorWorker):
        def feed(self, chunk: Any, pixels: Any):
            if chunk.key.startswith("z"):
                raise OSError("no space left on device")
            return super().feed(chunk, pixels)

    scene = Scene(tmp_path)
    scene.extractor = Breaks
    patient = RunConfig(**{**vars(FAST), "group_s": 1000.0, "group_slides": 1000})
    with pytest.raises(RunError, match="no space left"):
        scene.run(["a:8", "b:8", "z:40"], groups=1, readers=1, run=patient)
    assert scene.store.collection("c").slides() == {"a:8": 8, "b:8": 8}


@pytest.mark.parametrize("failures", [1, slow(1000)])
def test_a_commit_that_fails_while_others_wait_ends_the_run(tmp_path: Path, monkeypatch, failures: int):
    """What is finished is tried once more, and the error says how much is committed."""
    full = OSError(errno.ENOSPC, "No space left on device", "tiles-c.lance")
    commit, calls = Committer.commit, 0

    def fails(self: Committer, batch: CommitBatch) -> int:
        nonlocal calls
        calls += 1
        if 1 < calls < 2 + failures:
            raise full
        return commit(self, batch)

    monkeypatch.setattr(Committer, "commit", fails)
    scene, slides = Scene(tmp_path), [f"{name}:9" for name in "abcdefghijkl"]
    with pytest.raises(AccessError, match="No space left on device") as told:
        scene.run(slides, groups=1, readers=1)
    done = scene.store.collection("c").slides()
    assert f"the run has ended: {len(done)} of 12 slides are committed" in str(told.value)
    assert str(told.value).endswith("run the same command again to go on")
    assert ("finished but not committed" in str(told.value)) == (failures > 1)
    assert len(done) == (1 if failures > 1 else 2)
    monkeypatch.setattr(Committer, "commit", commit)
    scene.run(slides)
    assert_complete(scene, slides)


@pytest.mark.parametrize("method", ["records", *map(slow, ["ping", "present", "close"])])
def test_a_worker_that_dies_before_or_after_the_work_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
):
    killed: list[str] = []

    def dies_once(pool: SimPool, worker: SimWorker, called: str) -> bool:
        if called != method or killed:
            return False
        killed.append(worker.name)
        return True

    monkeypatch.setattr(SimPool, "dies", dies_once)
    scene = Scene(tmp_path)
    scene.run(SLIDES)
    assert killed
    assert_complete(scene, SLIDES)


@pytest.mark.slow
def test_a_slide_that_kills_its_reader_as_it_is_opened_fails_alone(tmp_path: Path):
    class Fragile(ToyReader):
        def open(self, key: str, planned: Any) -> None:
            if key.startswith("poison"):
                raise WorkerDiedError("the decoder crashed")
            super().open(key, planned)

    scene = Scene(tmp_path)
    scene.run(["poison:9", *SLIDES], reader=Fragile)
    assert scene.states() == dict.fromkeys(SLIDES, "done") | {"poison:9": "failed"}


def test_slides_whose_rows_are_there_are_counted_though_their_commit_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    record = Ledger.record

    def full(self: Ledger, slides: Any, outcomes: Any) -> None:
        if list(outcomes):
            raise OSError(errno.ENOSPC, "No space left on device", "outcomes.lance")
        record(self, slides, outcomes)

    monkeypatch.setattr(Ledger, "record", full)
    scene, slides = Scene(tmp_path), [f"{name}:9" for name in "abcdefghijkl"]
    with pytest.raises(AccessError, match="No space left on device") as told:
        scene.run(slides, groups=1, readers=1)
    there = len(scene.store.collection("c").slides())
    assert 0 < there < 12 and f"the run has ended: {there} of 12 slides are committed" in str(told.value)


@pytest.mark.slow
def test_who_writes_beside_a_run_is_a_note_that_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def away(store: Store, collection: str, *, but: str | None = None) -> None:
        asked.append(collection)
        raise OSError("error sending request")

    monkeypatch.setattr("actors.scheduler.TELL_S", -1.0)
    scene = Scene(tmp_path)
    monkeypatch.setattr(Store, "writer_of", away)
    scene.run(SLIDES)
    assert asked
    assert_complete(scene, SLIDES)


class SometimesNoNumber(ToyExtractor):
    """NaN for tiles whose first pixel is one of these; None for all tiles."""

    pixels: np.ndarray | None = None

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        rows = super().embed(pixels)
        bad = np.ones(len(rows), bool) if self.pixels is None else (pixels == self.pixels).all(axis=(1, 2, 3))
        rows[bad] = np.nan
        return rows


@pytest.mark.parametrize("tile", [0, slow(39)])
def test_an_embedding_that_is_no_number_costs_its_slide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tile: int):
    monkeypatch.setattr("actors.extractor_worker.load_extractor", lambda config, device: SometimesNoNumber())
    monkeypatch.setattr(SometimesNoNumber, "pixels", pixels_of("c:40", tile, tile + 1)[0])
    scene = Scene(tmp_path)
    scene.run(SLIDES, groups=1)
    assert scene.states() == dict.fromkeys(SLIDES, "done") | {"c:40": "failed"}
    (failed,) = scene.store.ledger.outcomes(states=("failed",))
    assert failed.error == "ExtractorError" and "that float16 cannot hold" in (failed.reason or "")
    monkeypatch.setattr("actors.extractor_worker.load_extractor", lambda config, device: ToyExtractor())
    scene.run(SLIDES)
    assert_complete(scene, SLIDES)


def test_an_extractor_that_gives_no_number_at_all_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actors.extractor_worker.load_extractor", lambda config, device: SometimesNoNumber())
    with pytest.raises(ExtractorError, match=r"\d+ of \d+ embeddings that float16 cannot hold"):
        Scene(tmp_path).run(SLIDES)


def test_a_forced_slide_without_rows_that_fails_is_recorded(tmp_path: Path):
    scene = Scene(tmp_path)
    scene.run(["torn:1"], force=frozenset({"torn:1"}))
    assert scene.states() == {"torn:1": "failed"}


@pytest.mark.slow
def test_a_slide_that_failed_may_come_back_as_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scene = Scene(tmp_path)
    scene.run(["holes:50"])
    assert scene.states() == {"holes:50": "failed"}
    toys = __import__("tests.actors.toys", fromlist=["plan"])
    monkeypatch.setattr("tests.actors.toys.plan", functools.partial(_other_file, original=toys.plan))
    monkeypatch.setattr(ToyReader, "read", _mended)
    scene.run(["holes:50"])
    assert scene.states() == {"holes:50": "done"}


@pytest.mark.parametrize(
    "gone", [slow(("extractor-1",)), slow(("reader-1-0",)), ("extractor-1", "reader-1-0", "reader-1-1")]
)
def test_a_node_that_does_not_come_back_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: tuple[str, ...]
):
    monkeypatch.setattr("actors.dispatch.REVIVE_S", 0.0)
    scene = Scene(tmp_path)
    scene.lost = dict.fromkeys(gone, 4)
    scene.run(SLIDES, groups=2, readers=2)
    assert any(worker.gone for worker in scene.workers)
    assert_complete(scene, SLIDES)


def test_a_run_whose_only_extractor_is_lost_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actors.dispatch.REVIVE_S", 0.0)
    scene = Scene(tmp_path)
    scene.lost = {"extractor-0": 4}
    with pytest.raises(RunError, match=r"extractor-0 did not come back.*no other worker"):
        scene.run(SLIDES, groups=1)


@pytest.mark.slow
def test_slides_are_dealt_evenly_over_worker_groups(tmp_path: Path):
    scene = Scene(tmp_path)
    scene.run([f"{name}:9" for name in "abcdefghijklmnop"], groups=4, readers=8)
    plans = [
        sum(worker.calls.count("plan") for worker in scene.workers if worker.name.startswith(f"reader-{group}"))
        for group in range(4)
    ]
    assert min(plans) >= 2, plans


def _mended(self: ToyReader, key: str, start: int, stop: int):
    chunk = Chunk(key=key, start=start, readable=np.ones(stop - start, bool), read_s=0.0)
    return chunk, pixels_of("holes:50", start, stop)


def _other_file(one, tiles, *, original):
    return dataclasses.replace(original(one, tiles), fingerprint="other")
