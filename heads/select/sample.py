"""The tiles that candidates are compared on: a part of a task's labelled tiles."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import LabelError
from heads.bags import Bags
from heads.examples import Examples
from heads.splitting.splits import Split


def sample_examples(examples: Examples, most: int, *, seed: int) -> NDArray[np.intp]:
    """Rows of a sample: classes as even as they can be, each spread over its patients.

    Every part of every fold keeps at least one tile of each class that it had. Tiles that are in no part are not taken.

    Args:
        examples: Of one task.
        most: Rows at most, but for what keeping classes takes.
    Raises:
        LabelError: the task has one class only, or tiles of several.
    """
    targets, rng = examples.targets[0], np.random.default_rng(seed)
    if several := int((targets.sum(axis=1) > 1).sum()):
        raise LabelError(
            f"task {examples.tasks[0]!r}: {several:,} of {len(targets):,} tiles are of several classes; expected one "
            "each, as probes tell classes apart; choose by a task whose classes exclude each other"
        )
    used = (examples.split.parts >= 0).any(axis=0)
    there = np.flatnonzero(targets[used].any(axis=0))
    if len(there) < 2:
        raise LabelError(
            f"task {examples.tasks[0]!r} has tiles of {examples.classes[0][there[0]] if len(there) else 'no class'} "
            "alone; expected two classes or more to tell extractors apart by; label another class, or take another task"
        )
    spread = {int(k): rows_over_groups(np.flatnonzero(targets[:, k] & used), examples.group, rng) for k in there}
    chosen: set[int] = set()
    left = most
    for number, rows in enumerate(sorted(spread.values(), key=len)):  # what a rare class leaves goes to the others
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


def rows_over_groups(rows: NDArray[np.intp], group: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.intp]:
    """The rows in random order such that each group has one before any has two, and so on."""
    shuffled = rng.permutation(rows)
    by_group = np.argsort(group[shuffled], kind="stable")
    sizes = np.unique(group[shuffled], return_counts=True)[1]
    turn = np.empty(len(rows), np.intp)
    turn[by_group] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return shuffled[np.argsort(turn, kind="stable")]


def take(examples: Examples, rows: NDArray[np.intp]) -> Examples:
    """The examples of some rows, and of the classes that these are of."""
    split = examples.split
    there = [np.flatnonzero(targets[rows].any(axis=0)) for targets in examples.targets]
    return replace(
        examples,
        ids=examples.ids[rows],
        bags=Bags.single(examples.bags.rows[rows]),
        classes=tuple(tuple(names[k] for k in found) for names, found in zip(examples.classes, there, strict=True)),
        targets=tuple(targets[rows][:, found] for targets, found in zip(examples.targets, there, strict=True)),
        known=tuple(known[rows] for known in examples.known),
        group=examples.group[rows],
        split=Split(parts=split.parts[:, rows], names=split.names, notes=split.notes),
    )
