"""Changes of labels: what each adds and withdraws, planned from the rows that the table holds.

A row is written once and never deleted by a change. Withdrawing a label notes in its row when, by whom and by which
change. Where a new label takes the key of an old one, the old row is written again under another key in the same
transaction, so that whoever writes to the same key at the same time is told of a conflict and plans again.
"""

import datetime as dt
import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.errors import LabelError
from embedstore.quantities import first_few
from embedstore.store.label import Label, column_codes, combined_codes, label_rows, last_of_key, place_codes
from embedstore.store.schema import LABEL_ROWS, LABELS
from embedstore.store.table import now

#: Every author, where one withdraws labels of others.
EVERYONE = "*"
#: What tells two labels of an author at one place apart.
CONTENT = ("label", "split", "patient", "source")


@dataclass(frozen=True, kw_only=True)
class LabelChange:
    """A change of the labels of a task, as a whole: labels added and withdrawn.

    Attributes:
        id: Names the change, to undo it; None where there was nothing to change.
        task: The task.
        author: Who made the change.
        at: When.
        added, withdrawn: Number of labels.
        undoes: The change that it undoes, if any.
        notes: Warnings for the user.
    """

    id: str | None
    task: str
    author: str
    at: dt.datetime
    added: int = 0
    withdrawn: int = 0
    undoes: str | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)


class Plan(NamedTuple):
    """What a change does: labels to add, as rows of LABELS, and which standing rows to withdraw."""

    add: pa.Table
    withdraw: NDArray[np.int64]


#: Plans a change, given the rows of LABEL_ROWS that it may concern.
Planner = Callable[[pa.Table], Plan]


def new_change(task: str, author: str, *, undoes: str | None = None) -> LabelChange:
    """A change that holds nothing yet."""
    return LabelChange(id=uuid.uuid4().hex[:16], task=task, author=author, at=now(), undoes=undoes)


def with_all_columns(rows: pa.Table, columns: Sequence[str] = LABEL_ROWS.names) -> pa.Table:
    """Fill in the columns that a table of an older version lacks; its labels were all of tiles."""
    for name in columns:
        if name not in rows.column_names:
            rows = rows.append_column(LABEL_ROWS.field(name), pa.nulls(len(rows), LABEL_ROWS.field(name).type))
    if "kind" in columns:
        position = rows.column_names.index("kind")
        rows = rows.set_column(position, LABEL_ROWS.field("kind"), pc.fill_null(rows.column("kind"), "tile"))
    return rows.select(list(columns))


def stands(rows: pa.Table) -> NDArray[np.bool_]:
    """(n,) whether each label stands: no change withdrew it."""
    return pc.is_null(rows.column("withdrawn_change")).to_numpy()


def written_rows(rows: pa.Table, plan: Plan, change: LabelChange) -> tuple[pa.Table, LabelChange]:
    """The rows to be written for a plan, and the change as it is then.

    Args:
        rows: All rows of LABEL_ROWS that the plan was made from, among them those with the keys of its labels.
        change: Its id, author and what it undoes.
    """
    if not len(plan.add) and not len(plan.withdraw):
        return LABEL_ROWS.empty_table(), replace(change, id=None)
    change = replace(change, at=_time_after(rows), added=len(plan.add), withdrawn=len(plan.withdraw))
    added = _noted(with_all_columns(_dated(plan.add, change.at)), "added", change)
    taken = np.zeros(0, bool)
    if len(rows):  # the set of a million keys takes 0.2 s
        taken = pc.is_in(rows.column("key"), value_set=added.column("key").combine_chunks()).to_numpy()
    withdrawn = np.zeros(len(rows), bool)
    withdrawn[plan.withdraw] = True
    ended = _noted(rows.filter(pa.array(withdrawn)), "withdrawn", change)
    return pa.concat_tables(
        [
            ended.filter(pa.array(~taken[withdrawn])),
            _under_other_keys(ended.filter(pa.array(taken[withdrawn]))),
            _under_other_keys(rows.filter(pa.array(taken & ~withdrawn))),
            added,
        ]
    ), change


def _dated(rows: pa.Table, at: dt.datetime) -> pa.Table:
    """Rows of LABELS; those that were never written begin at a time."""
    column = LABEL_ROWS.get_field_index("created_at")
    return rows.set_column(column, rows.schema.field(column), pc.fill_null(rows.column(column), at))


def recorded_rows(withdrawn: pa.Table, labels: pa.Table) -> pa.Table:
    """The rows to be written for labels that no change adds.

    Args:
        labels: Rows of LABELS.
        withdrawn: Rows of LABEL_ROWS that are withdrawn, among them those with the keys of the labels.
    """
    new = with_all_columns(_dated(labels, now()))
    taken = pc.is_in(withdrawn.column("key"), value_set=new.column("key").combine_chunks())
    return pa.concat_tables([_under_other_keys(withdrawn.filter(taken)), new])


def _time_after(rows: pa.Table) -> dt.datetime:
    """A time after all that happened to these labels, even if another machine's clock is ahead."""
    times = [pc.max(rows.column(name)).as_py() for name in ("created_at", "added_at", "withdrawn_at")]
    newest = max(filter(None, times), default=None)
    return now() if newest is None else max(now(), newest + dt.timedelta(microseconds=1))


def _noted(rows: pa.Table, how: Literal["added", "withdrawn"], change: LabelChange) -> pa.Table:
    """Rows of LABEL_ROWS that say that a change added or withdrew them."""
    for what, value in (("change", change.id), ("by", change.author), ("at", change.at), ("undoes", change.undoes)):
        column = LABEL_ROWS.get_field_index(f"{how}_{what}")
        each = LABEL_ROWS.field(column)
        rows = rows.set_column(column, each, pa.repeat(pa.scalar(value, each.type), len(rows)))
    return rows


def _under_other_keys(rows: pa.Table) -> pa.Table:
    """Withdrawn labels under keys of their own: a label is withdrawn once."""
    keys = [
        hashlib.blake2b(f"{key}\0{change}".encode(), digest_size=16).hexdigest()
        for key, change in zip(rows.column("key").to_pylist(), rows.column("withdrawn_change").to_pylist(), strict=True)
    ]
    return rows.set_column(0, LABEL_ROWS.field("key"), pa.array(keys, pa.string()))


# -- adding ---------------------------------------------------------------------------------


def plan_addition(labels: pa.Table) -> Planner:
    """Add labels of an author without a file: each replaces what the author said of its place.

    A class that the author gave a place already changes nothing there. The part of a split and the patient that a
    replaced label names are kept where the new one names none.

    Args:
        labels: Rows of LABELS.
    Raises:
        LabelError: two of the labels give one place different classes.
    """

    def plan(rows: pa.Table) -> Plan:
        new, old = place_codes(labels, rows)
        _, first, which = np.unique(new, return_index=True, return_inverse=True)
        _refuse_contradictions(labels, first[which])
        standing = np.flatnonzero(stands(rows))
        about = np.full(int(max(new.max(initial=-1), old.max(initial=-1))) + 1, -1, np.int64)
        about[new] = first[which]  # of each place among the new labels
        standing = standing[about[old[standing]] >= 0]
        about, held = about[old[standing]], rows.take(standing)
        repeats = np.flatnonzero(_repeats(labels.take(about), held))
        repeated, at = np.unique(about[repeats], return_index=True)
        kept = np.zeros(len(standing), bool)
        kept[repeats[at]] = True  # one of those that say so already
        add = np.setdiff1d(first, repeated)
        filled = _with_what_they_replace(labels, held.filter(pa.array(~kept)), about[~kept])
        return Plan(filled.take(add), standing[~kept])

    return plan


def _refuse_contradictions(labels: pa.Table, first: NDArray[np.int64]) -> None:
    """Raise LabelError if a label differs from the first one (n,) about its place."""
    later = np.flatnonzero(first != np.arange(len(labels)))
    if not len(later):
        return
    ones, others = labels.take(first[later]), labels.take(later)
    twice = np.zeros(len(later), bool)
    for name in LABELS.names:
        if name != "key":
            twice |= ~_equal(ones.column(name), others.column(name))
    if twice.any():
        at = int(twice.argmax())
        one, other = (Label.from_table(each.slice(at, 1))[0] for each in (ones, others))
        raise LabelError(
            f"{int(twice.sum())} of {len(labels)} labels are about the place of another one and differ from it; the "
            f"first is {describe_place(other)}: {one.label!r} and {other.label!r}; expected one label a place"
        )


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> NDArray[np.bool_]:
    """(n,) whether values are equal, or both missing."""
    both_missing = pc.and_(pc.is_null(one), pc.is_null(other))
    return pc.or_(pc.fill_null(pc.equal(one, other), False), both_missing).to_numpy()


def _repeats(labels: pa.Table, held: pa.Table) -> NDArray[np.bool_]:
    """(n,) whether each new label says no more than an older one of its place does."""
    same = _equal(labels.column("label"), held.column("label"))
    for name in ("split", "patient"):
        same &= pc.is_null(labels.column(name)).to_numpy() | _equal(labels.column(name), held.column(name))
    return same


def _with_what_they_replace(labels: pa.Table, replaced: pa.Table, about: NDArray[np.int64]) -> pa.Table:
    """Labels with the part of a split and the patient of those that they replace, where they name none.

    Args:
        about: (n,) the new label that takes the place of each of those replaced.
    """
    for name in ("split", "patient"):
        column, before = labels.column(name), replaced.column(name)
        says = np.flatnonzero(pc.fill_null(pc.not_equal(before, ""), False).to_numpy())
        if not len(says):
            continue
        new, at = np.unique(about[says], return_index=True)
        source = np.full(len(labels), -1, np.int64)
        source[new] = says[at]
        taken = before.take(pa.array(source, mask=source < 0))
        named = pc.fill_null(pc.not_equal(column, ""), False)
        position = labels.column_names.index(name)
        labels = labels.set_column(position, labels.schema.field(name), pc.if_else(named, column, taken))
    return labels


def plan_replacement(labels: pa.Table) -> Planner:
    """Make labels of an author from some files those that the files hold now.

    Args:
        labels: Rows of LABELS, each with another key; the rows that the plan is made from are all from these files.
    """

    def plan(rows: pa.Table) -> Plan:
        standing = np.flatnonzero(stands(rows))
        if not len(standing):
            return Plan(labels, standing)
        held = rows.take(standing)
        position = pc.index_in(held.column("key"), value_set=labels.column("key").combine_chunks())
        same = pc.is_valid(position).to_numpy()
        for name in CONTENT:
            before, now_held = held.column(name), labels.column(name).take(position)
            equal = pc.or_kleene(pc.equal(before, now_held), pc.and_(pc.is_null(before), pc.is_null(now_held)))
            same &= pc.fill_null(equal, False).to_numpy()
        new = np.ones(len(labels), bool)
        new[pc.fill_null(position, 0).to_numpy()[same]] = False
        return Plan(labels.filter(pa.array(new)), standing[~same])

    return plan


# -- withdrawing ----------------------------------------------------------------------------


def plan_withdrawal(keys: Sequence[str], *, author: str, of: str) -> Planner:
    """Withdraw labels by their keys.

    Args:
        author: Who withdraws them.
        of: Whose labels they are; EVERYONE for anybody's.
    Raises:
        LabelError: one of the labels does not stand, or is somebody else's; nothing is withdrawn.
    """

    def plan(rows: pa.Table) -> Plan:
        chosen = pa.array(list(dict.fromkeys(keys)), pa.string())
        at = pc.index_in(chosen, value_set=rows.column("key").combine_chunks())
        found = pc.is_valid(at).to_numpy(zero_copy_only=False)
        found[found] = stands(rows)[at.drop_null().to_numpy()]
        if not found.all():
            missing = chosen.filter(pa.array(~found)).to_pylist()
            raise LabelError(
                f"{len(missing)} of {len(chosen)} labels do not stand in this task: {first_few(missing)}; they were "
                "withdrawn or removed, or their keys are not keys of this task's labels"
            )
        withdraw = np.sort(at.to_numpy()).astype(np.int64)
        authors = rows.column("author").take(withdraw).unique().to_pylist()
        _refuse_others(set(authors), author=author, of=of)
        return Plan(LABELS.empty_table(), withdraw)

    return plan


def plan_withdrawal_at(places: pa.Table, *, author: str, of: str) -> Planner:
    """Withdraw the labels of some places, as far as there are any; see `plan_withdrawal`.

    Args:
        places: Rows of labels, of which only what they are about counts.
    Raises:
        LabelError: nobody, or only somebody else, has a label there.
    """

    def plan(rows: pa.Table) -> Plan:
        given, stored = place_codes(places, rows)
        there = np.flatnonzero(stands(rows) & np.isin(stored, given))
        authors = rows.column("author").take(there)
        withdraw = there if of == EVERYONE else there[pc.equal(authors, of).to_numpy()]
        if not len(withdraw):
            _refuse_others(set(authors.unique().to_pylist()), author=author, of=of)
            raise LabelError(f"none of the {len(places)} place(s) has a label of this task, so none can be withdrawn")
        return Plan(LABELS.empty_table(), withdraw)

    return plan


def _refuse_others(authors: set[str], *, author: str, of: str) -> None:
    """Raise LabelError if labels are somebody's whom `of` does not name."""
    if of != EVERYONE and (others := sorted(authors - {of})):
        whose = f"{author!r} withdraws own labels" if of == author else f"labels of {of!r} are asked for"
        raise LabelError(
            f"labels there are those of {first_few(others)}, and {whose}; to withdraw somebody else's, name the author "
            "with --of"
        )


# -- undoing --------------------------------------------------------------------------------


def no_change(task: str, change: str) -> LabelError:
    """What somebody hears who undoes a change that there is not, perhaps since its slides were removed a moment ago."""
    return LabelError(f"no change {change!r} of task {task!r}; `embedstore label history --task {task}` lists them")


def plan_undo(task: str, change: str) -> Planner:
    """Withdraw what a change added, and add again what it withdrew; `rows` are all rows of its slides and authors.

    Raises:
        LabelError: there is no such change, it is undone, or a later one is about the same places.
    """

    def plan(rows: pa.Table) -> Plan:
        added, withdrawn = (
            pc.fill_null(pc.equal(rows.column(f"{how}_change"), change), False).to_numpy()
            for how in ("added", "withdrawn")
        )
        if not (added | withdrawn).any():
            raise no_change(task, change)
        (places,) = place_codes(rows)
        about = combined_codes(places, column_codes(rows.column("author")))
        touched = np.isin(about, about[added | withdrawn])
        _refuse_later(rows.filter(pa.array(touched)), change)
        statement = about
        for name in CONTENT:
            statement = combined_codes(statement, column_codes(rows.column(name)))
        is_left = np.zeros(int(statement.max()) + 1, bool)
        is_left[statement[added]] = True
        now_stands = np.flatnonzero(stands(rows) & touched)
        row_of = np.full(len(is_left), -1, np.int64)
        row_of[statement[now_stands]] = now_stands
        add = last_of_key(label_rows(rows.filter(pa.array(withdrawn)).select(LABELS.names).drop_columns("key")))
        others = now_stands[~is_left[statement[now_stands]]]
        taken = pc.is_in(rows.column("key").take(others), value_set=add.column("key").combine_chunks())
        if (row_of[is_left] < 0).any() or pc.any(taken).as_py():
            raise LabelError(
                f"change {change} cannot be undone: what it left is not there any more; `embedstore label history` "
                "shows what came later"
            )
        return Plan(add, np.sort(row_of[is_left]))

    return plan


def _refuse_later(rows: pa.Table, change: str) -> None:
    """Raise LabelError if a change is undone, or a later one in effect is about the same places.

    Args:
        rows: All rows of the places of the change.
    """
    changes = changes_of(rows)
    undone = undone_changes(changes)
    if change in undone:
        raise LabelError(f"change {change} is undone already, by {undone[change]}; undo that one to have it again")
    at = changes[change].at
    later = [each for each in changes.values() if each.at > at and each.id not in undone and each.undoes is None]
    if later:
        last = max(later, key=lambda each: each.at)
        raise LabelError(
            f"change {change} cannot be undone: {len(later)} later change(s) are about the same places, the last one "
            f"{last.id} by {last.author}; undo them first"
        )


def changes_of(rows: pa.Table) -> dict[str, LabelChange]:
    """{id: change}, from the first to the last, of all changes that added or withdrew rows of LABEL_ROWS."""
    found: dict[str, LabelChange] = {}
    for how, count in (("added", "added"), ("withdrawn", "withdrawn")):
        by = [f"{how}_{what}" for what in ("change", "by", "at", "undoes")]
        counted = rows.select(["task", *by]).group_by(["task", *by]).aggregate([([], "count_all")]).to_pylist()
        for row in counted:
            change_id = row[f"{how}_change"]
            if change_id is None:
                continue
            change = found.get(change_id) or LabelChange(
                id=change_id, task=row["task"], author=row[f"{how}_by"], at=row[f"{how}_at"],
                undoes=row[f"{how}_undoes"],
            )  # fmt: skip
            found[change_id] = replace(change, **{count: row["count_all"]})
    return dict(sorted(found.items(), key=lambda item: (item[1].at, item[0])))


def undone_changes(changes: dict[str, LabelChange]) -> dict[str, str]:
    """{change: the change that undoes it}, for those that are undone and not redone."""
    undone: dict[str, str] = {}
    for change in reversed(changes.values()):  # the last first: whether it is undone itself is known then
        if change.undoes is not None and change.id is not None and change.id not in undone:
            undone[change.undoes] = change.id
    return undone


def describe_place(label: Label) -> str:
    """What a label is about, as text for users."""
    if label.kind == "patient":
        return f"patient {label.patient}"
    where = f", {label.name}" if label.name is not None else "" if label.x is None else f" at {label.x:g}, {label.y:g}"
    return f"{label.kind} of slide {label.slide_id}{where}"
