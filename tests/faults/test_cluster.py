"""A cluster of several simulated nodes, one of which is lost in the middle of a run."""

import contextlib
import subprocess
from pathlib import Path

import pytest

from tests.ray_cluster import add_node, ray_cluster, workers_of

from .conftest import FaultScene, assert_resumes_to_the_undisturbed_rows, command, has_written, until

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.mark.filterwarnings("ignore")  # of Ray's own test harness
def test_a_node_lost_during_a_run(held: FaultScene, tmp_path: Path):
    store, said = tmp_path / "store", tmp_path / "err"
    with contextlib.ExitStack() as ending, said.open("w") as err:
        cluster = ending.enter_context(ray_cluster(num_cpus=2))
        doomed = add_node(cluster, num_cpus=2)
        process = subprocess.Popen(
            [*command(held.slides, held.extractor, store), "--address", cluster.address], stderr=err
        )
        ending.callback(process.wait)
        ending.callback(process.kill)
        until(has_written(store), process, said)
        until(lambda: workers_of(doomed), process, said)
        cluster.remove_node(doomed, allow_graceful=False)
        held.hold.unlink()
        process.wait(timeout=300)
        assert process.returncode == 0, said.read_text()
    assert_resumes_to_the_undisturbed_rows(held, store)
