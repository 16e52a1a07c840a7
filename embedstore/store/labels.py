"""Labels: which class a place, a slide or a patient is of, and who says so. They belong to places, not to tiles."""

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from embedstore.errors import TaskNotFoundError
from embedstore.store.schema import LABELS
from embedstore.store.sql import sql_in, sql_string
from embedstore.store.table import Table, now

#: What a label is about: a tile (by file name, or x, y and edge), a point, an area, the rest (whatever no other label
#: of the task is about, in an area, or on the whole slide if there is no geometry), a whole slide, or all slides of a
#: patient.
Kind = Literal["tile", "point", "area", "rest", "slide", "patient"]
#: The author of labels that come with a folder of ready-made tiles.
INGEST = "ingest"


@dataclass(frozen=True, kw_only=True)
class Label:
    """One author's statement that a place is of a class.

    Attributes:
        task: The question that the label answers.
        label: The class.
        kind: What the label is about.
        slide_id: The slide; None for a patient's label.
        name: The file of a ready-made tile in its folder.
        x, y: A point, or the top-left corner of a tile; level-0 pixels.
        edge_l0: Edge of a tile, level-0 pixels.
        geometry: An area as WKB, level-0 pixels.
        split: The published part of the data that it belongs to, such as 'train'.
        patient: Patient or case, if known.
        author: Who gave the label.
        source: The file that it comes from.
        created_at: When it was written to the store; None before that.
    """

    task: str
    label: str
    kind: Kind = "tile"
    slide_id: str | None = None
    name: str | None = None
    x: float | None = None
    y: float | None = None
    edge_l0: float | None = None
    geometry: bytes | None = None
    split: str | None = None
    patient: str | None = None
    author: str = INGEST
    source: str = ""
    created_at: dt.datetime | None = None

    def row(self, created_at: dt.datetime | None = None) -> dict[str, Any]:
        """{column: value} of the table of labels."""
        values = {name: getattr(self, name) for name in LABELS.names if name != "created_at"}
        return {**values, "created_at": created_at or now()}

    @classmethod
    def from_table(cls, table: pa.Table) -> "list[Label]":
        """The labels of the rows of a table of labels."""
        return [cls(**row) for row in table.drop_columns("key").to_pylist()]

    @property
    def key(self) -> str:
        """The primary key: one label a ready-made tile for ingest; for other places, one for each class and file."""
        parts = [self.task, self.slide_id or "", self.name or "", self.author]
        if self.name is None or self.author != INGEST:
            place = (None if value is None else float(value) for value in (self.x, self.y, self.edge_l0))
            parts += [self.kind, self.label, *map(str, place), self.patient or "", self.source]
        digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=16)
        digest.update(self.geometry or b"")
        return digest.hexdigest()


class Labels:
    """The table `labels` of a store."""

    def __init__(self, store_uri: str):
        self._table = Table(store_uri, "labels")

    # -- writing ----------------------------------------------------------------------------

    def record(self, labels: Iterable[Label]) -> None:
        """Add labels; those with the same key are replaced."""
        created_at = now()
        rows = [label.row(created_at) for label in labels]
        if rows:
            self._table.create(LABELS)
            self._table.upsert("key", rows)

    def replace(self, task: str, labels: Iterable[Label], *, author: str, sources: Sequence[str]) -> int:
        """Replace the labels that an author had from some files for a task by those that the files hold now.

        The new labels are written before the old ones are deleted: if this is interrupted, no label is lost that was
        in the store and is in the files.

        Args:
            labels: All of this task, author and of these sources.
        Returns:
            How many old labels were deleted.
        """
        replaced = _where(task=task, author=author) + " AND " + sql_in("source", sources)
        created_at = self._time_after(replaced) if sources else now()
        labels = list(labels)
        others = [label for label in labels if (label.task, label.author) != (task, author)]
        others += [label for label in labels if label.source not in sources]
        if others:
            raise ValueError(f"{len(others)} labels are of another task, author or source than those replaced")
        rows = [label.row(created_at) for label in labels]
        if rows:
            self._table.create(LABELS)
            self._table.upsert("key", rows)
        if not sources:
            return 0
        return self._delete(f"{replaced} AND created_at < timestamp '{created_at.isoformat()}'")

    def _time_after(self, filter_sql: str) -> dt.datetime:
        """A time after all of these labels were written, even if another machine's clock is ahead."""
        if not self._table.exists():
            return now()
        newest = pc.max(self._table.open().to_table(filter=filter_sql, columns=["created_at"]).column(0)).as_py()
        return now() if newest is None else max(now(), newest + dt.timedelta(microseconds=1))

    def remove(
        self,
        task: str,
        *,
        slide_id: str | None = None,
        label: str | None = None,
        author: str | None = None,
        source: str | None = None,
    ) -> int:
        """Remove the labels of a task that meet every condition given; compaction takes them out of the files.

        Returns:
            How many were removed.
        """
        return self._delete(_where(task=task, slide_id=slide_id, label=label, author=author, source=source))

    def forget(self, slide_ids: Sequence[str], *, patients: Sequence[str] = ()) -> None:
        """Remove every label of slides, and those of patients as a whole."""
        if slide_ids:
            self._delete(sql_in("slide_id", slide_ids))
        if patients:
            self._delete(f"slide_id IS NULL AND {sql_in('patient', patients)}")

    def _delete(self, filter_sql: str) -> int:
        if not self._table.exists():
            return 0
        count = self._table.open().count_rows(filter_sql)
        if count:
            self._table.delete(filter_sql)
        return count

    def tidy(self, *, keep_s: float) -> None:
        if self._table.exists():
            self._table.tidy(keep_s=keep_s, purge=True)

    # -- reading ----------------------------------------------------------------------------

    def table(
        self, *, task: str | None = None, slide_id: str | None = None, columns: list[str] | None = None
    ) -> pa.Table:
        """Labels as an Arrow table.

        Args:
            task, slide_id: Only labels of this task, of this slide.
            columns: All when None.
        """
        if not self._table.exists():
            empty = LABELS.empty_table()
            return empty.select(columns) if columns else empty
        dataset = self._table.open()
        columns = columns or LABELS.names
        where = _where(task=task, slide_id=slide_id) or None
        rows = dataset.to_table(filter=where, columns=[name for name in columns if name in dataset.schema.names])
        return _with_all_columns(rows, columns)

    def of_task(self, task: str) -> pa.Table:
        """All labels of a task.

        Raises:
            TaskNotFoundError: there is none; the message names the tasks that there are.
        """
        labels = self.table(task=task)
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

    def conflicts(self, task: str, labels: Sequence[Label], *, author: str, sources: Sequence[str]) -> list[str]:
        """Places where new labels contradict each other, or a label in the store.

        Places are compared exactly: a tile, point, slide or patient, or an area with the same geometry. Labels that
        `replace` would delete, given the same arguments, do not count.

        Returns:
            A line for each place, with all its classes, authors and sources.
        """
        claims: dict[_Place, set[_Claim]] = {}
        for label in labels:
            place = _Place(*(getattr(label, name) for name in _Place._fields)).comparable()
            claims.setdefault(place, set()).add(_Claim(label.label, label.author, label.source))
        stored = self.table(task=task, columns=[*_Claim._fields, *_Place._fields])
        for batch in stored.to_batches(max_chunksize=65_536):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                claim, place = _Claim(*values[:3]), _Place(*values[3:]).comparable()
                if place in claims and (claim.author != author or claim.source not in sources):
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


def _describe_conflict(place: _Place, claims: set[_Claim]) -> str:
    text = " and ".join(f"{claim.label} ({claim.author}, {claim.source})" for claim in sorted(claims))
    if place.kind == "patient":
        return f"patient {place.patient}: {text}"
    where = f", {place.name}" if place.name is not None else "" if place.x is None else f" at {place.x:g}, {place.y:g}"
    return f"{place.kind} of slide {place.slide_id}{where}: {text}"


def _with_all_columns(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Fill in the columns that a table of an older version lacks; its labels were all of tiles."""
    for name in columns:
        if name not in rows.column_names:
            rows = rows.append_column(LABELS.field(name), pa.nulls(len(rows), LABELS.field(name).type))
    if "kind" in columns:
        position = rows.column_names.index("kind")
        rows = rows.set_column(position, LABELS.field("kind"), pc.fill_null(rows.column("kind"), "tile"))
    return rows.select(list(columns))


def no_such_task(task: str, tasks: Iterable[str]) -> TaskNotFoundError:
    """The error for an unknown task; it lists the tasks that have labels."""
    return TaskNotFoundError(
        f"no label of task {task!r} in the store; it has labels of "
        f"{', '.join(sorted(set(tasks))) or 'no task'}; `embedstore label import FILE --task {task}` brings them in"
    )


def _where(**equal: str | None) -> str:
    return " AND ".join(f"{name} = {sql_string(value)}" for name, value in equal.items() if value is not None)
