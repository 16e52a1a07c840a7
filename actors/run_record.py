"""The run's row in the store: what others see of it, and what it sees of other runs on the same collections."""

import atexit
import logging
import threading
import time
from collections.abc import Iterable, Set
from dataclasses import replace
from types import TracebackType

from actors.run_counts import RunCounts
from actors.run_metrics import RunMetrics
from embedstore.errors import one_line
from embedstore.store import Observer, Run, Runs, RunState
from embedstore.store.outage import through_outages
from embedstore.store.table import now

log = logging.getLogger(__name__)

#: The row is written this often, seconds: progress that others see, and the beat that says that the run lives.
BEAT_S = 10.0
#: With many runs less often, so that all of them together write twice a second.
BEAT_S_A_RUN = 0.5
LONGEST_BEAT_S = 40.0
#: A row that is being written as the run ends may take so long, seconds.
LAST_WRITE_S = 20.0


class RunRecord:
    """Keeps the row while the run lasts; a thread writes it, because a run may wait for minutes.

    Slides are shared with other runs by what each has in hand. Whoever wants slides writes them to its row, then reads
    the rows of the others, and keeps those that nobody else names. Of two runs that want the same slide, one at least
    reads what the other has written, so no slide is taken by both.

    Args:
        threaded: False in a simulation: the row is written when slides are asked for.

    Attributes:
        counts: What is written.
        others: Other runs on the collections, as of the last exchange.
        seen: Ids of all runs of the store that there were beside this one, also of those that have ended.
        metrics: Are told the same; none without Ray.
    """

    def __init__(self, runs: Runs, run: Run, *, threaded: bool = True) -> None:
        self.counts = RunCounts(slides=0)
        self.metrics: RunMetrics | None = None
        self.others: list[Run] = []
        self.seen: Set[str] = set()
        self._earlier: Set[str] = set()  # runs that had ended before this one began
        self._runs, self._run, self._threaded = runs, run, threaded
        self._observer = Observer()
        self._in_hand: frozenset[str] = frozenset()
        self._offers, self._told = 0, -1  # how often slides were offered, and the last of these that others know
        self._began = time.monotonic()
        self._wake, self._ending = threading.Event(), threading.Event()
        self._lock = threading.Lock()  # an exchange at a time
        self._state: RunState = "stopped"
        self._thread = threading.Thread(target=self._beat, name=f"run-{run.run_id}", daemon=True)

    def __enter__(self) -> "RunRecord":
        self._earlier = through_outages(self._runs.begin)(self._run)
        if self._threaded:
            self._thread.start()
            atexit.register(self._stop)  # as of `Lease`: no thread may be inside Lance when Python ends
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop()
        failed = isinstance(error, Exception)
        state: RunState = "failed" if failed else self._state
        said = one_line(f"{type(error).__name__}: {error}") if failed else None
        try:
            self._runs.record(replace(self._as_now(), state=state, ended_at=now(), in_hand=(), left_s=None, error=said))
        except (OSError, RuntimeError, ValueError) as cause:  # Lance's; the slides are what counts
            log.info("the end of run %s was not recorded: %s", self._run.run_id, cause)
        finally:
            self._runs.left(self._run.run_id)

    def end(self, state: RunState) -> None:
        """Say how the run ends; one that does not say so was interrupted, or failed with an error."""
        self._state = state

    # -- what others have in hand -----------------------------------------------------------

    def offer(self, slide_ids: Iterable[str], *, wait: bool = False) -> None:
        """Name all slides that the run has in hand, and those that it wants; `answered` once others were asked."""
        self._in_hand = frozenset(slide_ids)
        self._offers += 1
        if wait or not self._threaded:
            through_outages(self._exchange)()
        else:
            self._wake.set()

    @property
    def answered(self) -> bool:
        """Whether what was offered last is known to others, and `theirs` is what they had named then."""
        return self._told == self._offers

    @property
    def theirs(self) -> set[str]:
        """Slides that other runs have in hand."""
        return {slide_id for run in self.others for slide_id in run.in_hand}

    def is_alone(self) -> bool:
        """Whether no other run writes to the collections now."""
        through_outages(self._exchange)()
        return not self.others

    # -- the row ----------------------------------------------------------------------------

    def _as_now(self) -> Run:
        counts = self.counts
        return replace(
            self._run,
            beat=now(),
            slides=counts.slides,
            done=counts.done,
            failed=len(counts.failed),
            empty=len(counts.empty),
            elsewhere=counts.elsewhere,
            tiles=counts.tiles,
            tiles_per_s=counts.tiles_per_s,
            left_s=counts.left_s(),
            seconds=time.monotonic() - self._began,
            in_hand=tuple(sorted(self._in_hand)),
        )

    def _exchange(self) -> None:
        """Write the row, then read those of others."""
        with self._lock:
            offers = self._offers  # before what is written: an offer that comes meanwhile is not answered
            row = self._as_now()
            self._runs.record(row)
            if self.metrics is not None:
                self.metrics.update(row)
            self.others, all_ids = self._runs.others(self._run.collections, self._observer, but=self._run.run_id)
            self.seen = all_ids - self._earlier
            self._told = offers

    def _beat(self) -> None:
        while not self._ending.is_set():
            often = min(max(BEAT_S, BEAT_S_A_RUN * (1 + len(self.others))), LONGEST_BEAT_S)
            self._wake.wait(often)
            self._wake.clear()
            if self._ending.is_set():
                return
            try:
                self._exchange()
            except Exception as error:  # the next one tries again, long before the run counts as dead
                log.info("could not write the row of run %s: %s", self._run.run_id, error)
                self._ending.wait(1.0)
                if not self.answered:
                    self._wake.set()

    def _stop(self) -> None:
        atexit.unregister(self._stop)
        self._ending.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=LAST_WRITE_S)
