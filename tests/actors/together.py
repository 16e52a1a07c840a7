"""Several drivers on one store, in threads that take turns at seeded moments, and are killed at others.

A turn may change hands before and after everything that a driver writes, and whenever it waits. So drivers meet in the
middle of each other's commits, leases and ledger rows, and are killed there.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import lance
import pytest

from actors.ingest_workers import IngestWorkers
from embedstore.store.lease import Lease
from embedstore.store.table import Table

from .scene import DriverKilled
from .simulation import SimPool


class Turns:
    """Threads of which one runs at a time.

    Args:
        seed: Of whose turn it is, and of the kills.
        kill_rate: Probability that a driver is killed where a turn may change hands.
        kills: Largest number of kills.
    """

    def __init__(self, seed: int, *, kill_rate: float = 0.0, kills: int = 0) -> None:
        self.random = random.Random(seed)
        self.kill_rate, self.kills = kill_rate, kills
        self.killed: list[str] = []
        self._changed = threading.Condition()
        self._waiting: dict[int, str] = {}
        self._turn = 0
        self._dying: set[int] = set()

    def point(self, where: str) -> None:
        """Let another driver go on, or be killed; does nothing in threads that are no driver's."""
        me = threading.get_ident()
        if me not in self._waiting:
            return
        if me in self._dying:  # what a killed process does no more
            raise DriverKilled(where)
        if len(self.killed) < self.kills and self.random.random() < self.kill_rate:
            self.killed.append(where)
            self._dying.add(me)
            raise DriverKilled(where)
        with self._changed:
            self._turn = self.random.choice(sorted(self._waiting))
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._turn == me, timeout=120)

    def run(self, drivers: dict[str, Callable[[], None]]) -> None:
        """Run functions to their ends; one that is killed is called again."""
        errors: list[BaseException] = []
        started = threading.Barrier(len(drivers) + 1)

        def go(name: str, driver: Callable[[], None]) -> None:
            me = threading.get_ident()
            self._waiting[me] = name
            started.wait()
            with self._changed:
                self._changed.wait_for(lambda: self._turn == me, timeout=120)
            try:
                while True:
                    try:
                        driver()
                        return
                    except DriverKilled:
                        self._dying.discard(me)
            except BaseException as error:
                errors.append(error)
            finally:
                with self._changed:
                    del self._waiting[me]
                    if self._waiting:
                        self._turn = self.random.choice(sorted(self._waiting))
                    self._changed.notify_all()

        threads = [threading.Thread(target=go, args=each) for each in drivers.items()]
        for thread in threads:
            thread.start()
        started.wait()
        with self._changed:
            self._turn = self.random.choice(sorted(self._waiting))
            self._changed.notify_all()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the points: around all that is written, and where drivers wait."""

        class Time:
            monotonic = staticmethod(time.monotonic)
            time = staticmethod(time.time)
            sleep = staticmethod(lambda seconds: self.point("sleep"))

        monkeypatch.setattr("embedstore.store.lease.time", Time)
        monkeypatch.setattr("embedstore.store.lease.TIDY_EVERY", 8)
        monkeypatch.setattr("embedstore.store.lease.QUEUE_AFTER_S", 0.0)
        monkeypatch.setattr("embedstore.store.lease.TURN_S", 600.0)  # which pass on a slow machine
        monkeypatch.setattr("actors.work_share.LOOK_S", 0.0)
        for owner, name in (
            (Table, "revise"), (Lease, "_write"), (Lease, "_wait_in"), (SimPool, "wait"), (IngestWorkers, "finish"),
            (Table, "tidy"),
        ):  # fmt: skip
            monkeypatch.setattr(owner, name, self._around(getattr(owner, name), name))
        commit = lance.LanceDataset.commit
        monkeypatch.setattr(lance.LanceDataset, "commit", staticmethod(self._around(commit, "commit")))

    def _around(self, function: Callable[..., Any], where: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.point(f"before {where}")
            result = function(*args, **kwargs)
            self.point(f"after {where}")
            return result

        return call
