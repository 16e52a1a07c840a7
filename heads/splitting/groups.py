"""Groups: rows that a split must keep together, usually those of a patient, and how groups are assigned to parts."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import SplitError

# Groups of equal counts (each tile its own group) are assigned in at most so many bundles: a class is then divided to
# 1/4000 instead of to the tile, and 1,000,000 groups take as long as 10,000.
_BUNDLES = 4000
_SHOWN = 5  # names in a message
_NOUNS = {"patient": "patient", "slide_id": "slide", "tile": "tile"}


class Groups:
    """The groups of labelled rows, with how many rows of each class they have.

    Attributes:
        codes: (G,) the distinct codes, ascending.
        code: (n,) index of each row's group into `codes`.
        counts: (G, C + 1) rows of each class of each group, and in the last column all its rows.
        rng: What ties are broken by.
    """

    def __init__(
        self,
        groups: NDArray[Any],
        strata: NDArray[np.bool_],
        *,
        names: Sequence[str] | None,
        group_by: str,
        seed: int,
    ):
        self.codes, self.code = np.unique(groups, return_inverse=True)
        self.strata = strata
        self.counts = self._count(np.ones(len(groups), bool))
        self.rng = np.random.default_rng(seed)
        self._all_names = names
        self._group_by = group_by

    def _count(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(groups, C + 1): rows of each class, and all rows, of each group among those of a mask."""
        code, strata = self.code[mask], self.strata[mask]
        columns = [np.bincount(code, strata[:, c], len(self.codes)) for c in range(strata.shape[1])]
        return np.stack([*columns, np.bincount(code, minlength=len(self.codes)).astype(np.float64)], axis=1)

    def check_groups(self, least: int) -> None:
        n = len(self.codes)
        if n < 3:
            raise SplitError(
                f"{self.plural(n)} to split; expected at least 3: one to train on, one to validate on, one to test on; "
                "label more of them, or say in the list of slides who the patients are"
            )
        if n < least:
            raise SplitError(
                f"{self.plural(n)} for {least} folds; pass --folds {n}, or label at least {least} {self.plural()}"
            )

    def check_disjoint(self, side: NDArray[Any], sides: str, remedy: str) -> None:
        """Raise where rows of a group are on two sides; sides below 0 do not count."""
        used = side >= 0
        pairs = np.unique(self.code[used] * (int(side.max()) + 1) + side[used])
        twice = np.flatnonzero(np.bincount(pairs // (int(side.max()) + 1), minlength=len(self.codes)) > 1)
        if len(twice):
            raise SplitError(
                f"{self.plural(len(twice))} of {len(self.codes)} would be on both sides, being in {sides}: "
                f"{listed(self._names(twice))}; {remedy}"
            )

    def split_off_validation(self, mask: NDArray[np.bool_], share: float, where: str) -> NDArray[np.bool_]:
        """(n,) bool: the rows of a mask that are to be validated on, a share of them, by group."""
        counts = self._count(mask)
        mine = np.flatnonzero(counts[:, -1])
        if len(mine) < 2:
            raise SplitError(
                f"{where}: {self.plural(len(mine))} to train and to validate on; expected at least 2; label more of "
                "them, or give a validation part"
            )
        taken = np.zeros(len(self.codes), bool)
        taken[mine] = distribute_groups(counts[mine], (1 - share, share), self.rng) == 1
        return mask & taken[self.code]

    def plural(self, n: int | None = None) -> str:
        """'3 patients', or 'patients' alone; of a column of the slides 'values of site'."""
        noun = _NOUNS.get(self._group_by)
        if noun is None:
            words = f"value{'' if n == 1 else 's'} of {self._group_by!r}"
        else:
            words = noun if n == 1 else f"{noun}s"
        return words if n is None else f"{n:,} {words}"

    def named(self, mask: NDArray[np.bool_]) -> str:
        """How many groups the rows of a mask are of, and which."""
        codes = np.unique(self.code[mask])
        return f"{self.plural(len(codes))} ({listed(self._names(codes))})"

    def _names(self, indices: NDArray[Any]) -> list[str]:
        return [str(self.codes[i] if self._all_names is None else self._all_names[self.codes[i]]) for i in indices]


def distribute_groups(
    counts: NDArray[np.float64], shares: Sequence[float], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Deal groups to parts so that every part has its share of every class.

    Greedy: those with most of a class first, each to the part where the squares of what the parts have too much or too
    little of each class, as a share of what they should have, stay least. No part stays empty.

    Args:
        counts: (G, C) rows of each class in each group; G is at least the number of parts.
        shares: What each part should have of the rows; they sum to 1.
        rng: Breaks ties.
    Returns:
        (G,) index of each group's part.
    """
    shuffled = rng.permutation(len(counts))
    weights = (counts / np.maximum(counts.sum(axis=0), 1))[shuffled]  # what a group has of each class
    bundles = _bundles(counts[shuffled])
    sums = np.stack([weights[bundle[0]] * len(bundle) for bundle in bundles])
    share = np.asarray(shares)[:, None]
    held = np.zeros((len(share), counts.shape[1]))
    empty = set(range(len(share)))
    part = np.empty(len(counts), np.intp)
    hardest = np.lexsort([-sums.sum(axis=1), -sums.max(axis=1)])
    for done, index in enumerate(hardest):
        added = sums[index]
        cost = (((held - share) * 2 + added) / share) @ added  # what the sum of squares grows by
        best = int(cost.argmin())
        if len(hardest) - done <= len(empty):
            best = min(empty, key=cost.__getitem__)
        held[best] += added
        empty.discard(best)
        part[shuffled[bundles[index]]] = best
    return part


def _bundles(counts: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Groups of equal counts, put together where there are more than `_BUNDLES` of them."""
    if len(counts) <= _BUNDLES:
        return [np.array([i]) for i in range(len(counts))]
    _, kind, sizes = np.unique(counts, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(kind, kind="stable")
    bundles: list[NDArray[np.intp]] = []
    for alike in np.split(order, np.cumsum(sizes)[:-1]):
        size = max(1, len(alike) // _BUNDLES)
        bundles += np.split(alike, range(size, len(alike), size))
    return bundles


def listed(names: Iterable[Any]) -> str:
    """'a, b and c', or the first few and how many more."""
    names = [str(name) for name in names]
    if len(names) > _SHOWN:
        return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN:,} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
