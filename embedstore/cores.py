"""How many processors there are to share work among."""

import os


def cores() -> int:
    """Processors that this process may use; a container or `taskset` may leave it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
