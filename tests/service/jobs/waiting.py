"""Waiting for what another process does."""

import time
from collections.abc import Callable


def until(holds: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
    """Wait until something holds; fails after a time that no machine needs."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
