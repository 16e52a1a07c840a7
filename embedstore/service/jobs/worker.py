"""A worker: the process that runs jobs, as the server sees it."""

import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import psutil

import embedstore.errors
from embedstore.errors import RunError, WorkerDiedError

CODE = """
import sys
sys.path[:] = sys.argv[4:]
from embedstore.service.jobs.job_server import serve
serve(int(sys.argv[1]), sys.argv[2], sys.argv[3] or None)
"""
#: A worker that is asked to end takes back what it was about to write; after so long it is killed, seconds.
GRACE_S = 2.0


class Worker:
    """A process of its own: a job that crashes or takes all memory costs itself alone.

    It ends when this process does, however that happens: its connection is closed then.

    Args:
        uri: The store.
        scratch: Where it keeps temporary files.
        cluster: Address of the Ray cluster where jobs run that want a GPU; in the process itself when None.

    Attributes:
        holds_gpu: Whether it said at the end of its last job that it holds memory of a GPU.
    """

    def __init__(self, uri: str, scratch: Path, *, cluster: str | None = None):
        ours, theirs = Pipe()
        root = str(Path(embedstore.errors.__file__).parent.parent)
        arguments = [str(theirs.fileno()), uri, cluster or "", *(path for path in sys.path if path), root]
        scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", CODE, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=os.environ | {"TMPDIR": str(scratch), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
            )
        except OSError as error:
            ours.close()
            raise RunError(f"no process to run jobs in can be started: {error.strerror or error}") from error
        finally:
            theirs.close()
        self._connection: Connection = ours
        self.holds_gpu = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def send(self, kind: str, params: dict[str, Any], folder: Path) -> None:
        """Hand over a job.

        Raises:
            WorkerDiedError: it has ended.
        """
        try:
            self._connection.send((kind, params, str(folder)))
        except OSError as error:
            raise WorkerDiedError(self._how()) from error

    def receive(self, timeout_s: float) -> tuple[str, Any] | None:
        """("progress", fields), ("done", result) or ("failed", (type, message)); None where nothing comes in time.

        Raises:
            WorkerDiedError: it has ended.
        """
        try:
            if not self._connection.poll(timeout_s):
                return None
            state, answer, self.holds_gpu = self._connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerDiedError(self._how()) from error
        return state, answer

    def bytes(self) -> int:
        """Memory that it takes; 0 where it has ended."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def ask_to_end(self) -> None:
        """Let it take back what it was about to write, and end."""
        if self.lives:
            self._process.terminate()

    def end(self, *, grace_s: float = GRACE_S) -> None:
        """End it, and wait until it is gone."""
        self.ask_to_end()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._connection.close()

    def _how(self) -> str:
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code == -signal.SIGKILL:
            return "was killed, as systems do when memory runs out"
        if code < 0:
            return f"crashed ({signal.strsignal(-code)})"
        return f"ended with exit code {code}"
