"""A cluster from which the only node of a run goes, after another one has joined in mid-run."""

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.integration.test_ingest import SLOW

from .conftest import FaultScene, assert_resumes_to_the_undisturbed_rows, command

pytestmark = [pytest.mark.slow, pytest.mark.ray]


def workers(node) -> list[psutil.Process]:
    """Processes of a simulated node that hold one of our objects."""
    (raylet,) = node.all_processes["raylet"]
    found = []
    for child in psutil.Process(raylet.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            found += [child] * ("_Host" in " ".join(child.cmdline()))
    return found


@pytest.mark.filterwarnings("ignore")  # of Ray's own test harness
def test_a_node_that_joins_finishes_what_the_one_that_goes_began(scene: FaultScene, tmp_path: Path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    store, slower = tmp_path / "store", tmp_path / "slower.py"
    slower.write_text(SLOW.format(seconds=0.5))
    scene = scene._replace(extractor=slower)
    few_at_once = tmp_path / "run.toml"  # slides wait for the node that joins
    few_at_once.write_text("[run]\nin_flight_bytes = 1000000\nchunk_bytes = 1000000\n")
    with contextlib.ExitStack() as ending:
        ending.callback(cluster.shutdown)
        first = cluster.add_node(num_cpus=2)
        with (tmp_path / "err").open("w") as err:
            process = subprocess.Popen(
                [*command(scene.slides, scene.extractor, store), "--config", few_at_once, "--address", cluster.address],
                stderr=err,
            )
            ending.callback(process.wait)
            ending.callback(process.kill)

            def until(holds: Callable[[], object]) -> None:
                deadline = time.monotonic() + 120
                while not holds():
                    assert process.poll() is None, "the run was over before nodes could change: the test shows nothing"
                    assert time.monotonic() < deadline, (tmp_path / "err").read_text()
                    time.sleep(0.1)

            until(lambda: list(store.glob("tiles-c.lance/data/*")))
            second = cluster.add_node(num_cpus=2)
            until(lambda: workers(second))
            cluster.remove_node(first, allow_graceful=False)
            process.wait(timeout=240)
        told = (tmp_path / "err").read_text()
        assert process.returncode == 0, told
    assert_resumes_to_the_undisturbed_rows(scene, store)
