"""What runs in a process that `child_process.py` starts: it answers requests within limits."""

import contextlib
import resource
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from embedstore.errors import EmbedStoreError


def answer_requests(
    connection_fd: int,
    server: object,
    *,
    most_bytes: int,
    most_cpu_s: int,
    unforeseen: Callable[[Exception], EmbedStoreError] | None = None,
) -> None:
    """Answer requests, (method, arguments), with (result, error), one at a time, until the other side hangs up.

    Args:
        connection_fd: Socket of the requests.
        server: The object whose methods are asked for.
        most_bytes: Address space that it may take beyond what the process has by now.
        most_cpu_s: CPU time of a request; one that takes longer ends the process.
        unforeseen: The error to send for any other exception than our own; None lets it end the process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other process, which hangs up
    limit(resource.RLIMIT_AS, address_space() + most_bytes)
    connection = Connection(connection_fd)
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, OSError):
            return
        usage = resource.getrusage(resource.RUSAGE_SELF)
        limit(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + most_cpu_s)
        try:
            answer: tuple[Any, EmbedStoreError | None] = getattr(server, method)(*arguments), None
        except EmbedStoreError as error:
            answer = None, error
        except Exception as error:
            if unforeseen is None:
                raise
            answer = None, unforeseen(error)
        connection.send(answer)


def address_space() -> int:
    """Bytes of address space in use; 0 where the system does not tell."""
    with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
    return 0


def limit(what: int, most: int) -> None:
    """Set a soft limit, where the system and the hard limit allow it."""
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
