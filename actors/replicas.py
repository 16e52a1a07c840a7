"""What a service calls on a cluster: objects that stay there, and one long call that reports its progress."""

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import ray

from actors.cluster import RayPool, RayWorker
from actors.nodes import nodes
from embedstore.errors import WorkerDiedError
from embedstore.progress import OnProgress, Progress

T = TypeVar("T")

#: A replica that dies is made again so often.
MOST_RESTARTS = 100


class Replicas:
    """The same object in several processes of a cluster: one for each GPU, or one where there is none.

    Args:
        make: Makes the object; run in each process, at the first call.
        name: For people.
    """

    def __init__(self, make: Callable[[], Any], *, name: str):
        gpus = gpu_count()
        self._workers = [
            RayWorker(
                make, name=f"{name}-{number}", num_gpus=min(gpus, 1), num_cpus=0 if gpus else 1,
                max_restarts=MOST_RESTARTS,
            )
            for number in range(max(gpus, 1))
        ]  # fmt: skip
        self._turns = itertools.count()

    def __len__(self) -> int:
        return len(self._workers)

    def call(self, method: str, *args: Any) -> Any:
        """The result of a method, of the replica whose turn it is; of the next one, if that one dies.

        Raises:
            WorkerDiedError: two replicas died of the call.
        """
        try:
            return self._call(method, args)
        except WorkerDiedError:
            return self._call(method, args)

    def _call(self, method: str, args: tuple[Any, ...]) -> Any:
        worker = self._workers[next(self._turns) % len(self._workers)]
        return RayPool().get(worker.call(method, *args))

    def stop(self) -> None:
        for worker in self._workers:
            with contextlib.suppress(Exception):  # it may be gone with its node
                worker.stop()


def call_with_progress(function: Callable[..., T], *args: Any, on_progress: OnProgress) -> T:
    """Call a function once on the cluster this process has joined, on a GPU where there is one.

    The call ends when this process does.

    Args:
        function: Of a module that every node has; called with `args` and `on_progress`.
        on_progress: Called here with what the function reports there.
    Raises:
        WorkerDiedError: the process or the node of the call died.
        ClusterError: the node cannot load this embedstore.
    """
    gpus = min(gpu_count(), 1)
    task: Any = ray.remote(_reported).options(num_returns="streaming", num_gpus=gpus, num_cpus=1, max_retries=0)
    pool, last = RayPool(), None
    for ref in task.remote(function, args):
        last = pool.get(ref)
        if isinstance(last, Progress):
            on_progress(last)
    assert isinstance(last, tuple)
    result: T = last[0]
    return result


def _reported(function: Callable[..., T], args: tuple[Any, ...]) -> Iterator[Progress | tuple[T]]:
    """Progress as it comes, and at the end the result alone in a tuple."""
    reports: queue.SimpleQueue[Progress | tuple[T] | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            reports.put((function(*args, on_progress=reports.put),))
        except BaseException as error:
            reports.put(error)

    threading.Thread(target=run, daemon=True).start()
    while True:
        report = reports.get()
        if isinstance(report, BaseException):
            raise report
        yield report
        if isinstance(report, tuple):
            return


def gpu_count() -> int:
    """GPUs of the cluster that this process has joined."""
    return sum(node.gpus for node in nodes())
