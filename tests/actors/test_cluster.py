"""Clusters that are not there, do not answer, or lack embedstore: one sentence each, without Ray."""

import socket

import pytest

from actors import cluster
from actors.dispatch import Dispatch, WorkerHandle
from embedstore.config import ExecutionConfig
from embedstore.errors import ClusterError, ConfigError, WorkerDiedError
from embedstore.service_config import ServiceConfig

from .simulation import SimPool, SimWorker

_IMPORT_FAILED = (
    "The actor died because of an error raised in its creation task, \x1b[36mray::_Host.__init__()\x1b[39m (pid=7, "
    "ip=10.0.0.9, actor_id=03)\nRuntimeError: The actor with name _Host failed to import on the worker. This may be "
    "because needed library dependencies are not installed:\n\nTraceback\nModuleNotFoundError: No module named 'actors'"
)


@pytest.mark.parametrize("answer", [None, b"", b"\0\0\6\4\0\0\0\0\0"])
@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379"])
def test_a_cluster_is_asked_before_ray_is(monkeypatch: pytest.MonkeyPatch, address: str, answer: bytes | None):
    """Ray notes the address of a cluster for 'auto', and would try for minutes to reach one that was killed."""
    ours, theirs = socket.socketpair()
    asked = []

    def connect(to: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(to)
        ours.settimeout(0.05)
        return ours

    monkeypatch.setattr(cluster.socket, "create_connection", connect)
    monkeypatch.setattr(cluster, "canonicalize_bootstrap_address", lambda found: found.replace("auto", "10.0.0.1:6379"))
    if answer:
        theirs.sendall(answer)
        cluster._require_reachable(address)
    else:
        if answer == b"":
            theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ClusterError, match=rf"^no Ray cluster at {address}: .*; start one"):
            cluster._require_reachable(address)
    assert asked == [("10.0.0.1", 6379)]
    assert theirs.recv(9) == b"PRI * HTT"
    theirs.close()


def test_a_node_without_embedstore_is_told_in_a_sentence():
    told = cluster._died(cluster.RayError(_IMPORT_FAILED))
    assert isinstance(told, ClusterError)
    assert str(told).startswith(
        "the Python of the cluster's node 10.0.0.9 cannot load this embedstore: ModuleNotFoundError: No module named "
        "'actors'; expected the same versions"
    )
    assert isinstance(cluster._died(cluster.RayError("the node went away")), WorkerDiedError)


def test_it_ends_the_run_and_is_no_fault_of_a_slide():
    class Reader:
        def plan(self) -> None:
            raise ClusterError("node 10.0.0.9 cannot load this embedstore")

    pool = SimPool(0)
    handle = WorkerHandle(worker=SimWorker(Reader, "reader", pool))
    dispatch = Dispatch(pool, [handle], max_restarts=0, on_death=lambda _: None, on_loss=lambda _: [])
    dispatch.call(handle, "plan", failed=lambda error: pytest.fail("the slide was blamed"))
    with pytest.raises(ClusterError, match="cannot load"):
        dispatch.settle()


@pytest.mark.parametrize("address", ["ray://head:10001", "ray://head", "http://head:8265"])
def test_addresses_of_others_than_drivers_are_refused_with_the_way_to_go(address: str):
    with pytest.raises(
        ConfigError, match=r"expected auto or host:port.*`ray job submit --address http://head:8265 -- "
    ):
        ExecutionConfig(address=address)
    with pytest.raises(ConfigError), cluster.cluster(address):
        pass
    with pytest.raises(ConfigError):
        ServiceConfig(cluster=address)


def test_an_address_of_the_environment_is_refused_as_well(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "canonicalize_bootstrap_address", lambda _: "ray://head:10001")
    with pytest.raises(ConfigError, match="Ray's client"):
        cluster._require_reachable("auto")
