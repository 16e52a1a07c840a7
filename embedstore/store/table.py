"""A Lance table of a store: created, read, changed and compacted safely beside other processes."""

import copy
import datetime as dt
import logging
import random
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.errors import StoreError, StoreFormatError, StoreNotFoundError
from embedstore.store.outage import limit_requests
from embedstore.store.schema import LANCE_COLUMNS, TABLES, unusable_columns
from embedstore.store.store_format import is_backup_tag, stated_format

log = logging.getLogger(__name__)
limit_requests()
T = TypeVar("T")
#: What Lance keeps in memory of the tables that share it.
Caches: TypeAlias = lance.Session

#: Of all tables of a store; by default, Lance caches up to 6 GiB of index, and many actors share a machine.
INDEX_CACHE_BYTES = 256 << 20
#: Each commit leaves its manifest here until newer ones push it out: 0.1 MB where a table has some hundred fragments.
METADATA_CACHE_BYTES = 32 << 20
#: Compaction merges files up to this many rows. If a column has one value in a whole file, such as the edge of tiles,
#: Lance unpacks all of it to read one row: 1.8 ms at 1,000,000 rows and 0.4 ms at 250,000, in a search of 6 ms.
FRAGMENT_ROWS = 250_000
#: Attempts of a commit that conflicts with another writer; the pauses between them add up to about half a minute.
COMMIT_TRIES = 20
LONGEST_PAUSE_S = 4.0
#: Called with a store's URI before one of its tables is changed; `migrations`, which needs tables, adds its own.
before_change: list[Callable[[str], None]] = []


def is_conflict(error: Exception) -> bool:
    """Whether Lance refused a commit because another writer committed first."""
    return any(word in f"{type(error).__name__} {error}".lower() for word in ("conflict", "concurrent writers"))


def until_committed(commit: Callable[[], T]) -> T:
    """Call `commit` and return its result; after a conflict with another writer, pause and call it again."""
    for attempt in range(COMMIT_TRIES):
        try:
            return commit()
        except OSError as error:
            if not is_conflict(error) or attempt == COMMIT_TRIES - 1:
                raise
            time.sleep(random.uniform(0, min(0.01 * 2**attempt, LONGEST_PAUSE_S)))
    raise AssertionError("the last attempt returns or raises")


def new_caches() -> Caches:
    """Caches for the tables of a store."""
    return lance.Session(index_cache_size_bytes=INDEX_CACHE_BYTES, metadata_cache_size_bytes=METADATA_CACHE_BYTES)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Table:
    """A table of a store, by name; it may not exist yet.

    Args:
        caches: What Lance keeps of it; its own when None. A table that is dropped and made again needs its own: Lance
            knows some of what it keeps by the number of a version alone.
    """

    def __init__(self, store_uri: str, name: str, caches: Caches | None = None):
        self.name, self._store_uri, self._caches = name, store_uri, caches
        self.uri = f"{store_uri.rstrip('/')}/{name}.lance"
        self._open: lance.LanceDataset | None = None
        self._pinned = False

    def exists(self) -> bool:
        if "://" not in self.uri and not (Path(self.uri) / "_versions").is_dir():
            return False
        try:
            self.open()
        except StoreNotFoundError:
            return False
        return True

    def open(self) -> lance.LanceDataset:
        """The newest version; for a pinned table, the pinned version."""
        if self._open is None:
            try:
                dataset = lance.dataset(self.uri, session=self._caches or new_caches())
            except (ValueError, OSError) as error:
                if "not found" not in str(error).lower():
                    raise
                raise StoreNotFoundError(
                    f"no table {self.name!r} at {self.uri}; `embedstore ls` shows what is there"
                ) from error
            self._open = self._checked(dataset)
        elif not self._pinned:
            # Not `checkout_latest`: it changes the dataset in place, which Lance refuses while another thread reads it.
            try:
                newest = self._open.latest_version
            except OSError as error:
                if "not found" not in str(error).lower():
                    raise
                self._open = None  # it was dropped since
                return self.open()
            if newest != self._open.version:
                self._open = self._checked(self._open.checkout_version(newest))
        return self._open

    def _before_change(self) -> None:
        for call in before_change:
            call(self._store_uri)

    def opened(self) -> lance.LanceDataset:
        """Any version, for what is the same in all; the one that was opened last, without a look at the store."""
        return self._open or self.open()

    def _checked(self, dataset: lance.LanceDataset) -> lance.LanceDataset:
        """Raise StoreError if a newer version wrote the store, or if Lance would fail on the name of a column."""
        if self.name == "slides":
            stated_format(dataset.schema.metadata, self._store_uri)
        if unusable := unusable_columns(dataset.schema.names):
            options = " ".join(f"--column {shlex.quote(name)}" for name in unusable)
            raise StoreError(
                f"table {self.uri} cannot be read, because of the name of its column(s) "
                f"{', '.join(map(repr, unusable))}; `embedstore rm {options} --store {shlex.quote(self._store_uri)}` "
                "removes them, and nothing else"
            )
        return dataset

    def stored_metadata(self) -> dict[bytes, bytes] | None:
        """The metadata of its schema, even if a column prevents reading the table; None if it does not exist."""
        if "://" not in self.uri and not (Path(self.uri) / "_versions").is_dir():
            return None
        try:
            return self.open().schema.metadata or {}  # what was opened is used again
        except StoreNotFoundError:
            return None
        except StoreFormatError:
            raise
        except StoreError:
            return lance.dataset(self.uri).schema.metadata or {}

    def column_names(self) -> list[str]:
        """The names of the columns, even if one of them prevents reading the table."""
        return list(lance.dataset(self.uri).schema.names)

    def drop_columns(self, names: Sequence[str]) -> None:
        """Remove columns, including those that prevent reading the table."""
        dataset = lance.dataset(self.uri)
        by_lance = [name for name in names if name in LANCE_COLUMNS or not unusable_columns([name])]
        if by_lance:
            dataset.drop_columns(by_lance)
        if len(by_lance) < len(names):  # Lance cannot find the others by name; nobody else can write meanwhile
            kept = dataset.to_table(columns=[name for name in dataset.schema.names if name not in names])
            lance.write_dataset(kept, self.uri, mode="overwrite")
        self._open = None

    def pinned(self) -> "Table":
        """The table at its present version, for reading only: for several reads that must agree."""
        return self.pinned_at(self.open())

    def pinned_at(self, dataset: lance.LanceDataset) -> "Table":
        """The table at the version of a dataset of it, as of `pinned`."""
        table = copy.copy(self)
        table._open, table._pinned = dataset, True
        return table

    def open_for_writing(self) -> lance.LanceDataset:
        """The newest version as a new dataset to be changed: changing a dataset locks out those who read it."""
        self._before_change()
        dataset = self.open()
        return dataset.checkout_version(dataset.version)

    def create(self, schema: pa.Schema) -> lance.LanceDataset:
        """Open the table, or create it empty. Safe when several processes do so at once: one of them creates it.

        If an older version made the table, the columns that it lacks are added without values.
        """
        self._before_change()
        if not self.exists():
            try:
                # Not `write_dataset`: it would overwrite a table that another process creates meanwhile.
                empty = lance.LanceOperation.Overwrite(schema, [])
                lance.LanceDataset.commit(self.uri, empty, read_version=0, max_retries=0)
            except OSError:
                if not self.exists():
                    raise
        self.add_columns(lambda stored: [field for field in schema if field.name not in stored.names])
        return self.open()

    def add_columns(self, lacking: Callable[[pa.Schema], Sequence[pa.Field]]) -> None:
        """Add columns without values.

        Args:
            lacking: Returns the columns to add to the newest version's schema; called again after a conflict.
        """

        def add() -> None:
            dataset = self.open_for_writing()
            if fields := lacking(dataset.schema):
                dataset.add_columns(pa.schema(fields))

        until_committed(add)

    def upsert(self, key: str, rows: Sequence[dict[str, Any]] | pa.Table) -> None:
        """Insert rows, or replace those with the same key, whatever they hold now; see `revise`.

        If several rows have the same key, the last one counts.
        """
        self.revise(key, lambda _: rows)

    def revise(self, key: str, rows_of: Callable[["Table"], Sequence[dict[str, Any]] | pa.Table]) -> int:
        """Insert rows, or replace those with the same key, depending on what the table holds now.

        Concurrent writes are not lost: if another writer changes one of the rows, inserts one with the same key or adds
        a column, the rows are made again from the new version. Lance detects such a conflict by the key, which is an
        unenforced primary key. With an index on the key it would not, hence `use_index(False)`.

        Args:
            rows_of: Returns the rows, given the pinned newest version; called again after a conflict.
        Returns:
            Number of rows inserted or replaced.
        """

        def merge() -> int:
            dataset = self.open_for_writing()
            rows = rows_of(self.pinned_at(dataset))
            table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=dataset.schema)
            if table.num_rows == 0:
                return 0
            if len(repeated_rows(table.column(key))):
                last = {value: i for i, value in enumerate(table.column(key).to_pylist())}
                table = table.take(sorted(last.values()))
            builder = dataset.merge_insert(key).when_matched_update_all().when_not_matched_insert_all()
            builder.use_index(False).conflict_retries(0).execute(table)  # Lance's own retry would overwrite
            return table.num_rows

        return until_committed(merge)

    def without(self, filter_sql: str) -> tuple[list[int], list[lance.FragmentMetadata]]:
        """Mark rows as deleted, without a commit.

        Returns:
            Ids of the fragments that have no rows left, and the fragments that have fewer rows.
        """
        emptied, changed = [], []
        for fragment in self.open().get_fragments():
            # Not `fragment.count_rows`: with pylance 14.0.2 it never returns while another thread reads the table.
            if fragment.scanner(columns=[], with_row_id=True, filter=filter_sql).count_rows():
                left = fragment.delete(filter_sql)
                if left is None:
                    emptied.append(fragment.fragment_id)
                else:
                    changed.append(left)
        return emptied, changed

    def delete(self, filter_sql: str) -> None:
        """Delete rows. Lance's own `delete` would keep the filter, and the ids in it, in the table's history."""

        def deletion() -> lance.LanceOperation.BaseOperation | None:
            emptied, changed = self.without(filter_sql)
            return lance.LanceOperation.Delete(changed, emptied, predicate="removed") if emptied or changed else None

        self._commit(deletion)

    def delete_fragments(self, fragment_ids: Sequence[int]) -> None:
        """Delete all rows of some fragments."""
        self._commit(lambda: lance.LanceOperation.Delete([], list(fragment_ids), predicate="removed"))

    def replacement(
        self, filter_sql: str | None, fragments: list[lance.FragmentMetadata]
    ) -> lance.LanceOperation.BaseOperation:
        """One transaction, not committed, that deletes rows and adds fragments.

        Lance refuses to commit it if another writer changed the same rows first.
        """
        emptied, changed = self.without(filter_sql) if filter_sql else ([], [])
        return lance.LanceOperation.Update(
            removed_fragment_ids=emptied, updated_fragments=changed, new_fragments=fragments, fields_modified=[]
        )

    def replace(self, filter_sql: str | None, fragments: list[lance.FragmentMetadata]) -> None:
        """Delete rows and add fragments in one commit; tried again after a conflict with another writer.

        Two such calls at once could both add rows for the same slides, so the caller must hold the table's lease.
        """
        self._commit(lambda: self.replacement(filter_sql, fragments))

    def _commit(self, operation: Callable[[], lance.LanceOperation.BaseOperation | None]) -> None:
        """Commit an operation on the newest version.

        Args:
            operation: Returns the operation, or None for nothing to commit; called again after a conflict.
        """

        self._before_change()

        def commit() -> None:
            version = self.open().version
            planned = operation()
            if planned is not None:
                lance.LanceDataset.commit(self.uri, planned, read_version=version)

        until_committed(commit)

    def overwrite(self, schema: pa.Schema, fragments: list[lance.FragmentMetadata]) -> None:
        """Create the table from these fragments, or replace all that it holds, in one commit."""
        self._before_change()
        lance.LanceDataset.commit(self.uri, lance.LanceOperation.Overwrite(schema, fragments))

    def written_at(self) -> dt.datetime:
        """When the newest version was committed, UTC."""
        dataset = self.open()
        stamps = [each["timestamp"] for each in dataset.versions() if each["version"] == dataset.version]
        return next(stamp for stamp in stamps if isinstance(stamp, dt.datetime)).astimezone(dt.UTC)

    def drop(self) -> None:
        """Delete the table and its history, if it exists."""
        if self.exists():
            self._open = None
            lance.LanceDataset.drop(self.uri)

    def counts(self, column: str) -> dict[str, int]:
        """{value: number of its rows} of a text column, in the order in which the values first occur."""
        counts: dict[str, int] = {}
        for batch in self.open().to_batches(columns=[column], batch_size=1 << 20):
            for entry in pc.value_counts(batch.column(0)).to_pylist():
                counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
        return counts

    def rows(self, *, where: str | None = None, columns: list[str] | None = None) -> list[dict[str, Any]]:
        """Rows; a column that is newer than the table is None in all of them."""
        if not self.exists():
            return []
        dataset = self.open()
        lacking = set(TABLES[self.name].names if self.name in TABLES else ()) - set(dataset.schema.names)
        if columns is not None:
            lacking &= set(columns)
            columns = [name for name in columns if name not in lacking]
        rows: list[dict[str, Any]] = dataset.to_table(filter=where, columns=columns).to_pylist()
        return [row | dict.fromkeys(lacking) for row in rows] if lacking else rows

    def tag(self, name: str) -> None:
        """Keep the newest version under a name, if there is no such name; compaction keeps it until it purges all."""
        dataset = self.open_for_writing()
        if name not in dataset.tags.list():
            dataset.tags.create(name, dataset.version)

    def state(self, metadata: dict[bytes, bytes]) -> None:
        """Change entries of the metadata of the schema."""
        changes: dict[str, str | None] = {key.decode(): value.decode() for key, value in metadata.items()}
        until_committed(lambda: self.open_for_writing().update_schema_metadata(changes))

    def tidy(self, *, keep_s: float, purge: bool = False, keep_indexes: Callable[[], object] | None = None) -> None:
        """Merge small files, add new rows to indexes and delete versions older than `keep_s` seconds.

        Files that a writer has not committed yet are kept: only those older than a week count as leftovers. If another
        process writes to the table at the same time, the table stays as it is until the next call.

        Args:
            keep_s: With 0, what a migration kept of the table is deleted as well; see `store_format`.
            purge: Remove all deleted rows from files, not only from files of which they are a tenth or more.
            keep_indexes: Updates the indexes; Lance does when None.
        """
        try:
            self._tidy(keep_s, purge, keep_indexes)
        except OSError as error:
            if not is_conflict(error):
                raise
            log.info("another process writes to table %s; it is compacted next time", self.name)

    def _tidy(self, keep_s: float, purge: bool, keep_indexes: Callable[[], object] | None) -> None:
        dataset = self.open_for_writing()
        if keep_s <= 0:
            for tag in filter(is_backup_tag, dataset.tags.list()):
                dataset.tags.delete(tag)
        dataset.optimize.compact_files(
            target_rows_per_fragment=FRAGMENT_ROWS,
            materialize_deletions_threshold=0.0 if purge else 0.1,
            num_threads=2,
        )
        if keep_indexes is not None:
            keep_indexes()
        elif dataset.describe_indices():
            self.open_for_writing().optimize.optimize_indices()
        self.open_for_writing().cleanup_old_versions(
            dt.timedelta(seconds=keep_s), delete_unverified=False, error_if_tagged_old_versions=False
        )


def repeated_rows(keys: pa.ChunkedArray) -> NDArray[np.int64]:
    """The rows whose keys may be there several times, ascending; none where all are there once.

    Keys of 32 characters, as digests are, are told apart by a number of 64 bits: a twentieth of the time.
    """
    texts = keys.combine_chunks()
    if (
        not len(texts)
        or not pa.types.is_string(texts.type)
        or pc.any(pc.not_equal(pc.binary_length(texts), 32)).as_py()
    ):
        return np.empty(0, np.int64) if len(keys.unique()) == len(keys) else np.arange(len(keys))
    parts = np.frombuffer(texts.buffers()[2], np.uint64)[4 * texts.offset :][: 4 * len(texts)].reshape(-1, 4)
    numbers = parts @ np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 1], np.uint64)
    order = np.argsort(numbers)
    same = numbers[order[1:]] == numbers[order[:-1]]
    return np.unique(np.concatenate([order[1:][same], order[:-1][same]]))
