"""Real processes killed at seeded random moments: afterwards each tile is there once, as in an undisturbed run."""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.ray_cluster import workers

from .conftest import FaultScene, assert_resumes_to_the_undisturbed_rows, command, until

pytestmark = [pytest.mark.slow, pytest.mark.ray]

WORKER_KILLS, DRIVER_KILLS = 6, 3


def test_workers_killed_during_a_run(held: FaultScene, tmp_path: Path):
    rng = random.Random(1)
    store = tmp_path / "store"
    with contextlib.ExitStack() as ending, (tmp_path / "err").open("w") as err:
        process = subprocess.Popen([*command(held.slides, held.extractor, store), "--ray"], stderr=err)
        ending.callback(process.wait)
        ending.callback(process.kill)
        until(lambda: workers(process.pid), process, tmp_path / "err")
        killed, deadline = 0, time.monotonic() + 300
        while process.poll() is None and killed < WORKER_KILLS and time.monotonic() < deadline:
            time.sleep(rng.uniform(0.3, 1.5))
            if found := workers(process.pid):
                rng.choice(found).kill()
                killed += 1
                held.hold.unlink(missing_ok=True)  # from now on the run may end
        process.wait(timeout=300)
    assert killed, "nobody was killed: the test shows nothing"
    assert_resumes_to_the_undisturbed_rows(held, store)


def test_the_driver_killed_again_and_again(held: FaultScene, tmp_path: Path):
    rng = random.Random(2)
    store = tmp_path / "store"
    for _ in range(DRIVER_KILLS):
        process = subprocess.Popen(
            [*command(held.slides, held.extractor, store), "--ray"], stderr=subprocess.DEVNULL, start_new_session=True
        )
        until(lambda: list(store.glob("tiles-c.lance/_versions/*")) and workers(process.pid), process)  # noqa: B023
        time.sleep(rng.uniform(0.5, 3.0))
        assert process.poll() is None, "the run ended although it was held"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    held.hold.unlink()
    assert_resumes_to_the_undisturbed_rows(held, store)
