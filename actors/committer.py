"""The committer: the one worker of a run that makes rows visible, and keeps the tables small."""

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from embedstore.access_errors import access_error
from embedstore.errors import LeaseLostError
from embedstore.store import (
    CollectionWriter,
    Label,
    Lease,
    Outcome,
    SlideFragments,
    SlideRow,
    Store,
    TableWriter,
    ViewsWriter,
    this_process,
)
from embedstore.store.outage import through_outages
from embedstore.store.removal import forget_derived

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Versions older than this are deleted during a run. A search that opened one an hour ago would lose its files.
KEEP_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class CommitBatch:
    """What is committed together: the finished slides of a second or two.

    Attributes:
        fragments: Rows to make visible.
        slides, outcomes: Ledger rows of these slides, and of slides that ended without rows.
        labels: Labels that came with folders of tiles.
        replacing: Slides whose old rows are replaced (`--force`).
    """

    fragments: tuple[SlideFragments, ...] = ()
    slides: tuple[SlideRow, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    labels: tuple[Label, ...] = ()
    replacing: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Committed:
    """What became of a batch.

    Attributes:
        added: Slides added, over all collections.
        elsewhere: Slides that other runs have added meanwhile; of these, nothing of the batch was written.
    """

    added: int = 0
    elsewhere: frozenset[str] = frozenset()


class Committer:
    """Commits in turn with the committers of other runs: it holds a collection's lease for a batch at a time.

    Every method may be called again after its process died in the middle of it.

    Args:
        store_uri: The store.
        collections: Names of existing collections.
        compact_every: Commits between two compactions.
    """

    def __init__(self, store_uri: str, collections: Sequence[str], *, compact_every: int) -> None:
        self._store = Store.open(store_uri)
        self._compact_every = compact_every
        self._changed: set[TableWriter] = set()  # in this process
        self._writers = {name: CollectionWriter(self._store.collection(name)) for name in collections}
        views = {name: self._store.views(name) for name in collections}
        self._views = {name: ViewsWriter(table) for name, table in views.items() if table.exists()}
        self._leases: dict[str, Lease] = {}  # those held now
        self._abandoned = threading.Event()

    def ping(self) -> str | None:
        """Return its process, to show that the worker is alive and has nothing else to do."""
        return this_process()

    def abandon(self) -> None:
        """Wait for no lease any more: the run has ended. Called from another thread."""
        self._abandoned.set()

    @contextlib.contextmanager
    def _turn(self, names: Sequence[str]) -> Iterator[None]:
        """Hold the leases of some collections; whoever has them is waited for as long as it lives."""
        with contextlib.ExitStack() as leases:
            for name in sorted(names):  # in one order, or two runs could wait for each other
                self._leases[name] = leases.enter_context(
                    self._store.lease(name, wait_s=math.inf, give_up=self._abandoned.is_set)
                )
            try:
                yield
            finally:
                self._leases = {}

    def _in_turn(self, names: Sequence[str], work: Callable[[], T]) -> T:
        """Do something that may be done again, with the leases of some collections."""
        while True:
            try:
                with self._turn(names):
                    return work()
            except LeaseLostError as error:  # this process was stopped for minutes
                log.warning("%s; once more", error)

    @through_outages
    def views_present(self) -> dict[str, set[str]]:
        """Slides of each collection whose views are stored."""
        return {name: writer.present() for name, writer in self._views.items()}

    @through_outages
    def present(self, run_id: str) -> dict[str, set[str]]:
        """Slides that have rows in each collection; repairs the ledger where a crash kept it from being updated."""

        def repaired() -> dict[str, set[str]]:
            for name, writer in self._writers.items():
                if amended := self._store.ledger.repair(name, writer.collection.slides(), run_id):
                    log.warning("collection %s: %d slides were committed without their record; repaired", name, amended)
            return {name: writer.present() for name, writer in self._writers.items()}

        return self._in_turn([*self._writers], repaired)

    def committed(self, slide_ids: Sequence[str]) -> list[str]:
        """Those of some slides that have their rows in every collection of the run."""
        present = [writer.present() for writer in self._writers.values()]
        return [slide_id for slide_id in slide_ids if all(slide_id in slides for slides in present)]

    @through_outages
    def commit(self, batch: CommitBatch) -> Committed:
        """Record the slides and their labels, make their rows visible, then record their outcomes.

        In this order, because slides that have rows are not ingested again: labels and metadata, which only the run
        knows, must be stored before. All of it is keyed, so writing it twice changes nothing.
        """
        names = {each.collection for each in batch.fragments} | {each.collection for each in batch.outcomes}
        return self._in_turn(sorted(names & self._writers.keys()), lambda: self._commit(batch))

    def _commit(self, batch: CommitBatch) -> Committed:
        elsewhere = self._elsewhere(batch)
        batch = _without(batch, elsewhere)
        added = 0
        self._store.labels.record(batch.labels)
        self._store.ledger.record(batch.slides, ())
        for name, writer in self._writers.items():
            slides = [slide for slide in batch.fragments if slide.collection == name]
            forced = batch.replacing & {slide.slide_id for slide in slides if slide.rows}
            # Views last, and old ones out first: a kill in between leaves tiles without views, which the next run with
            # --views makes, and never views of one file beside tiles of another.
            self._clear_views(name, slides, forced)
            forget_derived(self._store, writer.collection, forced)
            if with_tiles := [slide for slide in slides if slide.rows]:
                self._leases[name].check()
                added += len(writer.commit(with_tiles, replacing=batch.replacing))
                self._changed.add(writer)
            if with_views := [slide for slide in slides if slide.view_rows]:
                self._leases[name].check()
                self._views[name].commit(with_views)
                self._changed.add(self._views[name])
        self._store.ledger.record((), batch.outcomes)
        for name in self._leases:
            for table in (self._writers[name], self._views.get(name)):
                if table is not None and table.commits >= self._compact_every:
                    self._compact(table, busy=True)
        return Committed(added=added, elsewhere=elsewhere)

    def _elsewhere(self, batch: CommitBatch) -> frozenset[str]:
        """Slides of a batch that have their rows and their outcomes from other runs, and need nothing of this one.

        Rows without an outcome are of this run, from before its committer died, or of another that was killed: their
        outcome is written.
        """
        tiles = {name: self._writers[name].present() for name in self._leases}
        views = {name: self._views[name].present() for name in self._leases if name in self._views}
        lacking = {
            slide.slide_id
            for slide in batch.fragments
            if (slide.rows and slide.slide_id not in tiles[slide.collection])
            or (slide.view_rows and slide.slide_id not in views[slide.collection])
        }
        wanted = {outcome.key: outcome for outcome in batch.outcomes if outcome.views_error is None}
        lacking |= {each.slide_id for each in wanted.values() if each.slide_id not in tiles[each.collection]}
        candidates = {each.slide_id for each in wanted.values()} - lacking - batch.replacing
        if not candidates:
            return frozenset()
        stored = self._store.ledger.outcomes(states=("done",), slide_ids=sorted(candidates))
        others = {each.key for each in stored if each.key in wanted and each.run_id != wanted[each.key].run_id}
        missing = {each.slide_id for each in wanted.values() if each.key not in others}
        return frozenset(candidates - missing)

    def _clear_views(self, name: str, slides: Sequence[SlideFragments], forced: frozenset[str]) -> None:
        """Remove views of tiles that will be replaced, and views that have no tiles."""
        writer = self._views.get(name)
        if writer is None or not slides:
            return
        with_tiles = {slide.slide_id for slide in slides if slide.rows}
        stale = forced | (with_tiles & (writer.present() - self._writers[name].present()))
        if stale:
            self._leases[name].check()
            writer.remove(stale)

    def _compact(self, writer: TableWriter, *, busy: bool) -> None:
        try:
            writer.compact(keep_s=KEEP_S, busy=busy)
            self._store.ledger.tidy(keep_s=KEEP_S)
        except (OSError, RuntimeError, ValueError) as error:  # Lance's; the rows are there, and are searched one by one
            log.warning(
                "%s could not be compacted or indexed: %s; all rows are committed; run `embedstore compact` and "
                "`embedstore index` later", writer.name, access_error(error) or error,
            )  # fmt: skip
        writer.commits = 0

    @through_outages
    def close(self, alone: bool = True) -> None:
        """Compact and index the tables; if this run is not `alone`, those that come after it build the index.

        Also where the last commit was compacted: that may have left rows out of the index.
        """
        for name, writer in self._writers.items():
            if changed := [each for each in (writer, self._views.get(name)) if each in self._changed and each]:
                with self._turn([name]):
                    for table in changed:
                        self._compact(table, busy=not alone)


def _without(batch: CommitBatch, slide_ids: frozenset[str]) -> CommitBatch:
    if not slide_ids:
        return batch
    return replace(
        batch,
        fragments=tuple(each for each in batch.fragments if each.slide_id not in slide_ids),
        slides=tuple(each for each in batch.slides if each.slide_id not in slide_ids),
        outcomes=tuple(each for each in batch.outcomes if each.slide_id not in slide_ids),
        labels=tuple(each for each in batch.labels if each.slide_id not in slide_ids),
    )
