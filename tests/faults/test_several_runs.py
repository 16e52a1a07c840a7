"""Several ingests into one collection at once, some of them killed: the others finish what those had in hand."""

import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from embedstore.store import Store
from tests.faults.conftest import FaultScene, command
from tests.integration.test_ingest import table, vectors
from tests.integration.test_views import views_table


def start(scene: FaultScene, store: Path, slides: Path | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command(slides or scene.slides, scene.extractor, store), "--in-process"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ends_well(run: subprocess.Popen[str]) -> None:
    _, said = run.communicate(timeout=300)
    assert run.returncode == 0, said


def assert_undisturbed(scene: FaultScene, store: Path) -> None:
    rows, expected = table(store, "c"), table(scene.calm, "c")
    assert rows.drop_columns("vector").equals(expected.drop_columns("vector"))
    np.testing.assert_array_equal(vectors(rows), vectors(expected))
    assert views_table(store, "c").equals(views_table(scene.calm, "c"))
    assert {row.state for row in Store.open(store).ledger.outcomes()} == {"done"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_runs_on_the_same_slides_finish_those_of_a_run_that_was_killed(scene: FaultScene, tmp_path: Path, seed: int):
    store, rng = tmp_path / "store", random.Random(seed)
    runs = [start(scene, store) for _ in range(3)]
    while not (store / "runs.lance").is_dir() and all(run.poll() is None for run in runs):
        time.sleep(0.05)
    for killed in rng.sample(runs, rng.choice((1, 2))):
        time.sleep(rng.uniform(0, 4))
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        runs.remove(killed)
    for run in runs:
        ends_well(run)
    assert_undisturbed(scene, store)


@pytest.mark.slow
def test_runs_that_each_have_a_part_of_the_slides_fill_one_collection(scene: FaultScene, tmp_path: Path):
    store = tmp_path / "store"
    runs = [start(scene, store, slide) for slide in sorted(scene.slides.glob("*.svs"))[:3]]
    runs.append(start(scene, store))  # and one has all of them
    for run in runs:
        ends_well(run)
    assert_undisturbed(scene, store)
