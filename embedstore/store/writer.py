"""The only writer of a collection: it adds and deletes whole slides, each once."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable

import lance
from lance.fragment import FragmentMetadata

from embedstore.errors import CommitError
from embedstore.store.collection import Collection
from embedstore.store.fragments import SlideFragments
from embedstore.store.index import build_scalar_indexes, keep_index
from embedstore.store.sql import sql_in
from embedstore.store.views import Views

log = logging.getLogger(__name__)


class TableWriter(ABC):
    """Commits slides to a table. It must be the only writer: hold the lease of the collection while using it.

    Args:
        rows: An existing collection, or its views.
    """

    def __init__(self, rows: Collection | Views):
        self._rows = rows
        self._version = rows.dataset().version
        self._present = set(rows.slides())
        self.commits = 0

    @property
    def name(self) -> str:
        return self._rows.name

    @abstractmethod
    def _fragments(self, slide: SlideFragments) -> tuple[tuple[str, ...], int]:
        """A slide's fragments for this table, as JSON, and the number of rows in them."""

    @abstractmethod
    def compact(self, *, keep_s: float, purge: bool = False, busy: bool = False) -> None:
        """Merge small fragments and delete versions older than `keep_s` seconds: see `Table.tidy`."""

    def present(self) -> set[str]:
        """Ids of the slides that have rows in the table."""
        self._refresh()
        return set(self._present)

    def _refresh(self) -> lance.LanceDataset:
        dataset = self._rows.dataset()
        if dataset.version != self._version:  # a deletion, or a predecessor's last commit
            self._present = set(self._rows.slides())
            self._version = dataset.version
        return dataset

    def commit(self, slides: Iterable[SlideFragments], *, replacing: frozenset[str] = frozenset()) -> list[str]:
        """Commit the rows of several slides at once.

        A slide that already has rows is skipped, so it is safe to call this again after a crash. Rows of the slides in
        `replacing` are replaced in the same commit.

        Returns:
            Ids of the slides that this call committed.
        Raises:
            CommitError: a slide's fragments have another number of rows than expected; nothing was committed.
        """
        dataset = self._refresh()
        fresh: dict[str, list[FragmentMetadata]] = {}
        for slide in slides:
            if slide.slide_id in replacing or slide.slide_id not in self._present:
                fresh[slide.slide_id] = self._check(slide)
            else:
                log.info("slide %s is already in %s; its new fragments are ignored", slide.slide_id, self._rows.name)
        if not fresh:
            return []
        fragments = [fragment for of_slide in fresh.values() for fragment in of_slide]
        replaced = sorted(set(fresh) & set(replacing) & self._present)
        table = self._rows.table
        operation: lance.LanceOperation.BaseOperation = lance.LanceOperation.Append(fragments)
        if replaced:
            operation = table.replacement(sql_in("slide_id", replaced), fragments)
        committed = lance.LanceDataset.commit(table.uri, operation, read_version=dataset.version)
        self._version = committed.version
        self._present |= fresh.keys()
        self.commits += 1
        return list(fresh)

    def _check(self, slide: SlideFragments) -> list[FragmentMetadata]:
        texts, rows = self._fragments(slide)
        fragments = [FragmentMetadata.from_json(text) for text in texts]
        held = sum(fragment.physical_rows for fragment in fragments)
        if held != rows or held == 0:
            raise CommitError(
                f"slide {slide.slide_id!r}, {self._rows.name}: its fragments hold {held} rows; expected {rows} and "
                "at least 1; nothing was committed; ingest it again"
            )
        return fragments

    def withdraw_doubles(self, slides: Iterable[SlideFragments]) -> list[str]:
        """Remove what was committed of slides that another writer has committed too, and leave theirs.

        Lance takes an Append whatever was committed meanwhile. So a process that is stopped between its look at the
        lease and its commit, for longer than the lease holds, adds slides that its successor has added.

        Returns:
            Ids of these slides.
        """
        dataset = self._rows.dataset()
        doubles: list[str] = []
        added: list[int] = []
        for slide in slides:
            files = {file.path for text in self._fragments(slide)[0] for file in FragmentMetadata.from_json(text).files}
            ours, others = [], []
            for fragment in dataset.get_fragments():
                own = any(file.path in files for file in fragment.data_files())
                (ours if own else others).append(fragment)
            found = dataset.scanner(
                fragments=others, columns=[], with_row_id=True, filter=sql_in("slide_id", [slide.slide_id])
            )
            if ours and others and found.count_rows():
                doubles.append(slide.slide_id)
                added += [fragment.fragment_id for fragment in ours]
        if doubles:
            log.warning("%s: another process committed %s as well; theirs stay", self._rows.name, ", ".join(doubles))
            removal = lance.LanceOperation.Delete([], added, predicate="removed")
            lance.LanceDataset.commit(self._rows.table.uri, removal, read_version=dataset.version)
        return doubles

    def remove(self, slide_ids: Iterable[str]) -> int:
        """Delete slides and return how many were there. Files keep their rows until `compact`."""
        chosen = sorted(set(slide_ids) & self.present())
        if not chosen:
            return 0
        self._rows.table.delete(sql_in("slide_id", chosen))
        return len(chosen)


class CollectionWriter(TableWriter):
    """Commits tiles to a collection."""

    def __init__(self, collection: Collection):
        super().__init__(collection)
        self.collection = collection

    def _fragments(self, slide: SlideFragments) -> tuple[tuple[str, ...], int]:
        return slide.fragments, slide.rows

    def compact(self, *, keep_s: float, purge: bool = False, busy: bool = False) -> None:
        """Merge small fragments, update the index and delete versions older than `keep_s` seconds: see `Table.tidy`.

        Args:
            purge: Remove the rows and ids of deleted slides from files and indexes.
            busy: Slides are still being added: update the index only if it lacks many rows.
        """

        def keep_indexes() -> None:
            if purge:
                build_scalar_indexes(self.collection, rebuild=True)
            keep_index(self.collection, busy=busy)

        self.collection.table.tidy(keep_s=keep_s, purge=purge, keep_indexes=keep_indexes)
        self._version = self.collection.dataset().version


class ViewsWriter(TableWriter):
    """Commits views to the table of a collection's stored views."""

    def __init__(self, views: Views):
        super().__init__(views)
        self.views = views

    def _fragments(self, slide: SlideFragments) -> tuple[tuple[str, ...], int]:
        return slide.views, slide.view_rows

    def compact(self, *, keep_s: float, purge: bool = False, busy: bool = False) -> None:
        self.views.table.tidy(keep_s=keep_s, purge=purge)
        self._version = self.views.dataset().version
