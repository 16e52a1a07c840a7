"""Labels: which class a place, a slide or a patient is of, and who says so. They belong to places, not to tiles."""

import copy
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.errors import LabelError, TaskNotFoundError
from embedstore.store.label import INGEST, Kind, Label, label_rows, last_of_key, place_codes, statement_rows
from embedstore.store.label_changes import (
    LabelChange,
    Planner,
    changes_of,
    new_change,
    no_change,
    plan_addition,
    plan_replacement,
    plan_undo,
    plan_withdrawal,
    plan_withdrawal_at,
    recorded_rows,
    undone_changes,
    with_all_columns,
    written_rows,
)
from embedstore.store.schema import LABEL_CHANGES, LABEL_ROWS, LABELS
from embedstore.store.sql import sql_in, sql_string
from embedstore.store.table import Caches, Table

#: Slides and keys that a filter names; for more, all labels of the task are read.
MOST_NAMED = 500
#: A table of more fragments than this is compacted: each change leaves one.
TIDY_FRAGMENTS = 64
#: Compaction keeps versions younger than this, seconds: readers may still use them.
TIDY_KEEP_S = 3600.0


class Labels:
    """The table `labels` of a store."""

    def __init__(self, store_uri: str, caches: Caches | None = None):
        self._table = Table(store_uri, "labels", caches)
        self._only: tuple[pa.Array, pa.Array] | None = None  # slides and patients; all when None

    def of_slides(self, slides: Set[str], patients: Set[str]) -> "Labels":
        """The labels of some slides, and of some patients as a whole, as if there were no others."""
        labels = copy.copy(self)
        labels._only = pa.array(sorted(slides), pa.string()), pa.array(sorted(patients), pa.string())
        return labels

    def _rows(
        self, table: Table, where: str, columns: Sequence[str] = LABEL_ROWS.names, *, standing: bool = False
    ) -> pa.Table:
        """Rows of a version of the table, whether this version or an older one made it."""
        dataset = table.open()
        if standing and "withdrawn_change" in dataset.schema.names:
            where = " AND ".join(filter(None, [where, "withdrawn_change IS NULL"]))
        about = [] if self._only is None else ["slide_id", "patient"]
        present = [name for name in dict.fromkeys([*columns, *about]) if name in dataset.schema.names]
        rows = dataset.to_table(filter=where or None, columns=present)
        if self._only is not None:
            slides, patients = self._only
            whole = pc.and_(pc.is_null(rows["slide_id"]), pc.is_in(rows["patient"], value_set=patients))
            rows = rows.filter(pc.or_(pc.is_in(rows["slide_id"], value_set=slides), whole))
        return with_all_columns(rows, columns)

    # -- changing ---------------------------------------------------------------------------

    def record(self, labels: Iterable[Label]) -> None:
        """Write labels of ingest; those with the same key are replaced, and what people withdrew stays withdrawn."""
        rows = last_of_key(label_rows(list(labels)))
        if not len(rows):
            return
        self._table.create(LABEL_ROWS)

        def rows_of(table: Table) -> pa.Table:
            withdrawn = self._rows(table, f"withdrawn_change IS NOT NULL AND author = {sql_string(INGEST)}")
            position = pc.index_in(rows.column("key"), value_set=withdrawn.column("key").combine_chunks())
            again = pc.equal(rows.column("label"), withdrawn.column("label").take(position))
            return recorded_rows(withdrawn, rows.filter(pc.invert(pc.fill_null(again, False))))

        self._table.revise("key", rows_of)

    def add(self, task: str, labels: Sequence[Label] | pa.Table, *, author: str) -> LabelChange:
        """Add labels that an author gives without a file, in one change; what they replace is withdrawn by it.

        An author has at most one such label of a task at one place. A label that says what an older one of the author
        says of its place changes nothing.

        Args:
            labels: All of this task and author, without a source; labels, or rows of LABELS.
        Returns:
            The change; its id is None where it changes nothing.
        Raises:
            LabelError: two of the labels give one place different classes; nothing is added.
        """
        rows = label_rows(labels)
        _require_of(rows, task, author, sources=("",))
        where = f"{_where(task=task, author=author)}{_on_slides(rows)}"
        return self._change(where, plan_addition(rows), new_change(task, author))

    def replace(
        self, task: str, labels: Sequence[Label] | pa.Table, *, author: str, sources: Sequence[str]
    ) -> LabelChange:
        """Replace the labels that an author had from some files for a task by those that the files hold now.

        Labels that the files do not hold any more are withdrawn by the same change: it is made as a whole or not at
        all.

        Args:
            labels: All of this task, author and of these sources; labels, or rows of LABELS.
        """
        rows = last_of_key(label_rows(labels))
        _require_of(rows, task, author, sources=sources)
        if not sources:
            return replace(new_change(task, author), id=None)
        where = f"{_where(task=task, author=author)} AND {sql_in('source', sources)}"
        return self._change(where, plan_replacement(rows), new_change(task, author))

    def withdraw(self, task: str, keys: Sequence[str], *, author: str, of: str | None = None) -> LabelChange:
        """Withdraw labels by their keys.

        Args:
            author: Who withdraws them.
            of: Whose labels they are, EVERYONE for anybody's; the author's own when None.
        Raises:
            LabelError: one of them does not stand, or is somebody else's; nothing is withdrawn.
        """
        keys = list(dict.fromkeys(keys))
        where = _where(task=task) + (f" AND {sql_in('key', keys)}" if len(keys) <= MOST_NAMED else "")
        plan = plan_withdrawal(keys, author=author, of=of or author)
        return self._change(where if keys else "false", plan, new_change(task, author))

    def withdraw_at(
        self, task: str, places: Sequence[Label] | pa.Table, *, author: str, of: str | None = None
    ) -> LabelChange:
        """Withdraw the labels at some places, as far as there are any.

        Args:
            places: Labels, or rows of LABELS, of which only what they are about counts.
            author, of: See `withdraw`.
        Raises:
            LabelError: nobody, or only somebody else, has a label there.
        """
        rows = places if isinstance(places, pa.Table) else statement_rows(places)
        where = f"{_where(task=task)}{_on_slides(rows)}"
        return self._change(where, plan_withdrawal_at(rows, author=author, of=of or author), new_change(task, author))

    def undo(self, task: str, change: str | None = None, *, author: str) -> LabelChange:
        """Undo a change: withdraw what it added, and add again what it withdrew.

        To undo is a change too, so an undo can be undone.

        Args:
            change: Its id; the author's last change that is not undone, and is not an undo itself, when None.
            author: Who undoes it.
        Raises:
            LabelError: there is no such change, it is undone, or a later one is about the same places.
        """
        changes = self.changes(task)
        if change is None:
            undone = undone_changes(changes)
            own = [each for each in changes.values() if each.author == author and each.undoes is None]
            last = next((each.id for each in reversed(own) if each.id not in undone), None)
            if last is None:
                raise LabelError(f"{author!r} has made no change of task {task!r} that could be undone")
            change = last
        if change not in changes:
            raise no_change(task, change)
        made = sql_string(change)
        of_change = f"{_where(task=task)} AND (added_change = {made} OR withdrawn_change = {made})"
        own_rows = self._stored(of_change)
        if not len(own_rows):
            raise no_change(task, change)
        if self._only is not None and len(own_rows) < self._table.open().count_rows(of_change):
            raise LabelError(f"change {change} is also about slides that are not among yours, and stays as it is")
        authors = sorted(own_rows.column("author").unique().to_pylist())
        where = f"{_where(task=task)} AND {sql_in('author', authors)}{_on_slides(own_rows)}"
        return self._change(where, plan_undo(task, change), new_change(task, author, undoes=change))

    def _change(self, where: str, plan: Planner, change: LabelChange) -> LabelChange:
        """Make a change in one commit, planned again after a conflict with another writer.

        Args:
            where: Which rows the change may concern.
        """
        self._table.create(LABEL_ROWS)
        made = change

        def rows_of(table: Table) -> pa.Table:
            nonlocal made
            rows = self._rows(table, where)
            written, made = written_rows(rows, plan(rows), change)
            return written

        self._table.revise("key", rows_of)
        if made.id is not None and len(self._table.open().get_fragments()) > TIDY_FRAGMENTS:
            self._table.tidy(keep_s=TIDY_KEEP_S)
        return made

    # -- removing for good ------------------------------------------------------------------

    def remove(
        self,
        task: str,
        *,
        slide_id: str | None = None,
        label: str | None = None,
        author: str | None = None,
        source: str | None = None,
    ) -> int:
        """Remove the labels of a task that meet every condition given, for good, and those withdrawn as well.

        Compaction takes them out of the files.

        Returns:
            How many were removed.
        """
        return self._delete(_where(task=task, slide_id=slide_id, label=label, author=author, source=source))

    def forget(self, slide_ids: Sequence[str], *, patients: Sequence[str] = ()) -> None:
        """Remove every label of slides, those of patients as a whole, and withdrawn ones that name the patients."""
        if slide_ids:
            self._delete(sql_in("slide_id", slide_ids))
        if patients:
            self._delete(f"slide_id IS NULL AND {sql_in('patient', patients)}")
            if self._table.exists() and "withdrawn_change" in self._table.open().schema.names:
                self._delete(f"withdrawn_change IS NOT NULL AND {sql_in('patient', patients)}")

    def _delete(self, filter_sql: str) -> int:
        assert self._only is None, "labels of some slides are not removed for good"
        if not self._table.exists():
            return 0
        count = self._table.open().count_rows(filter_sql)
        if count:
            self._table.delete(filter_sql)
        return count

    def version(self) -> int:
        """A number that changes with the table."""
        return self._table.open().version if self._table.exists() else 0

    def tidy(self, *, keep_s: float) -> None:
        if self._table.exists():
            self._table.tidy(keep_s=keep_s, purge=True)

    # -- reading ----------------------------------------------------------------------------

    def table(
        self, *, task: str | None = None, slide_id: str | None = None, columns: list[str] | None = None
    ) -> pa.Table:
        """The labels that stand, as an Arrow table; those withdrawn are in `history`.

        Args:
            task, slide_id: Only labels of this task, of this slide.
            columns: All of LABELS when None.
        """
        return self._stored(_where(task=task, slide_id=slide_id), columns or LABELS.names, standing=True)

    def _stored(self, where: str, columns: Sequence[str] = LABEL_ROWS.names, *, standing: bool = False) -> pa.Table:
        """Rows of the table, whether it was made by this version or an older one.

        Args:
            standing: Only labels that stand.
        """
        if not self._table.exists():
            return LABEL_ROWS.empty_table().select(list(columns))
        return self._rows(self._table, where, columns, standing=standing)

    def count(self, task: str, **equal: str | None) -> int:
        """Number of labels of a task, also of those withdrawn, whose columns have these values, where not None."""
        return len(self._stored(_where(task=task, **equal), ["key"]))

    def changes(self, task: str | None = None) -> dict[str, LabelChange]:
        """{id: change}, from the first to the last, of a task or of all."""
        return changes_of(self._stored(_where(task=task), ["task", *LABEL_CHANGES.names]))

    def of_task(self, task: str, *, columns: list[str] | None = None) -> pa.Table:
        """All labels of a task.

        Args:
            columns: All of LABELS when None.
        Raises:
            TaskNotFoundError: there is none; the message names the tasks that there are.
        """
        labels = self.table(task=task, columns=columns)
        if labels.num_rows == 0:
            raise no_such_task(task, self.tasks())
        return labels

    def tasks(self) -> list[str]:
        """Names of the tasks that have labels, sorted."""
        return sorted(set(self.table(columns=["task"]).column("task").unique().to_pylist()))

    def patients(self) -> set[tuple[str, str]]:
        """(slide, patient) for every label that names both."""
        rows = self.table(columns=["slide_id", "patient"]).drop_null()
        return {
            (row["slide_id"], row["patient"])
            for row in rows.group_by(["slide_id", "patient"]).aggregate([]).to_pylist()
        }

    def summary(self, *, task: str | None = None) -> list[dict[str, Any]]:
        """How many labels there are of each task, class, kind, author and source.

        Returns:
            Rows with these five, `labels`, `slides` (how many they are on), and `first` and `last` (when they came).
        """
        by = ["task", "label", "kind", "author", "source"]
        labels = self.table(task=task, columns=[*by, "slide_id", "created_at"])
        counted = labels.group_by(by).aggregate(
            [([], "count_all"), ("slide_id", "count_distinct"), ("created_at", "min"), ("created_at", "max")]
        )
        names = {"count_all": "labels", "slide_id_count_distinct": "slides"}
        names |= {"created_at_min": "first", "created_at_max": "last"}
        counted = counted.rename_columns([names.get(name, name) for name in counted.column_names])
        return sorted(counted.to_pylist(), key=lambda row: tuple(str(row[name]) for name in by))

    def conflicts(
        self, task: str, labels: Sequence[Label] | pa.Table, *, author: str, sources: Sequence[str]
    ) -> list[str]:
        """Places where new labels contradict each other, or a label in the store.

        Places are compared exactly: a tile, point, slide or patient, or an area with the same geometry. Labels that
        `replace` would delete, given the same arguments, do not count.

        Returns:
            A line for each place, with all its classes, authors and sources.
        """
        stored = self.table(task=task, columns=[*_Claim._fields, *_Place._fields])
        replaced = pc.and_(
            pc.equal(stored.column("author"), author), pc.is_in(stored.column("source"), pa.array(sources, pa.string()))
        )
        stored = stored.filter(pc.invert(pc.fill_null(replaced, False)))
        given = label_rows(labels).select(stored.column_names)
        new, old = _where_classes_differ(given, stored)
        claims: dict[_Place, set[_Claim]] = {}
        for claim, place in _claims(given.take(new)):
            claims.setdefault(place, set()).add(claim)
        for claim, place in _claims(stored.take(old)):
            if place in claims:
                claims[place].add(claim)
        return [
            _describe_conflict(place, of_place)
            for place, of_place in claims.items()
            if len({claim.label for claim in of_place}) > 1
        ]


class _Place(NamedTuple):
    """What a label is about; fields as in `Label`."""

    kind: Kind
    slide_id: str | None = None
    name: str | None = None
    x: float | None = None
    y: float | None = None
    edge_l0: float | None = None
    geometry: bytes | None = None
    patient: str | None = None

    def comparable(self) -> "_Place":
        """Without what does not tell places apart: the patient of a slide's place, the slide of a patient."""
        if self.kind == "patient":
            return _Place("patient", patient=self.patient)
        return self._replace(geometry=self.geometry or None, patient=None)


class _Claim(NamedTuple):
    """What a label says of its place, and who says so."""

    label: str
    author: str
    source: str


def _where_classes_differ(labels: pa.Table, stored: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of those labels, and of those stored, whose place is given several classes by all of them."""
    new, old = place_codes(labels, stored)
    place = np.concatenate([new, old])
    names = pa.chunked_array([*labels.column("label").chunks, *stored.column("label").chunks], pa.string())
    name = names.combine_chunks().dictionary_encode().indices.to_numpy()
    first = np.zeros(int(place.max(initial=-1)) + 1, name.dtype)
    first[place] = name  # one of the place's classes
    differ = np.zeros(len(first), bool)
    differ[place[name != first[place]]] = True
    return np.flatnonzero(differ[new]), np.flatnonzero(differ[old])


def _claims(rows: pa.Table) -> Iterator[tuple[_Claim, _Place]]:
    """What rows say, and of which place."""
    for batch in rows.to_batches(max_chunksize=65_536):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield _Claim(*values[:3]), _Place(*values[3:]).comparable()


def _describe_conflict(place: _Place, claims: set[_Claim]) -> str:
    text = " and ".join(f"{claim.label} ({claim.author}, {claim.source})" for claim in sorted(claims))
    if place.kind == "patient":
        return f"patient {place.patient}: {text}"
    where = f", {place.name}" if place.name is not None else "" if place.x is None else f" at {place.x:g}, {place.y:g}"
    return f"{place.kind} of slide {place.slide_id}{where}: {text}"


def _require_of(labels: pa.Table, task: str, author: str, *, sources: Sequence[str]) -> None:
    own = pc.and_(pc.equal(labels.column("task"), task), pc.equal(labels.column("author"), author))
    own = pc.and_(own, pc.is_in(labels.column("source"), value_set=pa.array(sources, pa.string())))
    if others := len(labels) - (pc.sum(own).as_py() or 0):
        raise ValueError(f"{others} labels are of another task, author or source than those changed")


def _on_slides(rows: pa.Table) -> str:
    """A condition for the labels of the slides of rows, and for those of patients where a row names no slide."""
    names = set(rows.column("slide_id").unique().to_pylist())
    conditions = ["slide_id IS NULL"] if None in names else []
    named = sorted(name for name in names if name is not None)
    if len(named) > MOST_NAMED:
        return ""
    conditions += [sql_in("slide_id", named)] if named else []
    return f" AND ({' OR '.join(conditions)})" if conditions else " AND false"


def no_such_task(task: str, tasks: Iterable[str]) -> TaskNotFoundError:
    """The error for an unknown task; it lists the tasks that have labels."""
    return TaskNotFoundError(
        f"no label of task {task!r} in the store; it has labels of "
        f"{', '.join(sorted(set(tasks))) or 'no task'}; `embedstore label import FILE --task {task}` brings them in"
    )


def _where(**equal: str | None) -> str:
    return " AND ".join(f"{name} = {sql_string(value)}" for name, value in equal.items() if value is not None)
