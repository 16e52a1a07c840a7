"""Whether the process that wrote a row still runs, told without comparing the clocks of two machines.

A process is known by the boot of its machine, its namespace of process numbers, its number and when it started. So a
container is not taken for another one of the same host name, nor a process for a later one with the same number.
Where a process cannot be seen from here, or is stopped, its beat tells: a time that it writes again and again. It is
dead once an observer has seen one beat for `EXPIRY_S` by its own clock, whatever the beat says.
"""

import datetime as dt
import functools
import os
import socket
import sys
import time
import uuid
from pathlib import Path

import psutil

from embedstore.store.table import now

#: Owners renew their beat this often, seconds.
RENEWAL_S = 20.0
#: A beat that was seen unchanged for so long, seconds, is of a dead owner: one that lives may miss several.
EXPIRY_S = 120.0


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


def is_stale(beat: dt.datetime) -> bool:
    """Whether a beat is far from this machine's clock: its owner may be dead, or one of the two clocks is wrong."""
    return abs((now() - beat).total_seconds()) > EXPIRY_S


class Observer:
    """Watches the beats of others; one observer for as long as it waits for them."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[dt.datetime, float]] = {}  # the last beat of each owner, and since when
        self._beating: set[str] = set()

    def is_dead(self, owner: str, beat: dt.datetime, *, asked_at: float) -> bool:
        """Whether an owner has had the same beat for longer than one may last.

        Args:
            asked_at: `time.monotonic()` from before the beat was read: this process may have slept since.
        """
        known = self._seen.get(owner)
        if known is not None and known[0] == beat:
            return asked_at - known[1] > EXPIRY_S
        if known is not None:
            self._beating.add(owner)
        self._seen[owner] = beat, time.monotonic()
        return False

    def may_be_dead(self, owner: str, beat: dt.datetime) -> bool:
        """Whether it is worth waiting to know: the beat is stale, and was not seen to change."""
        return owner not in self._beating and is_stale(beat)
