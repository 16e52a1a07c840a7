"""The tiles that candidates are compared on: a sample of a task's labelled tiles."""

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import LabelError
from heads.examples import Examples


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
    of_class = [spread_over_groups(np.flatnonzero(targets[:, k] & used), examples.group, rng) for k in present]
    chosen: set[int] = set()
    left = most
    # From the rarest class on: what a class does not fill goes to the others.
    for done, rows in enumerate(sorted(of_class, key=len)):
        drawn = rows[: left // (len(of_class) - done)]
        chosen.update(drawn.tolist())
        left -= len(drawn)
    for parts in examples.split.parts:
        for part in np.unique(parts[parts >= 0]):
            for rows in of_class:
                inside = rows[parts[rows] == part]
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
