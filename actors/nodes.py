"""The nodes of a cluster: what each offers, and whether it has what a run needs: embedstore, store and slides."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, NodeDiedError, RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from embedstore.errors import ClusterError, ConfigError
from embedstore.uris import is_uri
from embedstore.version import __version__

#: A node that has not answered after this time, seconds, is at fault: its disk or a file server hangs.
ANSWER_S = 60.0
#: A new file is looked for so long, seconds: a file server may show it late.
MARKER_S = 5.0
#: So many input files are looked for on each node, spread over all of them.
SAMPLE = 20


@dataclass(frozen=True, kw_only=True)
class ClusterNode:
    """A live node of the cluster, and how many CPUs and GPUs it offers.

    Attributes:
        host: Its address, for people.
    """

    node_id: str
    host: str
    cpus: int
    gpus: int


def nodes() -> list[ClusterNode]:
    """Live nodes, in a stable order."""
    live = [(node["NodeID"], node["NodeManagerAddress"], node["Resources"]) for node in ray.nodes() if node["Alive"]]
    return [
        ClusterNode(node_id=node_id, host=host, cpus=int(given.get("CPU", 0)), gpus=int(given.get("GPU", 0)))
        for node_id, host, given in sorted(live, key=lambda node: node[0])
    ]


@dataclass(frozen=True, kw_only=True)
class RunInputs:
    """What every node of a run must reach.

    Attributes:
        store_uri: The store; none that is to be looked for when None.
        files: Absolute paths of slides and weights, and an address of each bucket.
    """

    store_uri: str | None = None
    files: tuple[str, ...] = ()

    def sample(self) -> tuple[str, ...]:
        """A few of the files, spread over all of them."""
        step = max(1, -(-len(self.files) // SAMPLE))
        return self.files[::step]


@dataclass(frozen=True, kw_only=True)
class NodeReport:
    """What a node said of itself.

    Attributes:
        python: Its version of Python; None if it said nothing.
        version: Its version of embedstore; None where there is none.
        fault: Why no worker of this embedstore can run there; None if one can.
        store_fault: Why it cannot write to the store; None if it can.
        files: Number of input files that were looked for there.
        unseen: Those of them that it cannot read.
    """

    node: ClusterNode
    python: str | None = None
    version: str | None = None
    fault: str | None = None
    store_fault: str | None = None
    files: int = 0
    unseen: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"node {self.node.host} ({self.node.node_id[:8]})"

    @property
    def error(self) -> ClusterError | ConfigError | None:
        """Why this node cannot take part, and what to do; None if it can."""
        if self.fault is not None and self.python is None:
            return ClusterError(
                f"{self.name} of the cluster {self.fault}; look at its memory, its disks and file servers, and at "
                "`ray status`"
            )
        if self.fault is not None:
            return ClusterError(
                f"{self.name} of the cluster {self.fault}; this is embedstore {__version__}; expected the same "
                "versions of Python and embedstore on every node: start all from one container image, or install "
                "this wheel there"
            )
        if self.store_fault is not None:
            return ConfigError(
                f"{self.name} of the cluster {self.store_fault}; expected a store that every node reaches: a URI such "
                "as s3://bucket/store, or a folder of a file server that all nodes have under one path"
            )
        if self.unseen:
            return ConfigError(
                f"{self.name} of the cluster cannot read {len(self.unseen)} of {self.files} files that were tried: "
                f"{', '.join(self.unseen[:3])}; expected slides and weights that every node reads under "
                "the same paths, and for addresses the credentials in the environment of every node"
            )
        return None


def inspect_nodes(which: Sequence[ClusterNode], inputs: RunInputs, *, open_store: bool = False) -> list[NodeReport]:
    """Ask nodes at once whether they can take part in a run; those that are gone meanwhile are left out.

    A store in a folder of this machine is proven to be shared by a new file in it, which the nodes look for.

    Args:
        open_store: Open the store there too, where it is a folder; one behind a URI is opened in any case.
    """
    with marker(inputs.store_uri) as mark:
        asked = [(node, ask(node, inputs, mark, open_store=open_store)) for node in which]
        ray.wait([ref for _, ref in asked], num_returns=len(asked), timeout=ANSWER_S) if asked else None
        reports = [answer(node, ref) for node, ref in asked]
    return [report for report in reports if report is not None]


def ask(node: ClusterNode, inputs: RunInputs, mark: str | None, *, open_store: bool = False) -> ray.ObjectRef:
    """Start the inspection of a node; `answer` takes the result."""
    # A process that has opened a store is not used again: Lance's threads are counted as it starts.
    remote: Any = ray.remote(max_calls=int(open_store or mark is None))
    task = remote(_inspection()).options(
        num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)
    )
    return task.remote(__version__, inputs.store_uri, mark, inputs.sample(), open_store)


def answer(node: ClusterNode, ref: ray.ObjectRef) -> NodeReport | None:
    """The report of a node; None if it is gone."""
    try:
        return NodeReport(node=node, **ray.get(ref, timeout=0))
    except GetTimeoutError:
        ray.cancel(ref, force=True)
        return NodeReport(node=node, fault=f"did not answer within {ANSWER_S:.0f} s")
    except (NodeDiedError, TaskUnschedulableError):
        return None
    except RayError as error:
        if node.node_id not in {each.node_id for each in nodes()}:
            return None
        said = str(error).strip().rpartition("\n")[2]
        return NodeReport(node=node, fault=f"cannot run a task: {said[-200:]}")


def require_nodes(which: Sequence[ClusterNode], inputs: RunInputs) -> list[str]:
    """Raise why one of the nodes cannot take part in a run.

    Returns:
        Their ids.
    """
    reports = inspect_nodes(which, inputs)
    for report in reports:
        if report.error is not None:
            raise report.error
    return [report.node.node_id for report in reports]


class Inspection:
    """A node that joined in mid-run is asked whether it can take part."""

    def __init__(self, node: ClusterNode, inputs: RunInputs) -> None:
        self._node, self._until = node, time.monotonic() + ANSWER_S
        self._marked = contextlib.ExitStack()
        self._ref = ask(node, inputs, self._marked.enter_context(marker(inputs.store_uri)))

    @property
    def ended(self) -> bool:
        return bool(ray.wait([self._ref], timeout=0)[0]) or time.monotonic() > self._until

    def report(self) -> NodeReport | None:
        """The result, once it has ended; None if the node is gone."""
        self._marked.close()
        return answer(self._node, self._ref)


@contextlib.contextmanager
def marker(store_uri: str | None) -> Iterator[str | None]:
    """A new file in the folder of a store, for the time of the block; None where the store is behind a URI."""
    from embedstore.store.location import local_path  # with Lance, which the nodes need not load for an inspection

    folder = None if store_uri is None else local_path(store_uri)
    if folder is None or not folder.is_dir():
        yield None
        return
    path = folder / f".shared-{secrets.token_hex(8)}"
    path.touch()
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


def _inspection() -> Callable[..., dict[str, Any]]:
    """A function that Ray sends whole, as it does with inner ones: it runs on nodes that have no embedstore."""

    def inspect(version: str, *args: Any) -> dict[str, Any]:
        import platform

        python = platform.python_version()
        try:
            from embedstore.version import __version__ as found
        except ImportError as error:
            return {"python": python, "fault": f"has no embedstore (Python {python}: {error})"}
        if found != version:
            return {"python": python, "version": found, "fault": f"has embedstore {found}"}
        try:
            from actors.nodes import inspect_here
        except ImportError as error:
            return {"python": python, "version": found, "fault": f"cannot load its embedstore: {error}"}
        return {"python": python, "version": found, **inspect_here(*args)}

    return inspect


def inspect_here(store_uri: str | None, mark: str | None, files: Sequence[str], open_store: bool) -> dict[str, Any]:
    """Whether the machine of this process reaches a store and input files; see `NodeReport`."""
    from embedstore.slides.remote import reaches

    unseen = tuple(path for path in files if not (reaches(path) if is_uri(path) else os.access(path, os.R_OK)))
    fault = None if mark is None else _marker_fault(Path(mark))
    if fault is None and store_uri is not None and (open_store or mark is None):
        fault = _open_fault(store_uri)
    return {"store_fault": fault, "files": len(files), "unseen": unseen}


def _marker_fault(mark: Path) -> str | None:
    deadline = time.monotonic() + MARKER_S
    while not mark.exists():
        if time.monotonic() > deadline:
            return f"does not see the folder {mark.parent} of this machine"
        time.sleep(0.2)
    return None if os.access(mark.parent, os.W_OK) else f"may not write into {mark.parent}"


def _open_fault(uri: str) -> str | None:
    from embedstore.access_errors import access_error
    from embedstore.errors import EmbedStoreError
    from embedstore.store import Store

    try:
        Store.open(uri).collection_names()
    except (EmbedStoreError, OSError) as error:
        return f"cannot open the store: {access_error(error) or error}"
    return None
