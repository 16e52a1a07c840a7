"""Waiting for what another process does."""

import time
from collections.abc import Callable

import psutil


def until(holds: Callable[[], bool], *, timeout_s: float = 300.0) -> None:
    """Wait until something holds; fails after a time that no machine needs."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def ended(process: psutil.Process) -> bool:
    """Whether a process has ended, also one that nobody has waited for yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
