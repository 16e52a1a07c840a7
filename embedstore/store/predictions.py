"""The predictions of a head, in a table of their own: writing them never blocks an ingest."""

import datetime as dt
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from lance import FragmentMetadata
from lance.fragment import write_fragments

from embedstore.errors import CommitError, ConfigError, PredictionsExistError, PredictionsNotFoundError
from embedstore.store.derived_table import DerivedTable
from embedstore.store.prediction_schema import PredictionFacts, predictions_schema, read_facts
from embedstore.store.schema import check_collection_name
from embedstore.store.sql import sql_in
from embedstore.store.stored_models import Heads

log = logging.getLogger(__name__)

PredictionKind = Literal["predictions", "attention"]
KINDS: tuple[PredictionKind, ...] = ("predictions", "attention")
#: Rows that are collected before they are written as a fragment: about 20 MB for tiles and two classes.
FRAGMENT_ROWS = 250_000
#: A table with more fragments than this is compacted: each run on a new slide leaves one.
TIDY_FRAGMENTS = 64
#: Compaction keeps versions younger than this, seconds: readers may still use them.
TIDY_KEEP_S = 3600.0


class Predictions(DerivedTable):
    """The table of what a head predicted for tiles, slides or patients, or of its attention; it may not exist yet.

    Args:
        store_uri: The store.
        head: The head's name.
        kind: `predictions`, or `attention`: the weight that a head for slides or patients gave to each tile.
    """

    def __init__(self, store_uri: str, head: str, *, kind: PredictionKind = "predictions"):
        self.head, self.kind = check_collection_name(head, noun="head"), kind
        super().__init__(store_uri, f"{kind}-{head}")

    def __len__(self) -> int:
        self._require()
        return self._table.open().count_rows()

    def facts(self) -> PredictionFacts:
        """Which head made the rows, and from what.

        Raises:
            PredictionsNotFoundError: there is no such table, or it is of an earlier head of that name.
        """
        self._require()
        return self._facts()

    def _facts(self) -> PredictionFacts:
        """The facts of a table that exists, whatever the head is by now."""
        return read_facts(self._table.open().schema, self.name)

    def is_there(self) -> bool:
        """Whether there are predictions of the head as it is now: those of one that was replaced do not count."""
        return self.exists() and not self._is_outdated()

    def _is_outdated(self) -> bool:
        """Whether the store has another head of that name than the one that made the rows."""
        digest = Heads(self._store_uri).digest(self.head)
        return digest is not None and digest != self._facts().head_digest

    def is_of(self, collection: str) -> bool:
        """Whether the rows are of that collection, whatever the head is by now."""
        return self.exists() and self._facts().collection == collection

    def schema(self) -> pa.Schema:
        """The columns; errors as in `facts`."""
        self._require()
        return self._table.open().schema

    def written_at(self) -> dt.datetime | None:
        """When the table was last written, UTC; None where there is none."""
        return self._table.written_at() if self.exists() else None

    # -- reading ----------------------------------------------------------------------------

    def table(
        self,
        *,
        where: str | None = None,
        slides: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Rows as an Arrow table; arguments and errors as in `batches`."""
        batches = list(self.batches(where=where, slides=slides, columns=columns))
        schema = self._table.open().schema
        return pa.Table.from_batches(
            batches, pa.schema([schema.field(name) for name in columns]) if columns else schema
        )

    def batches(
        self,
        *,
        where: str | None = None,
        slides: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Rows in the order in which they were written, a batch at a time.

        Args:
            where: SQL over the table's columns, such as "p_tumour > 0.9".
            slides: Only rows of these slides; of all when None.
            columns: Columns of the result; all when None.
        Raises:
            PredictionsNotFoundError: as in `facts`.
            ConfigError: `where` cannot be understood.
        """
        self._require()
        clauses = [] if where is None else [f"({where})"]
        if slides is not None:
            clauses.append(sql_in("slide_id", slides) if slides else "false")
        dataset = self._table.open()
        wanted = None if columns is None else list(columns)
        try:
            yield from dataset.to_batches(filter=" AND ".join(clauses) or None, columns=wanted)
        except ValueError as error:
            if where is None:
                raise
            raise ConfigError(
                f"predictions of head {self.head!r} cannot be filtered by {where!r}: {str(error).split(', /')[0]}; "
                f"the columns are {', '.join(dataset.schema.names)}"
            ) from error

    def _require(self) -> None:
        if not self.exists():
            what = "predictions" if self.kind == "predictions" else "stored attention"
            raise PredictionsNotFoundError(
                f"head {self.head!r} has no {what} in {self._store_uri}; "
                f"`embedstore predict --head {self.head}` makes them"
            )
        if self._is_outdated():
            raise PredictionsNotFoundError(
                f"the {self.kind} of head {self.head!r} in {self._store_uri} are of an earlier head of that name, "
                f"which was replaced since; `embedstore predict --head {self.head}` makes those of this one"
            )

    # -- writing ----------------------------------------------------------------------------

    def require_one_collection(self, facts: PredictionFacts, slides: Iterable[str]) -> None:
        """Raise PredictionsExistError if rows of another collection would stand beside those of these slides.

        Tiles of two collections are cut in two ways, and may have the same ids.
        """
        if not self.exists() or not (held := self._facts()).only_collection_differs(facts):
            return
        if self.slides().keys() - set(slides):
            raise PredictionsExistError(
                f"head {self.head!r} has predictions of collection {held.collection!r}, of other slides than these; "
                f"beside them there can be none of collection {facts.collection!r}, as a head has predictions of one "
                "collection at a time; export them if you want to keep them, and then `embedstore predict --head "
                f"{self.head} --collection {facts.collection} --replace` replaces them"
            )

    def write(
        self,
        facts: PredictionFacts,
        batches: Iterable[pa.RecordBatch],
        *,
        slides: Sequence[str],
        replace: bool = False,
    ) -> int:
        """Replace the rows of some slides; other slides keep theirs.

        Fragments are written as batches arrive, and are all committed at once. If the table holds predictions of
        another version of the head, all of its rows are replaced. So is attention of another collection: it follows
        the predictions.

        Args:
            facts: Which head made the rows, and from what.
            batches: Rows, as `tile_batch`, `slide_batch` and `attention_batch` make them.
            slides: The slides that were predicted, including those without rows.
            replace: Replace the rows of all slides, of whatever collection.
        Returns:
            Number of rows written.
        Raises:
            PredictionsExistError: the table has predictions of other slides from another collection.
            StoreBusyError: another process is writing to the table.
            CommitError: a batch has rows of a slide that is not in `slides`; nothing was committed.
        """
        schema = predictions_schema(facts, attention=self.kind == "attention")
        with self.lease() as lease:
            if not replace and self.kind == "predictions":
                self.require_one_collection(facts, slides)
            replaced = None if replace else self._replaced(facts, set(slides))
            if replaced is not None:
                schema = self._table.open().schema  # with the facts as they were first written
            fragments, rows = self._write_fragments(batches, schema, set(slides), new=replaced is None)
            lease.check()
            if replaced is None:
                self._table.overwrite(schema, fragments)
            elif fragments or replaced:
                self._table.replace(sql_in("slide_id", replaced) if replaced else None, fragments)
            if len(self._table.open().get_fragments()) > TIDY_FRAGMENTS:
                self._table.tidy(keep_s=TIDY_KEEP_S)
        return rows

    def _replaced(self, facts: PredictionFacts, slides: set[str]) -> list[str] | None:
        """Which of the slides have rows to replace; None if the whole table is to be replaced."""
        if not self.exists():
            return None
        stored = self.slides()
        held = self._facts()
        if held.only_collection_differs(facts):
            return None
        if not held.same_head(facts):
            log.warning(
                "%s of %d slide(s) by another version of head %s (%s) are replaced",
                self.kind, len(stored), self.head, held.head_digest,
            )  # fmt: skip
            return None
        return None if stored.keys() <= slides else sorted(stored.keys() & slides)

    def _write_fragments(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, slides: set[str], *, new: bool
    ) -> tuple[list[FragmentMetadata], int]:
        """Write rows as uncommitted fragments of a bounded size; return the fragments and the number of rows."""
        fragments: list[FragmentMetadata] = []
        held: list[pa.RecordBatch] = []
        rows = waiting = 0

        def flush() -> None:
            nonlocal waiting
            table = pa.Table.from_batches(held, schema)
            mode = "append" if not new else "overwrite" if self.exists() else "create"
            fragments.extend(write_fragments(table, self._table.uri, schema=schema, mode=mode))
            held.clear()
            waiting = 0

        for batch in batches:
            self._check_slides(batch, slides)
            columns = [batch.column(each.name).cast(each.type) for each in schema]
            held.append(pa.RecordBatch.from_arrays(columns, schema=schema))
            rows, waiting = rows + batch.num_rows, waiting + batch.num_rows
            if waiting >= FRAGMENT_ROWS:
                flush()
        if waiting:
            flush()
        return fragments, rows

    def _check_slides(self, batch: pa.RecordBatch, slides: set[str]) -> None:
        unexpected = sorted(set(pc.unique(batch.column("slide_id")).to_pylist()) - slides)
        if unexpected:
            raise CommitError(
                f"{self.kind} of head {self.head!r}: a batch has rows of {len(unexpected)} slide(s) that were not "
                f"given, such as {unexpected[0]!r}; expected only rows of the {len(slides)} slide(s) given; nothing "
                "was committed"
            )


def predicted_heads(table_names: Iterable[str], kind: PredictionKind = "predictions") -> list[str]:
    """The heads that have a table of that kind."""
    return sorted(name.removeprefix(f"{kind}-") for name in table_names if name.startswith(f"{kind}-"))
