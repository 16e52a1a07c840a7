"""The only writer of a collection: it adds and deletes whole slides, each once."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection as Group
from collections.abc import Iterable, Mapping

import lance
import pyarrow.compute as pc
from lance.fragment import FragmentMetadata

from embedstore.errors import CommitError
from embedstore.store.collection import Collection
from embedstore.store.fragments import SlideFragments
from embedstore.store.index import build_scalar_indexes, keep_index
from embedstore.store.sql import sql_in
from embedstore.store.table import until_committed
from embedstore.store.views import Views

log = logging.getLogger(__name__)


class TableWriter(ABC):
    """Commits slides to a table. Hold the lease of the collection while calling a method of it.

    Several processes may have one for the same table, and commit in turns: each reads what the others have added.

    Args:
        rows: An existing collection, or its views.

    Attributes:
        commits: Commits of all processes since the table was compacted, as far as this one has seen them.
    """

    def __init__(self, rows: Collection | Views):
        self._rows = rows
        self._present = set(rows.slides())
        self._note(rows.dataset())
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

    def _note(self, dataset: lance.LanceDataset) -> None:
        """Remember the version that `_present` was read from."""
        self._version, self._fragments_seen = dataset.version, _fragments(dataset)

    def _refresh(self) -> lance.LanceDataset:
        """The newest version. Where another process has only added rows, no others are read than the new ones."""
        dataset = self._rows.dataset()
        if dataset.version == self._version:
            return dataset
        seen, version, fragments = self._fragments_seen, self._version, _fragments(dataset)
        if seen.items() <= fragments.items():
            self._present |= _slides_of(dataset, fragments.keys() - seen.keys())
            self.commits += dataset.version - version
        else:
            self._present = set(_slides_of(dataset, fragments))
            self.commits = 0 if len(fragments) < len(seen) else self.commits + dataset.version - version
        self._version, self._fragments_seen = dataset.version, fragments
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
        slides = list(slides)
        return until_committed(lambda: self._commit(slides, replacing))

    def _commit(self, slides: Iterable[SlideFragments], replacing: frozenset[str]) -> list[str]:
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
        if committed.version != dataset.version + 1:
            withdrawn = self._withdraw_doubles(dataset, committed, fresh)
            self._refresh()
            return [slide_id for slide_id in fresh if slide_id not in withdrawn]
        self._note(committed)
        self._present |= fresh.keys()
        self.commits += 1
        return list(fresh)

    def _withdraw_doubles(
        self,
        before: lance.LanceDataset,
        committed: lance.LanceDataset,
        fresh: Mapping[str, Iterable[FragmentMetadata]],
    ) -> set[str]:
        """Take back, and return, the slides of a commit that another process committed first.

        It can, if this one was stopped for longer than its lease lives: Lance appends to a newer version as well.
        """
        own = {path: slide_id for slide_id, of_slide in fresh.items() for one in of_slide for path in _files(one)}
        new = [each for each in committed.get_fragments() if each.fragment_id not in _fragments(before)]
        ours = [each for each in new if not own.keys().isdisjoint(_files(each.metadata))]
        theirs = {each.fragment_id for each in new} - {each.fragment_id for each in ours}
        doubles = _slides_of(committed, theirs) & fresh.keys()
        if doubles:
            log.warning("%s: other processes were quicker with %s", self.name, ", ".join(sorted(doubles)))
            withdrawn = [each.fragment_id for each in ours if own[_files(each.metadata)[0]] in doubles]
            self._rows.table.delete_fragments(withdrawn)
        return doubles

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
        self._note(self.collection.dataset())


class ViewsWriter(TableWriter):
    """Commits views to the table of a collection's stored views."""

    def __init__(self, views: Views):
        super().__init__(views)
        self.views = views

    def _fragments(self, slide: SlideFragments) -> tuple[tuple[str, ...], int]:
        return slide.views, slide.view_rows

    def compact(self, *, keep_s: float, purge: bool = False, busy: bool = False) -> None:
        self.views.table.tidy(keep_s=keep_s, purge=purge)
        self._note(self.views.dataset())


def _fragments(dataset: lance.LanceDataset) -> dict[int, object]:
    """{id of a fragment: which of its rows are deleted}."""
    return {each.fragment_id: each.metadata.deletion_file for each in dataset.get_fragments()}


def _slides_of(dataset: lance.LanceDataset, fragments: Group[int]) -> set[str]:
    """The slides that have rows in some fragments."""
    chosen = [each for each in dataset.get_fragments() if each.fragment_id in fragments]
    if not chosen:
        return set()
    slides: set[str] = set()
    for batch in dataset.scanner(columns=["slide_id"], fragments=chosen, batch_size=1 << 20).to_batches():
        slides.update(pc.unique(batch.column(0)).to_pylist())
    return slides


def _files(fragment: FragmentMetadata) -> list[str]:
    return [file.path for file in fragment.files]
