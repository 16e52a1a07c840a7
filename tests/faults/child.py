"""Commands of embedstore in children of a process that has imported everything: a start takes 0.1 s instead of 3."""

import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.conftest import REPOSITORY

#: No longer command is run here; one that takes so long hangs.
LONGEST_S = 400.0
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.preloaded"])


class Child:
    """A command under way.

    Args:
        args: What follows `embedstore`.
        log: The file that takes its stdout and stderr.
        environment: Added to that of this process.
        before: Called in the child, to arrange a fault; it must be importable, as functions of modules are.
    """

    def __init__(
        self, args: Sequence[object], *, log: Path, environment: Mapping[str, str] | None = None,
        before: Callable[[], object] | None = None,
    ) -> None:  # fmt: skip
        self.args, self._log = [str(arg) for arg in args], log
        present = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        self._process: BaseProcess = _CONTEXT.Process(  # type: ignore[attr-defined]
            target=_run, args=(self.args, str(log), present | dict(environment or {}), before)
        )
        _start_server()
        self._process.start()
        self.began = time.monotonic()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.exitcode is None

    def said(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def send(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    def until(self, happened: Callable[[], object], *, within_s: float = LONGEST_S) -> bool:
        """Wait until something has happened; False where the command ended first."""
        deadline = time.monotonic() + within_s
        while not happened():
            if not self.running:
                return False
            assert time.monotonic() < deadline, f"what was waited for did not happen: {self.said()[-2000:]}"
            time.sleep(0.005)
        return True

    def end(self, *, within_s: float = LONGEST_S) -> int:
        """Its exit code; negative for the signal that ended it."""
        self._process.join(within_s)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise AssertionError(f"{self.args[0]} did not end within {within_s:.0f} s: {self.said()[-2000:]}")
        return self._process.exitcode


def run(args: Sequence[object], *, log: Path, before: Callable[[], object] | None = None) -> tuple[int, str]:
    """A command from its start to its end: its exit code, and all that it said."""
    child = Child(args, log=log, before=before)
    return child.end(), child.said()


def _start_server() -> None:
    """Start the process that children are forked from, with its own environment and without words about forks."""
    from multiprocessing import forkserver

    own = {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    before, folder = {name: os.environ.get(name) for name in own}, Path.cwd()
    os.environ.update(own)
    os.chdir(REPOSITORY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            forkserver.ensure_running()
    finally:
        os.chdir(folder)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _run(args: list[str], log: str, environment: dict[str, str], before: Callable[[], object] | None) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(environment)
    from cli.main import main

    if before is not None:
        before()
    sys.argv = ["embedstore", *args]
    main()
