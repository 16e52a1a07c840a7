"""Ray: starting or joining a cluster, and workers as actors."""

import contextlib
import logging
import os
import re
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray._private.services import canonicalize_bootstrap_address
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    OwnerDiedError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.lean_ray import lean_ray
from actors.nodes import nodes
from embedstore.config import require_cluster_address
from embedstore.errors import ClusterError, ConfigError, EmbedStoreError, UnknownKeyError, WorkerDiedError
from embedstore.pandas_deferred import defer_pandas

log = logging.getLogger(__name__)

CONNECT_S = 5.0
#: How a client of HTTP/2 begins, as Ray's are; a server answers at once.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_DIED = (
    ActorDiedError, ActorUnavailableError, ActorUnschedulableError, NodeDiedError, OutOfMemoryError, WorkerCrashedError,
)  # fmt: skip


@contextlib.contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Join the Ray cluster at `address`, or start one on this machine for the duration of the run.

    Raises:
        ClusterError: there is no cluster at the address.
        ConfigError: the address is one of Ray's client.
    """
    if address is not None:
        require_cluster_address(address)
    if ray.is_initialized():  # by the caller, who also shuts it down
        yield
        return
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # 'local', or Ray would join whatever cluster runs on this machine.
        settings |= {"address": "local", "include_dashboard": False, "num_cpus": os.cpu_count()}
    else:
        _require_reachable(address)
        settings["address"] = address
    with contextlib.ExitStack() as stack:
        empty = stack.enter_context(tempfile.TemporaryDirectory(prefix="embedstore-"))
        if address is None:
            stack.enter_context(lean_ray())
        with _started_from(empty), _sigterm_handler_kept(), warnings.catch_warnings():
            # Lance warns of forks; Ray's are followed by exec at once, which is safe.
            warnings.filterwarnings("ignore", message=".*fork.*")
            try:
                ray.init(**settings)
            except Exception as error:  # of many kinds, RuntimeError and Exception itself among them
                raise _no_cluster(address, error) from error
        try:
            yield
        finally:
            ray.shutdown()


def _require_reachable(address: str) -> None:
    """Fail early: Ray itself tries for more than five minutes to reach a cluster that does not exist.

    'auto' and 'local' are looked up as Ray does: the address that it noted may be of a cluster that was killed.
    """
    try:
        found = canonicalize_bootstrap_address(address)
        if found is None:  # 'local'
            return
        require_cluster_address(found)
        host, _, port = found.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S) as connection:
            connection.sendall(_HELLO)
            if not connection.recv(1):
                raise ConnectionError(f"what listens at {found} closes the connection")
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str | None, error: Exception) -> ClusterError:
    said = next(iter(str(error).splitlines()), type(error).__name__).rstrip(". ")
    if address is None:
        return ClusterError(
            f"Ray could not be started on this machine: {said}; check that there is memory and space in /dev/shm and "
            "/tmp, or do without Ray: --in-process"
        )
    return ClusterError(
        f"no Ray cluster at {address}: {said}; start one with `ray start --head` (one that asks for a token "
        "needs RAY_AUTH_MODE=token here), or leave --address and RAY_ADDRESS out to run on this machine"
    )


@contextlib.contextmanager
def _started_from(empty: str) -> Iterator[None]:
    """Start Ray from an empty directory.

    Ray puts the driver's working directory first on its workers' `sys.path`. A user's folder `heads/` or `cli/` there
    would be imported instead of ours. The directory must outlive the workers, whose working directory it becomes:
    in a deleted one, torch's MKL ends the process ('Cannot load libtorch_cpu.so').
    """
    before = Path.cwd()
    os.chdir(empty)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _sigterm_handler_kept() -> Iterator[None]:
    """Restore a SIGTERM handler that Ray replaces as it starts; where there was none, Ray's own exits cleanly."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


class _Host:
    """The actor around a plain object, which is made at the first call, so that its errors reach the caller.

    The environment is set before anything of ours is imported. Ray's own `runtime_env` would do that too, but discards
    a prestarted process and keeps an agent busy: 1.5 CPU-seconds a worker.
    """

    def __init__(self, make: bytes, env: dict[str, str]) -> None:
        os.environ.update(env)
        defer_pandas()
        self._make = make
        self._object: Any = None

    def call(self, method: str, *args: Any) -> Any:
        if self._object is None:
            try:
                make = ray.cloudpickle.loads(self._make)
            except (AttributeError, ImportError) as error:
                raise _other_installation(socket.gethostname(), error) from None
            self._object = make()
        return getattr(self._object, method)(*args)


class RayWorker:
    """A plain object in a process of the cluster.

    Args:
        make: Makes the object in that process, also after each restart of the process.
        node_id: The node where it runs.
        elsewhere: It may run on another node where that one is gone.
        max_restarts: Largest number of restarts of the process.
        env: Environment variables of that process.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        *,
        name: str,
        num_cpus: float = 0,
        num_gpus: float = 0,
        node_id: str | None = None,
        elsewhere: bool = True,
        max_restarts: int = 0,
        env: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        options: dict[str, Any] = {
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "max_restarts": max_restarts,
            "max_task_retries": 0,  # the scheduler repeats lost calls: it knows which slide each belongs to
        }
        if node_id is not None:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node_id, soft=elsewhere)
        self._bound_to = None if elsewhere else node_id
        self._actor: Any = ray.remote(_Host).options(**options).remote(ray.cloudpickle.dumps(make), env or {})

    def call(self, method: str, *args: Any, returns: int = 1) -> Any:
        return self._actor.call.options(num_returns=returns).remote(method, *args)

    def is_gone(self) -> bool:
        if self._bound_to is None:
            return False
        try:
            return all(node.node_id != self._bound_to for node in nodes())
        except RayError:  # the cluster itself does not answer
            return False

    def stop(self) -> None:
        with contextlib.suppress(RayError):  # it may be gone with its node
            ray.kill(self._actor)


class RayPool:
    """Actors of the cluster."""

    def wait(self, refs: Iterable[ray.ObjectRef], timeout_s: float) -> list[ray.ObjectRef]:
        refs = list(refs)
        if not refs:
            return []
        first, _ = ray.wait(refs, num_returns=1, timeout=timeout_s, fetch_local=False)
        if not first:
            return []
        done, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
        return done

    def get(self, ref: ray.ObjectRef) -> Any:
        try:
            return ray.get(ref)
        except _DIED as error:
            raise _died(error) from error
        except (ObjectLostError, OwnerDiedError) as error:
            raise UnknownKeyError(f"a result was lost with its node: {error}") from error
        except RayTaskError as error:
            cause = error.cause
            if isinstance(cause, _DIED):
                raise _died(cause) from error
            if isinstance(cause, (ObjectLostError, OwnerDiedError)):
                raise UnknownKeyError(f"an argument was lost with its node: {cause}") from error
            if isinstance(cause, EmbedStoreError):
                raise cause from None  # its message says it all; Ray's would be three tracebacks more
            raise cause from error


def _died(error: RayError) -> EmbedStoreError:
    """A worker's death; where its node lacks embedstore, that none will ever live there."""
    text = re.sub(r"\x1b\[\d+m|\\x1b\[\d+m", "", str(error))
    if "failed to import on the worker" in text:
        node = re.search(r"\bip=([^,)\s]+)", text)
        return _other_installation(node[1] if node else "one of its nodes", text.strip().rpartition("\n")[2])
    return WorkerDiedError(text)


def _other_installation(node: str, said: object) -> ClusterError:
    return ClusterError(
        f"the Python of the cluster's node {node} cannot load this embedstore: {str(said)[-200:]}; expected the same "
        "versions of Python and embedstore on every node; install it there, or leave --address out to run here"
    )


def driver_node() -> str:
    """Id of the node where this process is."""
    return ray.get_runtime_context().get_node_id()
