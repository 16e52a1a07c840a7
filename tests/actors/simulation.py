"""Workers that die at seeded moments, in one process and without waiting: the run cannot tell them from Ray's."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.worker_group import WorkerGroup
from embedstore.errors import WorkerDiedError


@dataclass(eq=False)
class ResultRef:
    """The result of a call, once there is one."""

    index: int = 0
    ended: bool = False
    value: Any = None
    error: BaseException | None = None


@dataclass(eq=False)
class _Queued:
    method: str
    args: tuple[Any, ...]
    refs: list[ResultRef]


@dataclass(eq=False)
class SimWorker:
    """An object behind a queue of calls; its process may die, and then what it knew is gone."""

    make: Callable[[], Any]
    name: str
    pool: "SimPool"
    queue: deque[_Queued] = field(default_factory=deque)
    object: Any = None
    calls: list[str] = field(default_factory=list)
    gone: bool = False

    def __post_init__(self) -> None:
        self.pool.workers.append(self)

    def call(self, method: str, *args: Any, returns: int = 1) -> Any:
        refs = [ResultRef(i) for i in range(returns)]
        self.queue.append(_Queued(method, args, refs))
        return refs[0] if returns == 1 else refs

    def step(self) -> None:
        queued = self.queue.popleft()
        self.calls.append(queued.method)
        if self.name in self.pool.lost and len(self.calls) >= self.pool.lost[self.name]:
            self.gone = True
        if self.gone or self.pool.dies(self, queued.method):
            if not self.gone and self.pool.random.random() < 0.5:  # it may have done the work before it died
                self._run(queued)
            self.object = None
            self._lose(queued)
            while self.queue:
                self._lose(self.queue.popleft())
            return
        try:
            result = self._run(queued)
        except Exception as error:
            for ref in queued.refs:
                ref.ended, ref.error = True, error
            return
        for ref, part in zip(queued.refs, [result] if len(queued.refs) == 1 else result, strict=True):
            ref.ended, ref.value = True, part

    def _run(self, queued: _Queued) -> Any:
        if self.object is None:
            self.object = self.make()
        args = [self.pool.get(arg) if isinstance(arg, ResultRef) else arg for arg in queued.args]
        return getattr(self.object, queued.method)(*args)

    @staticmethod
    def _lose(queued: _Queued) -> None:
        for ref in queued.refs:
            ref.ended, ref.error = True, WorkerDiedError("killed by the test")

    def is_gone(self) -> bool:
        return self.gone and self.name in self.pool.with_node

    def stop(self) -> None:
        self.queue.clear()


#: Calls before and after the scheduler's: a run in which a worker dies there ends with that error.
OUTSIDE = ("records", "present", "views_present", "close", "release")


class SimPool:
    """Carries out one call of a randomly chosen worker whenever the run waits.

    Args:
        seed: Of the order of events and of the deaths.
        death_rate: Probability that a worker dies in a call.
        spare: Names of workers that never die.
        lost: Workers that are gone with their node from their n-th call on, and do not come back.
    """

    def __init__(
        self, seed: int, death_rate: float = 0.0, spare: Iterable[str] = (), lost: Mapping[str, int] | None = None
    ) -> None:
        self.random = random.Random(seed)
        self.with_node: set[str] = set()  # workers whose node is gone, and known to be
        self.death_rate, self.spare, self.lost = death_rate, set(spare), lost or {}
        self.workers: list[SimWorker] = []
        self.deaths: list[tuple[str, str]] = []

    def dies(self, worker: SimWorker, method: str) -> bool:
        if worker.name in self.spare or method in OUTSIDE or self.random.random() >= self.death_rate:
            return False
        self.deaths.append((worker.name, method))
        return True

    def wait(self, refs: Iterable[ResultRef], timeout_s: float) -> list[ResultRef]:
        watched = list(refs)
        while True:
            done = [ref for ref in watched if ref.ended]
            if done:
                self.random.shuffle(done)
                return done[: self.random.randint(1, len(done))]
            busy = [worker for worker in self.workers if worker.queue]
            if not busy:
                return []
            self.random.choice(busy).step()

    def get(self, ref: ResultRef) -> Any:
        assert ref.ended, "asked for a result that is not there"
        if ref.error is not None:
            raise ref.error
        return ref.value


class SimFleet:
    """Nodes that come and go at seeded moments, each with one worker group.

    Args:
        start: Starts a group, by its number.
        losses: Number of nodes that are lost in the course of a run, soon after another.
        most: Largest number of groups at once.
    """

    comes_back = True

    def __init__(self, pool: SimPool, start: Callable[[int], WorkerGroup], *, losses: int, most: int = 3) -> None:
        self.pool, self._start, self.left, self.most = pool, start, losses, most
        self.fewest = 1
        self.started = 0
        self.groups: list[WorkerGroup] = []
        self.lost: list[WorkerGroup] = []
        self.released: list[WorkerGroup] = []
        self.refused: list[WorkerGroup] = []

    def grow(self, slides: int) -> list[WorkerGroup]:
        if self.groups and self.left and self.pool.random.random() < 0.1:
            self.left -= 1
            self._lose(self.pool.random.choice(self.groups))
        before = list(self.groups)
        while len(self.groups) < min(self.most, max(self.fewest, slides)) and (self.comes_back or not self.started):
            if self.groups and self.pool.random.random() < 0.8:
                break
            self.groups.append(self._start(self.started))
            self.started += 1
        return [group for group in self.groups if group not in before]

    def _lose(self, group: WorkerGroup) -> None:
        self.groups.remove(group)
        self.lost.append(group)
        for handle in group.handles:
            handle.worker.gone = True  # type: ignore[attr-defined]
            self.pool.with_node.add(handle.name)

    def lives(self, group: WorkerGroup) -> bool:
        return group in self.groups

    def release(self, group: WorkerGroup, *, refuse: bool = False) -> None:
        if group in self.groups:
            self.groups.remove(group)
            self.released.append(group)
        self.refused += [group] * refuse

    def stop(self) -> None: ...
