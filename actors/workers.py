"""Workers: plain objects whose methods are called from another thread or process.

The scheduler knows workers only by these protocols, so it is written and tested once: for threads of this process,
for Ray's actors (`cluster.py`) and for the simulation of the tests.
"""

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_futures
from typing import Any, Protocol

#: The result of a call, which may not have ended: a future of this process, or Ray's ObjectRef; `Pool.get` reads it.
ResultRef = Any


class Worker(Protocol):
    """Runs calls of its object's methods one at a time, in the order in which they were made."""

    name: str

    def call(self, method: str, *args: Any, returns: int = 1) -> Any:
        """Start a call; arguments may be references to results of other calls.

        Returns:
            A reference to the result, or a list of as many as it `returns`.
        """
        ...

    def is_gone(self) -> bool:
        """Whether it will never come back, as its node is gone; asked when a call was lost."""
        ...

    def stop(self) -> None: ...


class Pool(Protocol):
    """Waits for and reads the results of the workers' calls."""

    def wait(self, refs: Iterable[ResultRef], timeout_s: float) -> list[ResultRef]:
        """The results whose calls have ended; at least one, unless the time ran out."""
        ...

    def get(self, ref: ResultRef) -> Any:
        """The result of an ended call, or its error; WorkerDiedError when its worker died."""
        ...


class LocalWorker:
    """An object on a thread of this process."""

    _numbers = itertools.count()

    def __init__(self, make: Callable[[], Any], *, name: str) -> None:
        self.name = name
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-{next(self._numbers)}")
        self._make = make
        self._object: Any = None

    def call(self, method: str, *args: Any, returns: int = 1) -> Any:
        futures: list[Future[Any]] = [Future() for _ in range(returns)]

        def run() -> None:
            try:
                if self._object is None:
                    self._object = self._make()
                ready = [arg.result() if isinstance(arg, Future) else arg for arg in args]
                result = getattr(self._object, method)(*ready)
            except BaseException as error:
                for future in futures:
                    future.set_exception(error)
            else:
                for future, part in zip(futures, [result] if returns == 1 else result, strict=True):
                    future.set_result(part)

        self._threads.submit(run)
        return futures[0] if returns == 1 else futures

    def is_gone(self) -> bool:
        return False  # with its thread goes this process

    def stop(self) -> None:
        if abandon := getattr(self._object, "abandon", None):  # what may wait for other processes
            abandon()
        self._threads.shutdown(wait=True, cancel_futures=True)


class LocalPool:
    """Threads of this process."""

    def wait(self, refs: Iterable[Future[Any]], timeout_s: float) -> list[Future[Any]]:
        done, _ = wait_futures(list(refs), timeout=timeout_s, return_when=FIRST_COMPLETED)
        return list(done)

    def get(self, ref: Future[Any]) -> Any:
        return ref.result(timeout=0)
