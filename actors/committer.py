"""The committer: the one worker that makes rows visible, and keeps the tables small."""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from embedstore.access_errors import access_error
from embedstore.store import (
    CollectionWriter,
    Label,
    Outcome,
    SlideFragments,
    SlideRow,
    Store,
    TableWriter,
    ViewsWriter,
)
from embedstore.store.outage import through_outages

log = logging.getLogger(__name__)

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


class Committer:
    """Holds the leases of the run's collections from its construction to `close`.

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
        with contextlib.ExitStack() as leases:
            self._leases = {name: leases.enter_context(self._store.lease(name)) for name in collections}
            self._writers = {name: CollectionWriter(self._store.collection(name)) for name in collections}
            views = {name: self._store.views(name) for name in collections}
            self._views = {name: ViewsWriter(table) for name, table in views.items() if table.exists()}
            self._close = leases.pop_all()

    def ping(self) -> None:
        """Return, to show that the worker is alive."""

    def views_present(self) -> dict[str, set[str]]:
        """Slides of each collection whose views are stored."""
        return {name: writer.present() for name, writer in self._views.items()}

    def present(self, run_id: str) -> dict[str, set[str]]:
        """Slides that have rows in each collection; repairs the ledger where a crash kept it from being updated."""
        for name, writer in self._writers.items():
            if amended := self._store.ledger.repair(name, writer.collection.slides(), run_id):
                log.warning("collection %s: %d slides were committed without their record; repaired", name, amended)
        return {name: writer.present() for name, writer in self._writers.items()}

    @through_outages
    def commit(self, batch: CommitBatch) -> int:
        """Record the slides and their labels, make their rows visible, then record their outcomes.

        In this order, because slides that have rows are not ingested again: labels and metadata, which only the run
        knows, must be stored before. All of it is keyed, so writing it twice changes nothing.

        Returns:
            Slides added, over all collections.
        """
        added = 0
        self._store.labels.record(batch.labels)
        self._store.ledger.record(batch.slides, ())
        for name, writer in self._writers.items():
            slides = [slide for slide in batch.fragments if slide.collection == name]
            forced = batch.replacing & {slide.slide_id for slide in slides if slide.rows}
            # Views last, and old ones out first: a kill in between leaves tiles without views, which the next run with
            # --views makes, and never views of one file beside tiles of another.
            self._clear_views(name, slides, forced)
            self._store.map(name).forget(forced)  # `embedstore map` places them anew, by their new vectors
            if with_tiles := [slide for slide in slides if slide.rows]:
                self._leases[name].check()
                added += len(writer.commit(with_tiles, replacing=batch.replacing))
                self._check_after(name, writer, with_tiles)
            if with_views := [slide for slide in slides if slide.view_rows]:
                self._leases[name].check()
                self._views[name].commit(with_views)
                self._check_after(name, self._views[name], with_views)
        self._store.ledger.record((), batch.outcomes)
        for table in (*self._writers.values(), *self._views.values()):
            if table.commits:
                self._changed.add(table)
            if table.commits >= self._compact_every:
                self._compact(table, busy=True)
        return added

    def _check_after(self, name: str, writer: TableWriter, slides: Sequence[SlideFragments]) -> None:
        """Raise StoreBusyError if the lease was lost in the commit; what its new holder committed as well is undone."""
        if not self._leases[name].mine():
            writer.withdraw_doubles(slides)
            self._leases[name].check()

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

    def close(self) -> None:
        """Compact and index the tables, and release the leases.

        Also where the last commit was compacted: that may have left rows out of the index.
        """
        for writer in (*self._writers.values(), *self._views.values()):
            if writer in self._changed:
                self._compact(writer, busy=False)
        self.release()

    def release(self) -> None:
        """Release the leases."""
        self._close.close()
