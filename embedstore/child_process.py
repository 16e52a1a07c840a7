"""A process in which a C library reads what others wrote; `child_server.py` is its other side.

A damaged file can crash such a library, keep it busy for ever, or make it fill the memory. In a process of its own it
costs that file, and the run goes on.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, TypeVar

import embedstore.errors
from embedstore.errors import ProcessEndedError, RunError

#: Processes of a kind that wait for their next file: a start takes 0.3 to 0.5 s.
MOST_IDLE = 4
#: A process that closes its connection has this long to end by itself, seconds: its exit code tells what happened.
ENDING_S = 20.0
#: Libraries start a thread a core otherwise, with address space for each.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ChildProcess:
    """A process that answers one request at a time.

    Args:
        code: What it runs. In `sys.argv` are the connection's descriptor and those that it inherits besides, then the
            entries of `sys.path`.
        what: What is read in it, for an error.
        most_cpu_s: Its limit of CPU time for a request, for an error.
        descriptors: What it inherits besides the connection; closed here with the process.
    """

    def __init__(self, code: str, *, what: str, most_cpu_s: float, descriptors: Sequence[int] = ()) -> None:
        ours, theirs = Pipe()
        root = str(Path(embedstore.errors.__file__).parent.parent)
        inherited = (theirs.fileno(), *descriptors)
        arguments = [*map(str, inherited), *(path for path in sys.path if path), root]
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # where C libraries write what they think of a file
                pass_fds=inherited,
                env=os.environ | ONE_THREAD,
            )
        except OSError as error:
            for descriptor in descriptors:
                os.close(descriptor)
            ours.close()
            raise RunError(f"no process to read {what} in can be started: {error.strerror or error}") from error
        finally:
            theirs.close()
        self._connection, self._process, self._pid = ours, process, os.getpid()
        self.working_folder = _working_folder()
        self._most_cpu_s = most_cpu_s
        self._lock = threading.Lock()
        self._how = ""  # it ended
        self.end = weakref.finalize(self, _end, ours, process, tuple(descriptors))

    @property
    def usable(self) -> bool:
        """Whether it can be asked: it has not ended, and this process is no fork of the one that started it."""
        return self._pid == os.getpid() and self.end.alive and self._process.poll() is None

    def kill(self) -> None:
        """End it at once; whoever waits for its answer is told that it was killed."""
        self._process.kill()

    def ask(self, method: str, *arguments: Any, answer_s: float) -> Any:
        """The result of a method of the server.

        Args:
            answer_s: Seconds after which a request without an answer ends the process.
        Raises:
            ProcessEndedError: there is no answer; otherwise what the method raised.
        """
        with self._lock:
            return self._ask(method, *arguments, answer_s=answer_s)

    def _ask(self, method: str, *arguments: Any, answer_s: float) -> Any:
        """The same for whoever holds the lock."""
        try:
            self._connection.send((method, arguments))
            if not self._connection.poll(answer_s):
                self.end()
                self._how = f"gave no answer within {answer_s:g} s"
                raise ProcessEndedError(self._how)
            result, error = self._connection.recv()
        except (EOFError, OSError) as error:
            if not self._how:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(ENDING_S)
            self.end()
            self._how = self._how or _how_ended(self._process.returncode, self._most_cpu_s)
            raise ProcessEndedError(self._how) from error
        except BaseException:  # Ctrl-C, say: its answer would be taken for that to the next request
            self.end()
            raise
        if error is not None:
            raise error
        return result


P = TypeVar("P", bound=ChildProcess)


def take(idle: list[P], start: Callable[[], P]) -> P:
    """One of the processes that wait for their next file, or a new one.

    A process that was started in another working folder would take a relative path for one there: it is ended.
    """
    with contextlib.suppress(IndexError):
        while True:
            process = idle.pop()
            if process.usable and process.working_folder == _working_folder():
                return process
            process.end()
    return start()


def give_back(idle: list[P], process: P) -> None:
    """Let a process wait for its next file, or end it where enough do."""
    if process.usable and len(idle) < MOST_IDLE:
        idle.append(process)
    else:
        process.end()


def _working_folder() -> Path | None:
    with contextlib.suppress(FileNotFoundError):  # it was removed
        return Path.cwd()
    return None


def _end(connection: Connection, process: "subprocess.Popen[bytes]", descriptors: Sequence[int]) -> None:
    connection.close()
    for descriptor in descriptors:
        os.close(descriptor)
    try:
        process.wait(0.2)  # it ends by itself when the connection is closed, unless it is reading
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _how_ended(code: int, most_cpu_s: float) -> str:
    if code == -signal.SIGXCPU:
        return f"took more than {most_cpu_s:g} s of CPU time"
    if code == -signal.SIGKILL:
        return "was killed, as systems do when memory runs out"
    if code < 0:
        return f"crashed ({signal.strsignal(-code)})"
    return f"ended with exit code {code}"
