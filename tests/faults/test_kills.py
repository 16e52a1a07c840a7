"""Real processes killed at seeded random moments: afterwards each tile is there once, as in an undisturbed run."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from .conftest import FaultScene, assert_resumes_to_the_undisturbed_rows, command

pytestmark = [pytest.mark.slow, pytest.mark.ray]


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


def test_workers_killed_during_a_run(scene: FaultScene, tmp_path: Path):
    rng = random.Random(1)
    store = tmp_path / "store"
    process = subprocess.Popen(
        [*command(scene.slides, scene.extractor, store), "--ray"], stderr=subprocess.PIPE, text=True
    )
    driver, killed = psutil.Process(process.pid), []
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(rng.uniform(0.3, 1.5))
        found = victims(driver) if process.poll() is None else []
        if found and len(killed) < 6:
            victim = rng.choice(found)
            killed.append(victim.cmdline()[0])
            victim.kill()
    process.communicate(timeout=30)
    assert killed, "nobody was killed: the test shows nothing"
    assert_resumes_to_the_undisturbed_rows(scene, store)


def test_the_driver_killed_again_and_again(scene: FaultScene, tmp_path: Path):
    rng = random.Random(2)
    store, kills = tmp_path / "store", 0
    for _ in range(12):
        process = subprocess.Popen(
            [*command(scene.slides, scene.extractor, store), "--ray"], stderr=subprocess.DEVNULL, start_new_session=True
        )
        started = time.monotonic()
        while process.poll() is None and not list(store.glob("tiles-c.lance/_versions/*")):
            assert time.monotonic() - started < 120
            time.sleep(0.1)
        wait = rng.uniform(0.5, 3.0)  # a quick machine is done 6 s after it made the table
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
    assert_resumes_to_the_undisturbed_rows(scene, store)
