"""A cluster of several simulated nodes, one of which is lost in the middle of a run."""

import contextlib
import subprocess
from pathlib import Path

import pytest

from .conftest import (
    SOON_KNOWN,
    FaultScene,
    assert_resumes_to_the_undisturbed_rows,
    command,
    has_written,
    until,
    workers_of,
)

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.mark.filterwarnings("ignore")  # of Ray's own test harness
def test_a_node_lost_during_a_run(held: FaultScene, tmp_path: Path):
    from ray.cluster_utils import Cluster

    settings = {"num_cpus": 2, "include_dashboard": False, "_system_config": SOON_KNOWN}
    cluster = Cluster(initialize_head=True, head_node_args=settings)
    store, said = tmp_path / "store", tmp_path / "err"
    with contextlib.ExitStack() as ending, said.open("w") as err:
        ending.callback(cluster.shutdown)
        doomed = cluster.add_node(num_cpus=2)
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
