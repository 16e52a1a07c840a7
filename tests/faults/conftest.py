"""What the fault tests share: slides, an extractor that takes its time, and the rows of an undisturbed run."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from synthetic_slides import write_slide
from tests.integration.conftest import HELD, PROGRAM, embedstore
from tests.integration.test_ingest import table, vectors
from tests.integration.test_views import views_table

#: Of the 68 batches of a run, so many are embedded before it is held: slides are written then, and others begun.
BATCHES = 24


class FaultScene(NamedTuple):
    """Slides, the file of a slow extractor, the file that holds it, and the store of an undisturbed run."""

    slides: Path
    extractor: Path
    hold: Path
    calm: Path


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> FaultScene:
    folder = tmp_path_factory.mktemp("faults")
    for i in range(5):
        write_slide(folder / "slides" / f"s{i}.svs", size_px=(1536 + 256 * i, 1280), seed=10 + i)
    extractor = folder / "slow.py"
    hold = folder / "hold"
    extractor.write_text(HELD.format(batches=BATCHES, hold=str(hold)))
    done = embedstore(*command(folder / "slides", extractor, folder / "calm")[1:], "--in-process")
    assert done.code == 0, done.err
    return FaultScene(folder / "slides", extractor, hold, folder / "calm")


@pytest.fixture
def held(scene: FaultScene) -> Iterator[FaultScene]:
    """The scene, whose runs wait in the middle of their work until the test deletes `hold`."""
    scene.hold.touch()
    yield scene
    scene.hold.unlink(missing_ok=True)


def until(holds: Callable[[], object], run: "subprocess.Popen[Any]", said: Path | None = None) -> None:
    """Wait for what a run does; it fails where the run ends before, or after a time that no machine needs."""
    deadline = time.monotonic() + 300
    while not holds():
        told = said.read_text() if said is not None else ""
        assert run.poll() is None, f"the run ended before that, with {run.returncode}: {told}"
        assert time.monotonic() < deadline, told
        time.sleep(0.05)


def has_written(store: Path) -> Callable[[], object]:
    """Whether a run has written tiles of a slide."""
    return lambda: list(store.glob("tiles-c.lance/data/*"))


def command(slides: Path, extractor: Path, store: Path) -> list[str]:
    return [str(PROGRAM), "ingest", str(slides), "-s", str(store), "-e", f"{extractor}:make", "-c", "c",
            "--readers", "2", "--batch-tiles", "4", "--views", "2", "--retry-failed"]  # fmt: skip


def assert_resumes_to_the_undisturbed_rows(scene: FaultScene, store: Path) -> None:
    """Whatever was left undone is done by the next run, and then nothing is missing or there twice."""
    done = embedstore(*command(scene.slides, scene.extractor, store)[1:], "--in-process")
    assert done.code == 0, done.err
    rows, expected = table(store, "c"), table(scene.calm, "c")
    assert len(set(rows["tile_id"].to_pylist())) == len(rows)
    assert rows.drop_columns("vector").equals(expected.drop_columns("vector"))
    np.testing.assert_array_equal(vectors(rows), vectors(expected))
    assert views_table(store, "c").equals(views_table(scene.calm, "c"))
