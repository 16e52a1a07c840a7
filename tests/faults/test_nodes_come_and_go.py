"""A cluster from which the only node of a run goes, after another one has joined in mid-run."""

import contextlib
import subprocess
from pathlib import Path

import pytest

from tests.ray_cluster import add_node, ray_cluster, workers_of

from .conftest import FaultScene, assert_resumes_to_the_undisturbed_rows, command, has_written, until

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.mark.filterwarnings("ignore")  # of Ray's own test harness
def test_a_node_that_joins_finishes_what_the_one_that_goes_began(held: FaultScene, tmp_path: Path):
    store, said = tmp_path / "store", tmp_path / "err"
    few_at_once = tmp_path / "run.toml"  # slides wait for the node that joins
    few_at_once.write_text("[run]\nin_flight_bytes = 1000000\nchunk_bytes = 1000000\n")
    with contextlib.ExitStack() as ending, said.open("w") as err:
        cluster = ending.enter_context(ray_cluster(num_cpus=0))
        first = add_node(cluster, num_cpus=2)
        few = ["--readers", "1", "--config", few_at_once]
        process = subprocess.Popen(
            [*command(held.slides, held.extractor, store), *few, "--address", cluster.address], stderr=err
        )
        ending.callback(process.wait)
        ending.callback(process.kill)
        until(has_written(store), process, said)
        second = add_node(cluster, num_cpus=2)
        until(lambda: workers_of(second), process, said)
        cluster.remove_node(first, allow_graceful=False)
        held.hold.unlink()
        process.wait(timeout=300)
        assert process.returncode == 0, said.read_text()
    assert_resumes_to_the_undisturbed_rows(held, store)
