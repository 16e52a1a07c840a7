"""The worker groups of a run on Ray: where they are put, and how their number follows the cluster.

Each GPU has a group, or each node where extractors use none. A node that joins gets groups once it was inspected. Where
a run may have more than there is room for, it asks for the resources of further groups, which is what an autoscaler
sees; where they are found, a group is put. Every worker states CPUs: nodes without any in use are taken away.
"""

import contextlib
import functools
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ray.exceptions import RayError
from ray.util import placement_group, placement_group_table, remove_placement_group

from actors.cluster import RayWorker
from actors.dispatch import WorkerHandle
from actors.nodes import ClusterNode, Inspection, NodeReport, RunInputs, nodes, require_nodes
from actors.worker_group import WorkerFactories, WorkerGroup, readers_beside
from embedstore.config import ExecutionConfig, RunConfig

log = logging.getLogger(__name__)

#: Readers of a group for which a node is to be found, where their number is not given.
ROOM_READERS = 3
#: A node that cannot take part is asked again after this time, seconds.
RETRY_S = 300.0


def start_groups(factories: WorkerFactories, run: RunConfig, execution: ExecutionConfig) -> list[WorkerGroup]:
    """The groups of a run on this machine alone, which stay until its end."""
    here = nodes()
    on_gpu = uses_gpus(execution, here)
    places = [node for node in here for _ in range(capacity(node, on_gpu=on_gpu))]
    number = run.extractors or min(max(len(places), run.min_extractors), run.max_extractors or len(places))
    places = [places[i % len(places)] for i in range(number)]
    return [
        start_group(factories, run, node, number=number, sharing=places.count(node), on_gpu=on_gpu, moves=True)
        for number, node in enumerate(places)
    ]


def uses_gpus(execution: ExecutionConfig, among: Sequence[ClusterNode]) -> bool:
    """Whether extractors run on GPUs: where there are some, or where the user says so."""
    return execution.device.startswith("cuda") or (execution.device != "cpu" and any(node.gpus for node in among))


def capacity(node: ClusterNode, *, on_gpu: bool) -> int:
    """Number of worker groups for a node."""
    return node.gpus if on_gpu else min(1, node.cpus)


def start_group(
    factories: WorkerFactories,
    run: RunConfig,
    node: ClusterNode,
    *,
    number: int,
    sharing: int,
    on_gpu: bool,
    readers: int | None = None,
    moves: bool = False,
) -> WorkerGroup:
    """Start the workers of a group.

    Args:
        sharing: Number of groups that share the node.
        readers: Number of readers; as many as the node's cores allow when None.
        moves: Its workers may be started elsewhere after a death; else it is gone with its node, and its readers get
            work when they have started.
    """
    cores = max(1, node.cpus // sharing)
    readers = readers or run.readers or readers_beside(cores)
    # More workers than cores share them.
    cpus = 1 if readers + 1 <= cores else int(1000 * cores / (readers + 1)) / 1000

    def start(make: Callable[[], Any], name: str, **options: Any) -> RayWorker:
        return RayWorker(
            make, name=name, num_cpus=cpus, node_id=node.node_id, elsewhere=moves, max_restarts=run.max_restarts,
            **options,
        )  # fmt: skip

    return WorkerGroup(
        extractor=WorkerHandle(
            worker=start(
                functools.partial(factories.extractor, threads=None if on_gpu else cores),
                f"extractor-{number}",
                num_gpus=min(1.0, node.gpus / sharing) if on_gpu else 0,
                env={"LANCE_CPU_THREADS": "2"},
            )
        ),
        readers=[
            WorkerHandle(worker=start(factories.reader, f"reader-{number}-{i}"), up=moves, down_since=time.monotonic())
            for i in range(readers)
        ],
    )


class Room(Protocol):
    """The resources of a group that the cluster is asked for."""

    def node_id(self) -> str | None:
        """Where they were found."""
        ...

    def remove(self) -> None: ...


class RayRoom:
    """A placement group, which goes with the process that asked."""

    def __init__(self, *, cpus: int, gpus: int) -> None:
        self._group = placement_group([{"CPU": cpus} | ({"GPU": gpus} if gpus else {})], strategy="STRICT_PACK")

    def node_id(self) -> str | None:
        found: dict[str, Any] = placement_group_table(self._group)
        return found["bundles_to_node_id"][0] if found.get("state") == "CREATED" else None

    def remove(self) -> None:
        with contextlib.suppress(RayError):
            remove_placement_group(self._group)


class View(Protocol):
    """A cluster as a fleet sees it."""

    def nodes(self) -> list[ClusterNode]: ...

    def require(self, which: Sequence[ClusterNode]) -> list[str]:
        """The ids of nodes that can take part; raises if one of them cannot."""
        ...

    def inspect(self, node: ClusterNode) -> "Inspected": ...

    def start(self, node: ClusterNode, **how: Any) -> WorkerGroup: ...

    def room(self, *, cpus: int, gpus: int) -> Room: ...


class Inspected(Protocol):
    """What `Inspection` is."""

    @property
    def ended(self) -> bool: ...

    def report(self) -> NodeReport | None: ...


@dataclass(frozen=True)
class RayView:
    """The cluster that this process has joined."""

    factories: WorkerFactories
    run: RunConfig

    @property
    def _inputs(self) -> RunInputs:
        return RunInputs(store_uri=self.factories.store_uri, files=self.factories.files)

    def nodes(self) -> list[ClusterNode]:
        return nodes()

    def require(self, which: Sequence[ClusterNode]) -> list[str]:
        return require_nodes(which, self._inputs)

    def inspect(self, node: ClusterNode) -> Inspection:
        return Inspection(node, self._inputs)

    def start(self, node: ClusterNode, **how: Any) -> WorkerGroup:
        return start_group(self.factories, self.run, node, **how)

    def room(self, *, cpus: int, gpus: int) -> RayRoom:
        return RayRoom(cpus=cpus, gpus=gpus)


@dataclass(eq=False)
class _Placed:
    group: WorkerGroup
    node_id: str


@dataclass(eq=False)
class _Nodes:
    """What is known of the cluster's nodes, by id."""

    live: dict[str, ClusterNode] = field(default_factory=dict)
    good: set[str] = field(default_factory=set)
    asked: dict[str, Inspected] = field(default_factory=dict)
    refused_until: dict[str, float] = field(default_factory=dict)


class ClusterFleet:
    """The worker groups of a run on a cluster.

    Raises:
        ClusterError: a node has no embedstore, or another version.
        ConfigError: a node does not reach the store or the slides.
    """

    def __init__(
        self, factories: WorkerFactories, run: RunConfig, execution: ExecutionConfig, view: View | None = None
    ) -> None:
        self._view = view if view is not None else RayView(factories, run)
        self._run, self._execution = run, execution
        self.fewest = run.extractors or run.min_extractors
        self._most = run.extractors or run.max_extractors
        self._placed: list[_Placed] = []
        self._rooms: list[Room] = []
        self._numbers = itertools.count()
        self._begun = False  # a group was started
        self._on_gpu = uses_gpus(execution, ())
        self._nodes = _Nodes()
        self._look()
        self._nodes.good.update(self._view.require(list(self._nodes.live.values())))

    def lives(self, group: WorkerGroup) -> bool:
        return any(placed.group is group and placed.node_id in self._nodes.live for placed in self._placed)

    def grow(self, slides: int) -> list[WorkerGroup]:
        self._look()
        self._inspect()
        now = time.monotonic()
        usable = [
            node
            for node_id, node in self._nodes.live.items()
            if node_id in self._nodes.good and self._nodes.refused_until.get(node_id, 0.0) <= now
        ]
        limit = max(self.fewest, slides)
        limit = limit if self._most is None else min(limit, self._most)
        before = len(self._placed)
        if not self._begun:  # the groups of a run are of one kind
            self._on_gpu = uses_gpus(self._execution, list(self._nodes.live.values()))
        places = self._places(usable)[: max(0, limit - len(self._placed))]
        for node, sharing in places:
            self._start(node, sharing=sharing)
        self._use_rooms(usable, limit, filled={node.node_id for node, _ in places})
        self._ask_for_rooms((self.fewest if self._most is None else limit) - len(self._placed))
        return [placed.group for placed in self._placed[before:]]

    def release(self, group: WorkerGroup, *, refuse: bool = False) -> None:
        for placed in self._placed:
            if placed.group is group:
                self._placed.remove(placed)
                if refuse:
                    self._nodes.refused_until[placed.node_id] = time.monotonic() + RETRY_S
                break
        for handle in group.handles:
            handle.worker.stop()

    def stop(self) -> None:
        self._ask_for_rooms(0)

    # -- nodes ------------------------------------------------------------------------------

    def _look(self) -> None:
        """See which nodes are there; one that has neither CPUs nor GPUs is not for workers."""
        known = self._nodes
        try:
            here = self._view.nodes()
        except RayError as error:
            log.info("the cluster does not say which nodes it has: %s", error)
            return
        known.live = {node.node_id: node for node in here if node.cpus or node.gpus}
        known.good &= known.live.keys()

    def _inspect(self) -> None:
        """Ask nodes that joined, and take note of their answers."""
        known, now = self._nodes, time.monotonic()
        for node_id, inspection in list(known.asked.items()):
            if not inspection.ended:
                continue
            del known.asked[node_id]
            report = inspection.report()
            if report is None or node_id not in known.live:
                continue
            if report.error is None:
                log.info("%s joined", report.name)
                known.good.add(node_id)
            else:
                if node_id not in known.refused_until:
                    log.warning("going on without a node that joined: %s", report.error)
                known.refused_until[node_id] = now + RETRY_S
        for node_id, node in known.live.items():
            if node_id not in known.good | known.asked.keys() and known.refused_until.get(node_id, 0.0) <= now:
                known.asked[node_id] = self._view.inspect(node)

    # -- groups -----------------------------------------------------------------------------

    def _places(self, usable: Sequence[ClusterNode]) -> list[tuple[ClusterNode, int]]:
        """Nodes with room for further groups, and how many share each: first one on every node, then the second."""
        natural = {node: capacity(node, on_gpu=self._on_gpu) for node in usable}
        ranked = sorted(((rank, i) for i, node in enumerate(usable) for rank in range(natural[node])))
        every = [usable[i] for _, i in ranked]
        if self._run.extractors is not None and not self._begun and every:  # so many, even if they share GPUs or cores
            every = [every[i % len(every)] for i in range(self._run.extractors)]
        sharing = {node: max(natural[node], number) for node, number in Counter(every).items()}
        taken = Counter(placed.node_id for placed in self._placed)
        free = []
        for node in every:
            if taken[node.node_id] > 0:
                taken[node.node_id] -= 1
            else:
                free.append((node, sharing[node]))
        return free

    def _start(self, node: ClusterNode, *, sharing: int, readers: int | None = None) -> None:
        group = self._view.start(
            node, number=next(self._numbers), sharing=sharing, on_gpu=self._on_gpu, readers=readers
        )
        self._placed.append(_Placed(group, node.node_id))
        self._begun = True

    # -- room for more ----------------------------------------------------------------------

    @property
    def _room_readers(self) -> int:
        return self._run.readers or ROOM_READERS

    def _use_rooms(self, usable: Sequence[ClusterNode], limit: int, *, filled: set[str]) -> None:
        """Put groups where room was found beside those that a node has anyway; it is free again where those came."""
        where = {node.node_id: node for node in usable}
        for room in list(self._rooms):
            node = where.get(room.node_id() or "")
            if node is None or len(self._placed) >= limit:
                continue
            self._rooms.remove(room)
            room.remove()
            if node.node_id not in filled:
                fit = node.cpus // (self._room_readers + 1)
                sharing = max(1, min(fit, node.gpus) if self._on_gpu else fit)
                self._start(node, sharing=sharing, readers=self._room_readers)

    def _ask_for_rooms(self, number: int) -> None:
        while len(self._rooms) > max(0, number):
            self._rooms.pop().remove()
        while len(self._rooms) < number:
            self._rooms.append(self._view.room(cpus=self._room_readers + 1, gpus=int(self._on_gpu)))
