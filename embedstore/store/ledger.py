"""The ledger: one row a slide that describes it, and one row a slide and collection with its outcome there.

The rows of a collection say which slides are done. The ledger explains the others (no tissue, unreadable, no
resolution) and can be rebuilt from the collections.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from embedstore.errors import SlideListError, SlideNotInStoreError, StoreError, StoreNotFoundError
from embedstore.store.ledger_rows import Outcome, Scalar, SlideRow, State
from embedstore.store.schema import LANCE_COLUMNS, OUTCOMES, SLIDES, unusable_columns
from embedstore.store.sql import sql_in, sql_string
from embedstore.store.store_format import stated_format, statement
from embedstore.store.table import Caches, Table, now
from embedstore.typed_values import close_names

#: The table `slides` states the format of the store.
_SLIDES = SLIDES.with_metadata(statement())
#: Selections of slides' columns that are cached between searches: those of filters, and those that are shown.
KEPT_TABLES = 4
#: Prefix of the warning that a slide's views could not be made; the next outcome of the slide drops it.
NO_VIEWS = "without views: "


class Ledger:
    """The two tables `slides` and `outcomes` of a store."""

    def __init__(self, store_uri: str, caches: Caches | None = None):
        self._uri = store_uri
        self._slides = Table(store_uri, "slides", caches)
        self._outcomes = Table(store_uri, "outcomes", caches)
        self._positions: tuple[pa.Table | None, Mapping[str, int]] = None, {}  # of the table that was asked for last
        self._kept_slides: tuple[int, dict[tuple[str, ...], pa.Table]] = -1, {}  # of a version, by columns
        self._kept_ids: tuple[pa.Table | None, frozenset[str]] = None, frozenset()  # of that table
        self._only: frozenset[str] | None = None  # slides that are read; all when None

    def create(self) -> None:
        self._slides.create(_SLIDES)
        self._outcomes.create(OUTCOMES)

    def check_format(self) -> None:
        """Raise StoreFormatError if a newer version wrote the store."""
        stated_format(self._slides.stored_metadata(), self._uri)

    # -- reading ----------------------------------------------------------------------------

    def of_slides(self, slides: Set[str]) -> "Ledger":
        """The ledger as if the store had only some of its slides; for reading slides, not outcomes."""
        ledger = copy.copy(self)
        ledger._only, ledger._kept_slides = frozenset(slides), (0, {})
        return ledger

    def slides(self) -> list[SlideRow]:
        """Every slide, by id."""
        rows = sorted(self._slides.rows(), key=lambda row: row["slide_id"])
        return [SlideRow.from_record(row) for row in rows if self._has(row["slide_id"])]

    def _has(self, slide_id: str) -> bool:
        return self._only is None or slide_id in self._only

    def slide(self, slide_id: str) -> SlideRow | None:
        """One slide; None if the store does not have it."""
        if not self._has(slide_id):
            return None
        rows = self._slides.rows(where=f"slide_id = {sql_string(slide_id)}")
        return SlideRow.from_record(rows[0]) if rows else None

    def slide_ids(self) -> frozenset[str]:
        """Ids of all slides; read again only if the ledger has changed."""
        table = self.slide_table(["slide_id"])
        known, ids = self._kept_ids
        if known is not table:
            ids = frozenset(table["slide_id"].to_pylist())
            self._kept_ids = table, ids
        return ids

    def patients(self) -> dict[str, str | None]:
        """{slide: its patient} of every slide; None for an unknown patient."""
        table = self.slide_table(["slide_id", "patient"])
        return dict(zip(table["slide_id"].to_pylist(), table["patient"].to_pylist(), strict=True))

    def slide_schema(self) -> pa.Schema:
        """The columns of slides, including the user's own."""
        try:
            return self._slides.open().schema
        except StoreNotFoundError:
            return SLIDES

    def version(self) -> int:
        """A number that changes with the table of slides."""
        return self._slides.open().version if self._slides.exists() else 0

    def slide_table(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of all slides as an Arrow table; read again only if the ledger has changed."""
        try:
            dataset = self._slides.open()
        except StoreNotFoundError:
            return SLIDES.empty_table().select(list(columns))
        version, kept = self._kept_slides
        if version != dataset.version:
            kept = {}
            self._kept_slides = dataset.version, kept
        table = kept.get(tuple(columns))
        if table is None:
            if len(kept) >= KEPT_TABLES:
                kept.clear()
            table = kept[tuple(columns)] = self._slide_table(dataset, list(columns))
        return table

    def _slide_table(self, dataset: lance.LanceDataset, columns: list[str]) -> pa.Table:
        if self._only is None:
            return dataset.to_table(columns=columns)
        table = dataset.to_table(columns=list(dict.fromkeys(["slide_id", *columns])))
        only = pa.array(sorted(self._only), pa.string())
        return table.filter(pc.is_in(table["slide_id"], value_set=only)).select(columns)

    def slide_positions(self, columns: Sequence[str]) -> tuple[pa.Table, Mapping[str, int]]:
        """`slide_table` with `slide_id`, and the row of each slide in it."""
        table = self.slide_table(columns)
        if self._positions[0] is not table:
            self._positions = table, {slide: row for row, slide in enumerate(table["slide_id"].to_pylist())}
        known, positions = self._positions
        return (table, positions) if known is table else self.slide_positions(columns)

    def outcomes(
        self,
        *,
        collection: str | None = None,
        states: Sequence[State] = (),
        slide_id: str | None = None,
        slide_ids: Sequence[str] = (),
    ) -> list[Outcome]:
        """The outcomes of slides, sorted by collection and slide.

        Args:
            collection: Only of this collection.
            states: Only of these states; of all when empty.
            slide_id: Only of this slide.
            slide_ids: Only of these slides; of all when empty.
        """
        clauses = []
        if collection is not None:
            clauses.append(f"collection = {sql_string(collection)}")
        if states:
            clauses.append(sql_in("state", states))
        if slide_id is not None:
            clauses.append(f"slide_id = {sql_string(slide_id)}")
        if slide_ids:
            clauses.append(sql_in("slide_id", slide_ids))
        rows = self._outcomes.rows(where=" AND ".join(clauses) or None)
        return [Outcome.from_record(row) for row in sorted(rows, key=lambda row: (row["collection"], row["slide_id"]))]

    def outcome_table(self, collection: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of the outcomes of a collection, a row a slide, in no order."""
        try:
            dataset = self._outcomes.open()
        except StoreNotFoundError:
            return OUTCOMES.empty_table().select(list(columns))
        return dataset.to_table(columns=list(columns), filter=f"collection = {sql_string(collection)}")

    def slides_of_patient(self, patient: str) -> list[str]:
        rows = self._slides.rows(where=f"patient = {sql_string(patient)}")
        return [row["slide_id"] for row in rows if self._has(row["slide_id"])]

    def resolve_slides(self, *, slides: Sequence[str] = (), patients: Sequence[str] = ()) -> list[str]:
        """Ids of the given slides, and of all slides of the given patients, sorted.

        Raises:
            SlideNotInStoreError: one of them is not in the store.
        """
        ids = self.slide_ids()
        for slide_id in slides:
            if slide_id not in ids:
                raise SlideNotInStoreError(
                    f"no slide {slide_id!r} in {self._uri}{close_names(slide_id, ids)}; `embedstore status` lists them"
                )
        resolved = set(slides)
        for patient in patients:
            of_patient = self.slides_of_patient(patient)
            if not of_patient:
                raise SlideNotInStoreError(
                    f"no slide of patient {patient!r} in {self._uri}; `embedstore status` lists slides"
                )
            resolved.update(of_patient)
        return sorted(resolved)

    # -- writing ----------------------------------------------------------------------------

    def admit_columns(self, metadata: Iterable[Mapping[str, Scalar]]) -> None:
        """Add the user's columns to the table of slides, before any work.

        Raises:
            SlideListError: a column has a name that the store or Lance uses, or values of another type than before.
        """
        rows = list(metadata)
        if unusable := unusable_columns({name for row in rows for name in row}):
            raise SlideListError(
                f"the list of slides has column(s) {', '.join(map(repr, unusable))}; expected names with a letter, "
                f"without dots and back-ticks, and none of {', '.join(sorted(LANCE_COLUMNS))}; rename or remove them"
            )
        wanted: dict[str, pa.DataType] = {}
        for row in rows:
            for name, value in row.items():
                if value is not None and name != "patient":
                    wanted[name] = _wider(wanted.get(name), _arrow_type(value))
        self._slides.create(_SLIDES)
        reserved = sorted((set(SLIDES.names) - {"patient"}) & wanted.keys())
        if reserved:
            raise SlideListError(
                f"the list of slides has column(s) {', '.join(reserved)}, which the store fills itself; rename them"
            )

        def lacking(stored: pa.Schema) -> list[pa.Field]:
            known = set(stored.names)
            for name in sorted(wanted.keys() & known):
                have = stored.field(name).type
                if not all(_fits(row.get(name), have) for row in rows):
                    raise SlideListError(
                        f"column {name!r} of the list of slides has values of type {wanted[name]}; the store has "
                        f"{have} from earlier slides; convert or rename the column, or remove the store's with "
                        "`embedstore rm --column`"
                    )
            return [pa.field(name, wanted[name]) for name in sorted(wanted.keys() - known)]

        self._slides.add_columns(lacking)

    def drop_columns(self, names: Sequence[str]) -> None:
        """Remove columns of the user from the table of slides.

        Raises:
            StoreError: a column is one of the store's own, or there is none of that name.
        """
        known = self._slides.column_names()
        if own := sorted(set(names) & set(SLIDES.names)):
            raise StoreError(
                f"the column(s) {', '.join(own)} of slides are the store's own and cannot be removed; name columns "
                "that came from lists"
            )
        if missing := sorted(set(names) - set(known)):
            raise StoreError(
                f"slides have no column {', '.join(map(repr, missing))}; the columns from lists are "
                f"{', '.join(map(repr, sorted(set(known) - set(SLIDES.names)))) or 'none'}"
            )
        self._slides.drop_columns(names)

    def record(self, slides: Iterable[SlideRow], outcomes: Iterable[Outcome]) -> None:
        """Upsert slides and outcomes; a repeated call changes only `updated_at`.

        The user's columns for which a run has no value stay as they are: a slide may first come from a list that names
        its patient, and later from its folder. This also holds for values that another run writes at the same time.
        """
        slides, outcomes = list(slides), list(outcomes)
        if slides:
            self._slides.revise("slide_id", lambda table: _slide_records(table, slides))
        if outcomes:
            self._outcomes.revise("key", lambda table: _outcome_records(table, outcomes))

    def refresh(self, sources: Iterable[tuple[str, str, Mapping[str, Scalar]]]) -> int:
        """Update the paths and the user's columns of known slides from a list.

        Args:
            sources: (slide_id, path, metadata) of each slide; slides that the store does not have are skipped.
        Returns:
            Number of rows that changed.
        """
        sources = list(sources)
        return self._slides.revise("slide_id", lambda table: _refreshed_records(table, sources))

    def repair(self, collection: str, present: Mapping[str, int], run_id: str) -> int:
        """Write outcomes for slides whose rows were committed before a crash, and their outcomes not.

        Args:
            present: {slide: number of its rows in the collection}.
        Returns:
            Number of outcomes written.
        """
        outcomes = {outcome.slide_id: outcome for outcome in self.outcomes(collection=collection)}
        missing = [
            Outcome(
                collection=collection,
                slide_id=slide_id,
                path=outcomes[slide_id].path if slide_id in outcomes else "",
                state="done",
                tiles=tiles,
                run_id=run_id,
                warnings=("the run ended after it committed these rows; their times and reader are unknown",),
            )
            for slide_id, tiles in present.items()
            if slide_id not in outcomes or outcomes[slide_id].state != "done"
        ]
        ids = [outcome.slide_id for outcome in missing]
        self._slides.revise("slide_id", lambda table: _lacking_records(table, ids))
        self.record((), missing)
        return len(missing)

    def forget(self, slide_ids: Sequence[str], *, collection: str | None = None) -> None:
        """Delete outcomes of slides in one collection; without a collection, in all, and the slides' own rows too."""
        if not slide_ids:
            return
        chosen = sql_in("slide_id", slide_ids)
        if collection is not None:
            self._outcomes.delete(f"{chosen} AND collection = {sql_string(collection)}")
            return
        self._outcomes.delete(chosen)
        self._slides.delete(chosen)  # last: while it is there, whoever was interrupted can name the slide again

    def tidy(self, *, keep_s: float) -> None:
        for table in (self._slides, self._outcomes):
            table.tidy(keep_s=keep_s, purge=True)


def _slide_records(table: Table, slides: Sequence[SlideRow]) -> list[dict[str, Any]]:
    """The records of slides; the user's columns without a value keep the table's, of a slide without a file all do."""
    schema = table.open().schema
    users = {name for name in schema.names if name == "patient" or name not in SLIDES.names}
    stored = _stored(table, "slide_id", [slide.slide_id for slide in slides])
    records = []
    for slide in slides:
        record, before = slide.as_record() | {"updated_at": now()}, stored.get(slide.slide_id, {})
        kept = users if record["path"] else schema.names  # what the file is comes from the run, if it has one
        record |= {name: before.get(name) for name in kept if record.get(name) in (None, "")}
        records.append({name: _fit(record[name], schema.field(name).type) for name in schema.names})
    return records


def _outcome_records(table: Table, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The records of outcomes; one with `views_error` only adds a warning to the stored record."""
    written = now()
    records = [outcome.as_record() | {"updated_at": written} for outcome in outcomes if outcome.views_error is None]
    errors = {outcome.key: outcome.views_error for outcome in outcomes if outcome.views_error is not None}
    for key, record in _stored(table, "key", list(errors)).items():
        others = [warning for warning in record["warnings"] or () if not warning.startswith(NO_VIEWS)]
        records.append({**record, "warnings": [*others, f"{NO_VIEWS}{errors[key]}"], "updated_at": written})
    return records


def _refreshed_records(table: Table, sources: Sequence[tuple[str, str, Mapping[str, Scalar]]]) -> list[dict[str, Any]]:
    schema, stored = table.open().schema, {record["slide_id"]: record for record in table.rows()}
    changed = []
    for slide_id, path, metadata in sources:
        record = stored.get(slide_id)
        if record is None:
            continue
        given = {name: value for name, value in {"path": path or None, **metadata}.items() if value is not None}
        new = {name: _fit(value, schema.field(name).type) for name, value in given.items()}
        if any(record[name] != value for name, value in new.items()):
            changed.append({**record, **new, "updated_at": now()})
    return changed


def _lacking_records(table: Table, slide_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Records of the slides that are not in the table; only their ids are known."""
    stored = _stored(table, "slide_id", slide_ids)
    lacking = [SlideRow(slide_id=slide_id, path="", kind="wsi") for slide_id in slide_ids if slide_id not in stored]
    return _slide_records(table, lacking)


def _stored(table: Table, key: str, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{key: its record} for those of some keys that are in the table."""
    return {record[key]: record for record in table.rows(where=sql_in(key, keys))} if keys else {}


def _arrow_type(value: Scalar) -> pa.DataType:
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64()
    return pa.float64() if isinstance(value, float) else pa.string()


def _wider(one: pa.DataType | None, other: pa.DataType) -> pa.DataType:
    if one is None or one == other:
        return other
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    return pa.string()


def _fits(value: Scalar, kind: pa.DataType) -> bool:
    """Whether a column of the store can hold a value without loss."""
    if value is None or pa.types.is_string(kind):
        return True
    if isinstance(value, bool) or pa.types.is_boolean(kind):
        return isinstance(value, bool) and pa.types.is_boolean(kind)
    return not isinstance(value, str) and (pa.types.is_floating(kind) or float(value).is_integer())


def _fit(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer() and not pa.types.is_floating(kind):
        value = int(value)
    if pa.types.is_string(kind):
        return str(value)
    return float(value) if pa.types.is_floating(kind) else value
