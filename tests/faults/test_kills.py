"""Real processes killed at seeded random moments: afterwards each tile is there once, as in an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.integration.conftest import embedstore
from tests.integration.test_ingest import SLOW, table, vectors

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Slides, an extractor that takes its time, and the store of an undisturbed run."""
    from embedstore.synthetic import write_slide

    folder = tmp_path_factory.mktemp("faults")
    for i in range(5):
        write_slide(folder / "slides" / f"s{i}.svs", size_px=(1536 + 256 * i, 1280), seed=10 + i)
    extractor = folder / "slow.py"
    extractor.write_text(SLOW.format(seconds=0.15))
    done = embedstore(
        "ingest", folder / "slides", "-s", folder / "calm", "-e", f"{extractor}:make", "--in-process", "-c", "c"
    )
    assert done.code == 0, done.err
    return folder / "slides", extractor, folder / "calm"


def command(slides: Path, extractor: Path, store: Path) -> list[str]:
    program = str(Path(sys.executable).parent / "embedstore")
    return [program, "ingest", str(slides), "-s", str(store), "-e", f"{extractor}:make", "-c", "c",
            "--readers", "2", "--batch-tiles", "4", "--retry-failed"]  # fmt: skip


def victims(driver: psutil.Process) -> list[psutil.Process]:
    """The run's workers: processes of Ray that hold one of our objects."""
    found = []
    for process in driver.children(recursive=True):
        try:
            if "_Host" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def assert_same_rows(store: Path, calm: Path) -> None:
    ours, theirs = table(store, "c"), table(calm, "c")
    assert len(set(ours["tile_id"].to_pylist())) == len(ours)
    assert ours.drop_columns("vector").equals(theirs.drop_columns("vector"))
    np.testing.assert_array_equal(vectors(ours), vectors(theirs))


def test_workers_killed_during_a_run(scene, tmp_path: Path):
    slides, extractor, calm = scene
    rng = random.Random(1)
    process = subprocess.Popen(command(slides, extractor, tmp_path / "store"), stderr=subprocess.PIPE, text=True)
    driver, killed = psutil.Process(process.pid), []
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(rng.uniform(0.3, 1.5))
        found = victims(driver) if process.poll() is None else []
        if found and len(killed) < 6:
            victim = rng.choice(found)
            killed.append(victim.cmdline()[0])
            victim.kill()
    _, err = process.communicate(timeout=30)
    assert killed, "nobody was killed: the test shows nothing"
    again = embedstore(*command(slides, extractor, tmp_path / "store")[1:])
    assert again.code == 0, err + again.err
    assert_same_rows(tmp_path / "store", calm)


def test_the_driver_killed_again_and_again(scene, tmp_path: Path):
    slides, extractor, calm = scene
    rng = random.Random(2)
    store, kills = tmp_path / "store", 0
    for _ in range(12):
        process = subprocess.Popen(command(slides, extractor, store), stderr=subprocess.DEVNULL, start_new_session=True)
        started = time.monotonic()
        while process.poll() is None and not list(store.glob("tiles-c.lance/_versions/*")):
            assert time.monotonic() - started < 120
            time.sleep(0.1)
        wait = rng.uniform(0.5, 6.0)
        try:
            process.wait(timeout=wait + (8.0 if kills else 0.0))  # later runs find the table there before they begin
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            if kills < 3:
                continue
        break
    assert kills, "the driver was never killed: the test shows nothing"
    again = embedstore(*command(slides, extractor, store)[1:])
    assert again.code == 0, again.err
    assert_same_rows(store, calm)
