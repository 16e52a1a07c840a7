"""Labels: who says that a place, a slide or a patient is of a class. They belong to places, not to tiles."""

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from embedstore.errors import TaskNotFoundError
from embedstore.store.schema import LABELS
from embedstore.store.sql import sql_in, sql_string
from embedstore.store.table import Table, now

#: What a label's place is: a tile (a file's name, or x, y and edge), a point, an area, what no other label of the task
#: covers (of an area, or of the whole slide where it has no geometry), a whole slide, or all slides of a patient.
Kind = Literal["tile", "point", "area", "rest", "slide", "patient"]
#: The author of what a folder of ready-made tiles says of its tiles.
INGEST = "ingest"


@dataclass(frozen=True, kw_only=True)
class Label:
    """Who says that a place is of a class.

    Attributes:
        task: The question.
        label: The class.
        kind: What the place is.
        slide_id: The slide; None for a patient's label.
        name: Of a ready-made tile: its file in its folder.
        x, y: A point, or a tile's top-left; level-0 pixels.
        edge_l0: A tile's edge, level-0 pixels.
        geometry: An area as WKB, level-0 pixels.
        split: The set it was given to by those who published it, such as 'train'.
        patient: Patient or case, where known.
        author: Who gave the label.
        source: The file that it comes from.
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

    def row(self, created_at: dt.datetime | None = None) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in LABELS.names if name not in ("key", "created_at")}
        return {**values, "key": self._key(), "created_at": created_at or now()}

    def _key(self) -> str:
        """What ingest found in a folder is one label a tile; any other place keeps what each file says of it."""
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
        """Add labels; one that is there already is written over."""
        at = now()
        rows = [label.row(at) for label in labels]
        if rows:
            self._table.create(LABELS)
            self._table.upsert("key", rows)

    def replace(self, task: str, labels: Iterable[Label], *, author: str, sources: Sequence[str]) -> int:
        """Let what files say now take the place of what the same author had from them for the task before.

        The new labels are written before the old ones go: whenever it is interrupted, no label is lost that was in
        the store and is in the files.

        Args:
            labels: All of this task, author and of these sources.
        Returns:
            How many old labels are gone.
        """
        chosen = _where(task=task, author=author) + " AND " + sql_in("source", sources)
        at = self._after(chosen) if sources else now()
        rows = [label.row(at) for label in labels]
        wrong = [row for row in rows if (row["task"], row["author"]) != (task, author) or row["source"] not in sources]
        if wrong:
            raise ValueError(f"{len(wrong)} labels are of another task, author or source than those replaced")
        if rows:
            self._table.create(LABELS)
            self._table.upsert("key", rows)
        if not sources:
            return 0
        return self._delete(f"{chosen} AND created_at < timestamp '{at.isoformat()}'")

    def _after(self, filter_sql: str) -> dt.datetime:
        """A time after all of those labels, whatever the clock of the machine that wrote them."""
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
        """Remove a task's labels, those that meet all that is given; gone from the files after compaction.

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

    def rows(self, *, task: str | None = None, slide_id: str | None = None) -> list[dict[str, Any]]:
        return self.table(task=task, slide_id=slide_id).to_pylist()

    def table(
        self, *, task: str | None = None, slide_id: str | None = None, columns: list[str] | None = None
    ) -> pa.Table:
        """As `rows`, as an Arrow table: a million labels take no longer than their bytes."""
        if not self._table.exists():
            empty = LABELS.empty_table()
            return empty.select(columns) if columns else empty
        dataset = self._table.open()
        wanted = columns or LABELS.names
        where = _where(task=task, slide_id=slide_id) or None
        found = dataset.to_table(filter=where, columns=[name for name in wanted if name in dataset.schema.names])
        return _in_full(found, wanted)

    def of_task(self, task: str) -> pa.Table:
        """All labels of a task.

        Raises:
            TaskNotFoundError: there is none; the message names the tasks that there are.
        """
        found = self.table(task=task)
        if found.num_rows == 0:
            raise no_such_task(task, self.tasks())
        return found

    def tasks(self) -> list[str]:
        """Names of the tasks that have labels, sorted."""
        return sorted(set(self.table(columns=["task"]).column("task").unique().to_pylist()))

    def patients(self) -> set[tuple[str, str]]:
        """(slide, patient) wherever a label of a slide, or of a place on it, names the patient."""
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
        found = self.table(task=task, columns=[*by, "slide_id", "created_at"])
        counted = found.group_by(by).aggregate(
            [([], "count_all"), ("slide_id", "count_distinct"), ("created_at", "min"), ("created_at", "max")]
        )
        names = {"count_all": "labels", "slide_id_count_distinct": "slides"}
        names |= {"created_at_min": "first", "created_at_max": "last"}
        counted = counted.rename_columns([names.get(name, name) for name in counted.column_names])
        return sorted(counted.to_pylist(), key=lambda row: tuple(str(row[name]) for name in by))

    def conflicts(self, task: str, labels: Sequence[Label], *, author: str, sources: Sequence[str]) -> list[str]:
        """Places for which labels to come name another class than each other, or than what is in the store.

        Places are the same where they are equal to the letter: a tile, point, slide or patient, or an area with the
        same geometry. What `replace` with the same arguments would take away does not count.

        Returns:
            A line a place, with who says what; nothing is resolved.
        """
        said: dict[tuple[Any, ...], set[tuple[str, str, str]]] = {}
        for one in labels:
            said.setdefault(_place(one.__dict__), set()).add((one.label, one.author, one.source))
        stays = (row for row in self._places(task) if row["author"] != author or row["source"] not in sources)
        for row in stays:
            place = _place(row)
            if place in said:
                said[place].add((row["label"], row["author"], row["source"]))
        return [_telling(place, who) for place, who in said.items() if len({label for label, _, _ in who}) > 1]

    def _places(self, task: str) -> Iterator[dict[str, Any]]:
        columns = ["kind", "slide_id", "name", "x", "y", "edge_l0", "geometry", "patient", "label", "author", "source"]
        for batch in self.table(task=task, columns=columns).to_batches(max_chunksize=65_536):
            yield from batch.to_pylist()


def _in_full(found: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Rows of a table that an older version made, which knew labels of tiles alone, as they would be written now."""
    for name in columns:
        if name not in found.column_names:
            found = found.append_column(LABELS.field(name), pa.nulls(len(found), LABELS.field(name).type))
    if "kind" in columns:
        at = found.column_names.index("kind")
        found = found.set_column(at, LABELS.field("kind"), pc.fill_null(found.column("kind"), "tile"))
    return found.select(list(columns))


def no_such_task(task: str, tasks: Iterable[str]) -> TaskNotFoundError:
    """The error that names the tasks there are."""
    there = ", ".join(sorted(set(tasks)))
    return TaskNotFoundError(
        f"no label of task {task!r} in the store; it has labels of "
        f"{there or 'no task'}; `embedstore label import FILE --task {task}` brings them in"
    )


def _where(**equal: str | None) -> str:
    return " AND ".join(f"{name} = {sql_string(value)}" for name, value in equal.items() if value is not None)


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    if row["kind"] == "patient":
        return ("patient", row["patient"])
    return (*(row[name] for name in ("kind", "slide_id", "name", "x", "y", "edge_l0")), row["geometry"] or None)


def _telling(place: tuple[Any, ...], who: set[tuple[str, str, str]]) -> str:
    said = " and ".join(f"{label} ({author}, {source})" for label, author, source in sorted(who))
    if place[0] == "patient":
        return f"patient {place[1]}: {said}"
    kind, slide_id, name, x, y = place[:5]
    where = f", {name}" if name is not None else "" if x is None else f" at {x:g}, {y:g}"
    return f"{kind} of slide {slide_id}{where}: {said}"
