"""Whether the process that wrote a row still runs, where it cannot be seen from here (`process_identity`).

Its beat tells: a time that it writes again and again. It is dead once an observer has seen one beat for `EXPIRY_S` by
its own clock, whatever the beat says, so the clocks of two machines are not compared.
"""

import datetime as dt
import time

from embedstore.store.table import now

#: Owners renew their beat this often, seconds.
RENEWAL_S = 20.0
#: A beat that was seen unchanged for so long, seconds, is of a dead owner: one that lives may miss several.
EXPIRY_S = 120.0


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
