"""A cluster of several simulated nodes, one of which is lost in the middle of a run."""

import subprocess
import time
from pathlib import Path

import pytest

from .conftest import FaultScene, assert_resumes_to_the_undisturbed_rows, command

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.mark.filterwarnings("ignore")  # of Ray's own test harness
def test_a_node_lost_during_a_run(scene: FaultScene, tmp_path: Path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    doomed = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    store = tmp_path / "store"
    try:
        with (tmp_path / "err").open("w") as err:
            process = subprocess.Popen(
                [*command(scene.slides, scene.extractor, store), "--address", cluster.address], stderr=err
            )
            started = time.monotonic()
            while process.poll() is None and not list(store.glob("tiles-c.lance/data/*")):
                assert time.monotonic() - started < 120, (tmp_path / "err").read_text()
                time.sleep(0.1)
            assert process.poll() is None, "the run was over before a node could be lost: the test shows nothing"
            cluster.remove_node(doomed, allow_graceful=False)
            process.wait(timeout=240)
        assert process.returncode == 0, (tmp_path / "err").read_text()
    finally:
        cluster.shutdown()
    assert_resumes_to_the_undisturbed_rows(scene, store)
