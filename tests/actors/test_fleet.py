"""Where worker groups are put on a cluster, and what the cluster is asked for, without Ray."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from actors import fleet as fleets
from actors.dispatch import WorkerHandle
from actors.fleet import ClusterFleet
from actors.nodes import ClusterNode, NodeReport
from actors.worker_group import WorkerGroup
from embedstore.config import ExecutionConfig, RunConfig
from embedstore.errors import ClusterError, ConfigError

from .simulation import SimPool, SimWorker


def cpu(name: str, cpus: int = 8) -> ClusterNode:
    return ClusterNode(node_id=name, host=name, cpus=cpus, gpus=0)


def gpu(name: str, gpus: int = 1, cpus: int = 16) -> ClusterNode:
    return ClusterNode(node_id=name, host=name, cpus=cpus, gpus=gpus)


@dataclass
class FakeRoom:
    cpus: int
    gpus: int
    found: str | None = None
    removed: bool = False

    def node_id(self) -> str | None:
        return self.found

    def remove(self) -> None:
        self.removed = True


@dataclass
class FakeInspection:
    node: ClusterNode
    faults: dict[str, str]
    ended: bool = True

    def report(self) -> NodeReport:
        return NodeReport(node=self.node, python="3.11.9", fault=self.faults.get(self.node.node_id))


@dataclass
class FakeView:
    """A cluster whose nodes the test changes."""

    here: list[ClusterNode]
    faults: dict[str, str] = field(default_factory=dict)
    started: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    rooms: list[FakeRoom] = field(default_factory=list)

    def nodes(self) -> list[ClusterNode]:
        return self.here

    def require(self, which: Sequence[ClusterNode]) -> list[str]:
        for node in which:
            if error := FakeInspection(node, self.faults).report().error:
                raise error
        return [node.node_id for node in which]

    def inspect(self, node: ClusterNode) -> FakeInspection:
        return FakeInspection(node, self.faults)

    def start(self, node: ClusterNode, **how: Any) -> WorkerGroup:
        self.started.append((node.node_id, how))
        pool = SimPool(0)
        return WorkerGroup(
            extractor=WorkerHandle(worker=SimWorker(object, f"extractor-{how['number']}", pool)), readers=[]
        )

    def room(self, *, cpus: int, gpus: int) -> FakeRoom:
        self.rooms.append(FakeRoom(cpus, gpus))
        return self.rooms[-1]

    @property
    def asked(self) -> list[tuple[int, int]]:
        """CPUs and GPUs of each room that is asked for."""
        return [(room.cpus, room.gpus) for room in self.rooms if not room.removed]

    @property
    def where(self) -> list[str]:
        return [node_id for node_id, _ in self.started]


def fleet(view: FakeView, *, device: str = "auto", **run: Any) -> ClusterFleet:
    return ClusterFleet(None, RunConfig(**run), ExecutionConfig(address="auto", device=device), view)  # type: ignore[arg-type]


def test_each_gpu_has_a_group_or_each_node_where_there_is_none():
    view = FakeView([gpu("a", 2), gpu("b"), cpu("head")])
    assert len(fleet(view).grow(100)) == 3
    assert view.where == ["a", "b", "a"]
    assert [(how["sharing"], how["on_gpu"]) for _, how in view.started] == [(2, True), (1, True), (2, True)]
    view = FakeView([cpu("a"), cpu("b"), cpu("head", 0)])
    fleet(view).grow(100)
    assert view.where == ["a", "b"] and not view.asked


def test_a_fixed_number_shares_nodes_and_is_filled_again():
    view = FakeView([cpu("a"), cpu("b")])
    ours = fleet(view, extractors=3)
    groups = ours.grow(1)
    assert sorted(view.where) == ["a", "a", "b"] and ours.fewest == 3
    view.here = [cpu("a"), cpu("c")]
    assert not ours.grow(1)  # the new node is only asked
    assert [ours.lives(group) for group in groups] == [place == "a" for place in view.where]
    ours.release(groups[view.where.index("b")])
    assert len(ours.grow(1)) == 1 and view.where[-1] == "c"


def test_a_node_that_joins_gets_groups_once_it_was_inspected(monkeypatch: pytest.MonkeyPatch):
    view = FakeView([cpu("a")], faults={"old": "has embedstore 0.0.9"})
    ours = fleet(view)
    ours.grow(100)
    view.here = [cpu("a"), cpu("b"), cpu("old")]
    assert not ours.grow(100)
    assert len(ours.grow(100)) == 1 and view.where == ["a", "b"]
    view.faults.clear()
    ours.grow(100)
    assert view.where == ["a", "b"]
    monkeypatch.setattr(fleets, "RETRY_S", -1000.0)
    ours._nodes.refused_until["old"] = 0.0  # after its time it is asked again
    ours.grow(100)
    ours.grow(100)
    assert view.where == ["a", "b", "old"]


def test_at_the_start_a_node_that_cannot_take_part_ends_the_run():
    with pytest.raises(ClusterError, match=r"node old .*has embedstore 0\.0\.9"):
        fleet(FakeView([cpu("a"), cpu("old")], faults={"old": "has embedstore 0.0.9"}))


def test_the_cluster_is_asked_for_what_is_wanted_and_slides_are_there_for():
    view = FakeView([cpu("head", 0)])
    ours = fleet(view, device="cuda", min_extractors=1, max_extractors=4, readers=6)
    assert not ours.grow(2) and view.asked == [(7, 1)] * 2
    ours.grow(100)
    assert view.asked == [(7, 1)] * 4
    view.here = [cpu("head", 0), gpu("a", 2)]
    view.rooms[0].found = view.rooms[1].found = "a"
    ours.grow(100)
    assert len(ours.grow(100)) == 2 and view.where == ["a", "a"]
    assert len(view.asked) == 2 and all(room.removed for room in view.rooms if room.found)
    ours.stop()
    assert not view.asked


def test_without_a_maximum_nothing_is_asked_beyond_the_minimum():
    view = FakeView([cpu("a")])
    ours = fleet(view, min_extractors=2)
    ours.grow(1)
    assert view.asked == [(fleets.ROOM_READERS + 1, 0)]
    view.here = [cpu("a"), cpu("b"), cpu("c")]
    ours.grow(100)
    ours.grow(100)
    assert view.where == ["a", "b", "c"] and not view.asked


def test_room_beside_a_group_is_used():
    view = FakeView([cpu("a", 8)])
    ours = fleet(view, max_extractors=2, readers=3)
    ours.grow(100)
    assert view.where == ["a"] and view.asked == [(4, 0)]
    view.rooms[0].found = "a"
    ours.grow(100)
    assert view.where == ["a", "a"] and view.started[1][1]["sharing"] == 2 and not view.asked


def test_a_run_on_gpus_that_lost_them_all_does_not_go_on_without():
    view = FakeView([gpu("a"), cpu("b")])
    ours = fleet(view)
    (group,) = ours.grow(100)
    view.here = [cpu("b")]
    ours.release(group)
    assert not ours.grow(100) and view.asked == [(fleets.ROOM_READERS + 1, 1)]


def test_a_cluster_that_does_not_answer_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    view = FakeView([cpu("a")])
    ours = fleet(view)
    (group,) = ours.grow(100)

    def silent() -> list[ClusterNode]:
        raise fleets.RayError("no answer")

    monkeypatch.setattr(view, "nodes", silent)
    assert not ours.grow(100) and ours.lives(group)


def test_a_node_whose_group_is_refused_gets_no_other():
    view = FakeView([cpu("a"), cpu("b")])
    ours = fleet(view)
    first, _ = ours.grow(100)
    ours.release(first, refuse=True)
    assert not ours.grow(100) and not ours.lives(first)


@pytest.mark.parametrize(
    "run", [{"min_extractors": 3, "max_extractors": 2}, {"extractors": 2, "max_extractors": 3}, {"max_extractors": 0}]
)
def test_numbers_that_contradict_each_other_are_refused(run: dict[str, int]):
    with pytest.raises(ConfigError, match="expected"):
        RunConfig(**run)  # type: ignore[arg-type]
