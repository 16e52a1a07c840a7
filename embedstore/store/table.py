"""The few things that every table of a store needs of Lance."""

import copy
import datetime as dt
import logging
import random
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import lance
import pyarrow as pa
import pyarrow.compute as pc

from embedstore.errors import StoreError, StoreNotFoundError
from embedstore.store.schema import LANCE_COLUMNS, unusable_columns

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Lance keeps up to 6 GiB of index cache a dataset unless set otherwise; many actors share a machine.
INDEX_CACHE_BYTES = 256 << 20
METADATA_CACHE_BYTES = 64 << 20


#: Files are merged up to so many rows. Lance unpacks a column of one value, such as the edge of tiles, a whole file at
#: a time to read one row: 1.8 ms at 1,000,000 rows, 0.4 at 250,000, in a search of 6.
FRAGMENT_ROWS = 250_000
#: Tries of a commit that another writer was quicker than; the pauses between them add up to about half a minute.
COMMIT_TRIES = 20
LONGEST_PAUSE_S = 4.0


def is_conflict(error: Exception) -> bool:
    """Whether Lance refused a commit because another came first."""
    return any(word in f"{type(error).__name__} {error}".lower() for word in ("conflict", "concurrent writers"))


def until_committed(commit: Callable[[], T]) -> T:
    """What `commit` returns; it is called again, after a pause, where another writer was quicker."""
    for attempt in range(COMMIT_TRIES):
        try:
            return commit()
        except OSError as error:
            if not is_conflict(error) or attempt == COMMIT_TRIES - 1:
                raise
            time.sleep(random.uniform(0, min(0.01 * 2**attempt, LONGEST_PAUSE_S)))
    raise AssertionError("the last attempt returns or raises")


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Table:
    """A table of a store, by name; it may not exist yet."""

    def __init__(self, store_uri: str, name: str):
        self.name, self._store_uri = name, store_uri
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
        """The newest version; of a pinned table, always the same."""
        if self._open is None:
            try:
                dataset = lance.dataset(
                    self.uri,
                    index_cache_size_bytes=INDEX_CACHE_BYTES,
                    metadata_cache_size_bytes=METADATA_CACHE_BYTES,
                )
            except (ValueError, OSError) as error:
                if "not found" not in str(error).lower():
                    raise
                raise StoreNotFoundError(
                    f"no table {self.name!r} at {self.uri}; `embedstore ls` shows what is there"
                ) from error
            self._open = self._checked(dataset)
        elif not self._pinned:
            # Not `checkout_latest`: that changes the dataset in place, and Lance refuses while another thread reads it.
            newest = self._open.latest_version
            if newest != self._open.version:
                self._open = self._checked(self._open.checkout_version(newest))
        return self._open

    def _checked(self, dataset: lance.LanceDataset) -> lance.LanceDataset:
        """Raise StoreError where Lance would fail on the name of a column: an older version wrote any name."""
        if unusable := unusable_columns(dataset.schema.names):
            options = " ".join(f"--column {shlex.quote(name)}" for name in unusable)
            raise StoreError(
                f"table {self.uri} cannot be read, because of the name of its column(s) "
                f"{', '.join(map(repr, unusable))}; `embedstore rm {options} --store {shlex.quote(self._store_uri)}` "
                "takes them out, and nothing else"
            )
        return dataset

    def column_names(self) -> list[str]:
        """Its columns, also where one of them keeps it from being read."""
        return list(lance.dataset(self.uri).schema.names)

    def drop_columns(self, names: Sequence[str]) -> None:
        """Take columns out, also those that keep the table from being read."""
        dataset = lance.dataset(self.uri)
        by_lance = [name for name in names if name in LANCE_COLUMNS or not unusable_columns([name])]
        if by_lance:
            dataset.drop_columns(by_lance)
        if len(by_lance) < len(names):  # Lance does not find these by name; nor can anybody write meanwhile
            kept = dataset.to_table(columns=[name for name in dataset.schema.names if name not in names])
            lance.write_dataset(kept, self.uri, mode="overwrite")
        self._open = None

    def pinned(self) -> "Table":
        """The table as it is now, to be read alone: for several reads that belong together."""
        return self._pinned_at(self.open())

    def _pinned_at(self, dataset: lance.LanceDataset) -> "Table":
        table = copy.copy(self)
        table._open, table._pinned = dataset, True
        return table

    def open_for_writing(self) -> lance.LanceDataset:
        """The newest version for the caller alone, to be changed: what changes a dataset shuts out its readers."""
        dataset = self.open()
        return dataset.checkout_version(dataset.version)

    def create(self, schema: pa.Schema) -> lance.LanceDataset:
        """Open the table; where there is none, make an empty one. Safe to race: one creator wins.

        A table that an older version made gets the columns that it lacks, empty.
        """
        if not self.exists():
            try:
                # Not `write_dataset`: where another process makes the table meanwhile, that overwrites it.
                empty = lance.LanceOperation.Overwrite(schema, [])
                lance.LanceDataset.commit(self.uri, empty, read_version=0, max_retries=0)
            except OSError:
                if not self.exists():
                    raise
        self.add_columns(lambda stored: [field for field in schema if field.name not in stored.names])
        return self.open()

    def add_columns(self, lacking: Callable[[pa.Schema], Sequence[pa.Field]]) -> None:
        """Add columns, empty.

        Args:
            lacking: Called with the schema of the newest version, again where another writer was quicker.
        """

        def add() -> None:
            dataset = self.open_for_writing()
            if fields := lacking(dataset.schema):
                dataset.add_columns(pa.schema(fields))

        until_committed(add)

    def upsert(self, key: str, rows: Sequence[dict[str, Any]] | pa.Table) -> None:
        """Insert rows, or replace those with the same key, whatever they hold now; see `revise`.

        A row whose key comes twice counts by its last.
        """
        self.revise(key, lambda _: rows)

    def revise(self, key: str, rows_of: Callable[["Table"], Sequence[dict[str, Any]] | pa.Table]) -> int:
        """Insert rows, or replace those with the same key, by what the table holds now.

        Nothing that another writes meanwhile is lost: the rows are made again, from what it wrote, where it changed one
        of them, inserted one of the same key, or added a column. The key is an unenforced primary key, by which Lance
        tells that; an index on it would undo that in silence, hence `use_index(False)`.

        Args:
            rows_of: Called with the table as it is, pinned; again where another writer was quicker.
        Returns:
            Number of rows.
        """

        def merge() -> int:
            dataset = self.open_for_writing()
            rows = rows_of(self._pinned_at(dataset))
            table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=dataset.schema)
            if table.num_rows == 0:
                return 0
            last = {value: i for i, value in enumerate(table.column(key).to_pylist())}
            if len(last) < table.num_rows:
                table = table.take(sorted(last.values()))
            builder = dataset.merge_insert(key).when_matched_update_all().when_not_matched_insert_all()
            builder.use_index(False).conflict_retries(0).execute(table)  # a retry of Lance's would overwrite
            return len(last)

        return until_committed(merge)

    def without(self, filter_sql: str) -> tuple[list[int], list[lance.FragmentMetadata]]:
        """Mark rows as deleted, uncommitted: ids of fragments that have none left, and fragments that have fewer."""
        gone, thinned = [], []
        for fragment in self.open().get_fragments():
            # Not `fragment.count_rows`: with pylance 14.0.2 it waits for ever while another thread reads the table.
            if fragment.scanner(columns=[], with_row_id=True, filter=filter_sql).count_rows():
                left = fragment.delete(filter_sql)
                if left is None:
                    gone.append(fragment.fragment_id)
                else:
                    thinned.append(left)
        return gone, thinned

    def delete(self, filter_sql: str) -> None:
        """Delete rows without leaving their names behind: Lance's own `delete` keeps the filter in its history."""

        def deletion() -> lance.LanceOperation.BaseOperation | None:
            gone, thinned = self.without(filter_sql)
            return lance.LanceOperation.Delete(thinned, gone, predicate="removed") if gone or thinned else None

        self._commit(deletion)

    def replacement(
        self, filter_sql: str | None, fragments: list[lance.FragmentMetadata]
    ) -> lance.LanceOperation.BaseOperation:
        """One transaction that takes rows out and puts new fragments in, uncommitted.

        Lance refuses to commit it where another writer changed the same rows first.
        """
        gone, thinned = self.without(filter_sql) if filter_sql else ([], [])
        return lance.LanceOperation.Update(
            removed_fragment_ids=gone, updated_fragments=thinned, new_fragments=fragments, fields_modified=[]
        )

    def replace(self, filter_sql: str | None, fragments: list[lance.FragmentMetadata]) -> None:
        """Put new fragments in the place of rows, at once; tried again where another writer was quicker.

        Two of these at the same time may both add rows that neither saw: only the holder of the table's lease calls it.
        """
        self._commit(lambda: self.replacement(filter_sql, fragments))

    def _commit(self, operation: Callable[[], lance.LanceOperation.BaseOperation | None]) -> None:
        """Commit what `operation` makes of the newest version; it is made again where another writer was quicker.

        Args:
            operation: Returns None where there is nothing to commit.
        """

        def commit() -> None:
            version = self.open().version
            planned = operation()
            if planned is not None:
                lance.LanceDataset.commit(self.uri, planned, read_version=version)

        until_committed(commit)

    def overwrite(self, schema: pa.Schema, fragments: list[lance.FragmentMetadata]) -> None:
        """Make the table of these fragments alone, in one version, whatever it held and whether or not it was there."""
        lance.LanceDataset.commit(self.uri, lance.LanceOperation.Overwrite(schema, fragments))

    def drop(self) -> None:
        """Delete the table with its history; where there is none, do nothing."""
        if self.exists():
            self._open = None
            lance.LanceDataset.drop(self.uri)

    def counts(self, column: str) -> dict[str, int]:
        """Rows of each value of a text column, in the order in which values first come."""
        counts: dict[str, int] = {}
        for batch in self.open().to_batches(columns=[column], batch_size=1 << 20):
            for entry in pc.value_counts(batch.column(0)).to_pylist():
                counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
        return counts

    def rows(self, *, where: str | None = None, columns: list[str] | None = None) -> list[dict[str, Any]]:
        if not self.exists():
            return []
        return self.open().to_table(filter=where, columns=columns).to_pylist()

    def tidy(self, *, keep_s: float, purge: bool = False, keep_indexes: Callable[[], object] | None = None) -> None:
        """Merge small files, take new rows into indexes and forget versions older than `keep_s` seconds.

        How indexes are kept up is Lance's choice, or that of `keep_indexes`. Files that a writer has yet to commit are
        left alone: only week-old ones count as leftovers. With `purge`, deleted rows leave the files too, however few
        they are; otherwise once they are a tenth of a file.
        Where another process writes to the table at that moment, the tidying is left to the next time.
        """
        try:
            self._tidy(keep_s, purge, keep_indexes)
        except OSError as error:
            if not is_conflict(error):
                raise
            log.info("table %s is being written to; it is tidied another time", self.name)

    def _tidy(self, keep_s: float, purge: bool, keep_indexes: Callable[[], object] | None) -> None:
        dataset = self.open_for_writing()
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
