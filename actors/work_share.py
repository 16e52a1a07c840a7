"""Which slides a run takes up next, so that runs on the same slides share the work instead of all doing it."""

import itertools
import time
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

from actors.jobs import SlideJob
from actors.run_counts import RunCounts
from actors.run_record import RunRecord
from embedstore.store import Ledger, Outcome
from embedstore.store.outage import through_outages

#: A run keeps about so many seconds of work in hand: what it names is left to it by others.
HAND_S = 20.0
#: Slides that other runs have in hand are looked at this often, seconds, once there are no others left.
LOOK_S = 2.0


class WorkShare:
    """Moves slides from those that nobody has taken up to the run's queue.

    Slides that other runs have in hand come last. When nothing else is left, the run waits for them: those that the
    other ends without, because it was killed or stopped, are taken up.

    Args:
        jobs: The slides, in the order in which they are taken up.
        queue: Slides that the worker groups take; shared with them.
        readers: Tells how many readers there are now.
        own: Slides that are done whatever other runs do (`--force`).
    """

    def __init__(
        self,
        jobs: Sequence[SlideJob],
        queue: deque[SlideJob],
        record: RunRecord,
        counts: RunCounts,
        ledger: Ledger,
        *,
        run_id: str,
        readers: Callable[[], int],
        own: Collection[str] = (),
    ) -> None:
        self._later = deque(jobs)
        self._queue, self._record, self._counts, self._ledger = queue, record, counts, ledger
        self._run_id, self._readers, self._own = run_id, readers, own
        self._hand: set[str] = set()
        self._offered: list[SlideJob] = []
        self._began = time.monotonic()
        self._look_at = 0.0
        self._mixed = False

    def __bool__(self) -> bool:
        """Whether there are slides that the run has not taken up."""
        return bool(self._later or self._offered)

    @property
    def waits_for(self) -> int:
        """Number of slides that are all that is left, and that other runs have in hand."""
        return 0 if self._hand or self._offered else len(self._later)

    def top_up(self) -> None:
        """Move slides to the queue if it runs low."""
        if self._offered:
            if self._record.answered:
                self._accept()
            return
        wanted = self._wanted()
        if not self._later or 2 * len(self._queue) > wanted or time.monotonic() < self._look_at:
            return
        first = not self._hand
        self._choose(wanted - len(self._queue))
        if self._offered:
            self._record.offer(self._hand | {job.slide_id for job in self._offered}, wait=first)
            if self._record.answered:
                self._accept()
        else:
            self._look_at = time.monotonic() + LOOK_S
            self._record.offer(self._hand)

    def ended(self, slide_ids: Collection[str]) -> None:
        """Name slides no longer that are committed or have failed."""
        self._hand.difference_update(slide_ids)

    def drop_all(self) -> None:
        """Take up nothing more."""
        self._later.clear()
        self._offered.clear()

    def _wanted(self) -> int:
        rate = self._counts.ended / max(time.monotonic() - self._began, 1.0)
        return max(2 * self._readers(), int(rate * HAND_S))

    def _accept(self) -> None:
        """Take what was offered and nobody else names."""
        theirs = self._record.theirs
        for job in self._offered:
            if job.slide_id in theirs and job.slide_id not in self._own:
                self._later.append(job)
            else:
                self._hand.add(job.slide_id)
                self._queue.append(job)
        self._offered = []
        if self._record.seen and not self._mixed:
            # Others may have the same list: begin at another place of it than they do.
            self._later.rotate(-(zlib.crc32(self._run_id.encode()) % max(len(self._later), 1)))
            self._mixed = True

    def _choose(self, number: int) -> None:
        """Offer the next slides that no other run has in hand or has ended; the others come last."""
        free = self._free()
        while len(self._offered) < number and (chosen := list(itertools.islice(free, number))):
            self._offered += self._without_those_done(chosen) if self._record.seen else chosen

    def _free(self) -> Iterator[SlideJob]:
        """Take out the slides that no other run has in hand; each is looked at once."""
        theirs = self._record.theirs
        for _ in range(len(self._later)):
            job = self._later.popleft()
            if job.slide_id in theirs and job.slide_id not in self._own:
                self._later.append(job)
            else:
                yield job

    def _without_those_done(self, jobs: Sequence[SlideJob]) -> list[SlideJob]:
        """The slides that no run beside this one has ended; the others are counted."""
        asked = [job.slide_id for job in jobs if job.slide_id not in self._own]
        by_slide: dict[str, dict[str, Outcome]] = {}
        for outcome in through_outages(self._ledger.outcomes)(slide_ids=asked) if asked else ():
            if outcome.run_id in self._record.seen:
                by_slide.setdefault(outcome.slide_id, {})[outcome.collection] = outcome
        left = []
        for job in jobs:
            ends = by_slide.get(job.slide_id, {})
            if job.with_views or not ends.keys() >= set(job.collections):
                left.append(job)
            else:
                self._counts.add_elsewhere(job.slide_id, [ends[name] for name in job.collections])
        return left
