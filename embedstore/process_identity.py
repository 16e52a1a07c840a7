"""Which process this is, and whether another one still runs, told without comparing clocks.

A process is known by the boot of its machine, its namespace of process numbers, its number and when it started. So a
container is not taken for another one of the same host name, nor a process for a later one with the same number.
"""

import functools
import os
import socket
import sys
import uuid
from pathlib import Path

import psutil


def this_process() -> str | None:
    """What tells this process from all others, now and later; None where the system does not say enough."""
    return _this_process(os.getpid())


@functools.lru_cache(1)
def _this_process(pid: int) -> str | None:
    space = _space(pid)
    started = _started(pid) if space is not None else None
    return f"{space}/{pid}/{started}" if started is not None else None


def runs(process: str | None) -> bool | None:
    """Whether a process runs, by what `this_process` returned there; None where it cannot be told from here."""
    here = this_process()
    if process is None or here is None:
        return None
    space, pid, started = process.rsplit("/", 2)
    if space != here.rsplit("/", 2)[0]:
        return None
    if not psutil.pid_exists(int(pid)):
        return False
    found = _started(int(pid))
    if found is None:  # it ended just now, or is hidden from this user
        return None if psutil.pid_exists(int(pid)) and not _is_zombie(int(pid)) else False
    return found == started and not _is_zombie(int(pid))


def _space(pid: int) -> str | None:
    """Where process numbers mean the same: one boot of one machine, and one namespace."""
    if sys.platform == "linux":
        try:
            if Path("/proc/self").readlink().name != str(pid):  # this /proc shows another namespace
                return None
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
        except OSError:
            return None
    node = uuid.getnode()
    is_random = bool(node >> 40 & 1)  # no hardware address was found
    return None if is_random else f"{node:012x}/{socket.gethostname()}"


def _started(pid: int) -> str | None:
    """When a process started: in ticks since boot, which do not jump with the clock, or else in seconds."""
    try:
        if sys.platform == "linux":
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            return stat.rpartition(")")[2].split()[19]
        return f"{psutil.Process(pid).create_time():.2f}"
    except (OSError, psutil.Error):
        return None


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
