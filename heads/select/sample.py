"""The tiles that candidates are compared on: a sample of a task's labelled tiles."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import LabelError
from heads.bags import Bags
from heads.examples import Examples
from heads.splitting.splits import Split


def sample_rows(examples: Examples, most: int, *, seed: int) -> NDArray[np.intp]:
    """Draw rows for a sample: classes as balanced as possible, each spread over its patients.

    Every part of every fold keeps at least one tile of each class that it had. Tiles that are in no part are not drawn.

    Args:
        examples: Of one task.
        most: Largest number of rows, apart from those that keep a class in a part.
    Raises:
        LabelError: the task has one class only, or tiles of several.
    """
    targets, rng = examples.targets[0], np.random.default_rng(seed)
    if several := int((targets.sum(axis=1) > 1).sum()):
        raise LabelError(
            f"task {examples.tasks[0]!r}: {several:,} of {len(targets):,} tiles are of several classes; expected one "
            "class each, as probes tell classes apart; take a task whose classes exclude each other"
        )
    used = (examples.split.parts >= 0).any(axis=0)
    present = np.flatnonzero(targets[used].any(axis=0))
    if len(present) < 2:
        only = examples.classes[0][present[0]] if len(present) else "no class"
        raise LabelError(
            f"task {examples.tasks[0]!r} has tiles of {only} alone; expected two classes or more to compare "
            "extractors; label another class, or take another task"
        )
    spread = {int(k): spread_over_groups(np.flatnonzero(targets[:, k] & used), examples.group, rng) for k in present}
    chosen: set[int] = set()
    left = most
    for number, rows in enumerate(
        sorted(spread.values(), key=len)
    ):  # what a rare class does not fill goes to the others
        taken = rows[: left // (len(spread) - number)]
        chosen.update(taken.tolist())
        left -= len(taken)
    for part in examples.split.parts:
        for value in np.unique(part[part >= 0]):
            for rows in spread.values():
                inside = rows[part[rows] == value]
                if len(inside) and not chosen.intersection(inside.tolist()):
                    chosen.add(int(inside[0]))
    return np.array(sorted(chosen), np.intp)


def spread_over_groups(rows: NDArray[np.intp], group: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.intp]:
    """The rows in random order, such that each group has one row before any group has two, and so on."""
    shuffled = rng.permutation(rows)
    by_group = np.argsort(group[shuffled], kind="stable")
    sizes = np.unique(group[shuffled], return_counts=True)[1]
    turn = np.empty(len(rows), np.intp)
    turn[by_group] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return shuffled[np.argsort(turn, kind="stable")]


def take(examples: Examples, rows: NDArray[np.intp]) -> Examples:
    """The examples of some rows, with the classes that occur in them."""
    split = examples.split
    present = [np.flatnonzero(targets[rows].any(axis=0)) for targets in examples.targets]
    return replace(
        examples,
        ids=examples.ids[rows],
        bags=Bags.single(examples.bags.rows[rows]),
        classes=tuple(tuple(names[k] for k in kept) for names, kept in zip(examples.classes, present, strict=True)),
        targets=tuple(targets[rows][:, kept] for targets, kept in zip(examples.targets, present, strict=True)),
        known=tuple(known[rows] for known in examples.known),
        group=examples.group[rows],
        split=Split(parts=split.parts[:, rows], names=split.names, notes=split.notes),
    )
