"""A Ray cluster of simulated nodes on this machine, with no more processes than the tests need."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psutil

#: Without processes that only look at the others, each of which takes a second of CPU time to start.
SETTINGS: dict[str, Any] = {"include_dashboard": False, "include_log_monitor": False}
#: That a node is gone is known within seconds, and not within 20: one that refuses connections is asked again soon. One
#: that is only slow has as long to answer as ever.
SOON_KNOWN = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300}


@contextlib.contextmanager
def ray_cluster(num_cpus: int) -> Iterator[Any]:
    """A cluster, whose head has so many CPUs for workers."""
    from ray.cluster_utils import Cluster

    head = {**SETTINGS, "num_cpus": num_cpus, "no_monitor": True, "_system_config": SOON_KNOWN}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Any, num_cpus: int) -> Any:
    """Let a node join."""
    return cluster.add_node(**SETTINGS, num_cpus=num_cpus)


def workers(process: int) -> list[psutil.Process]:
    """Processes of Ray below another one that hold one of our objects."""
    found = []
    with contextlib.suppress(psutil.Error):  # it ended meanwhile
        for child in psutil.Process(process).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found += [child] * ("_Host" in " ".join(child.cmdline()))
    return found


def workers_of(node: Any) -> list[psutil.Process]:
    """The same of a simulated node."""
    (raylet,) = node.all_processes["raylet"]
    return workers(raylet.process.pid)
