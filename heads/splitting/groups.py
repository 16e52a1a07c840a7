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
        rng: Breaks ties.
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
        """(G, C + 1): rows of each class, and all rows, of each group in a mask."""
        code, strata = self.code[mask], self.strata[mask]
        columns = [np.bincount(code, strata[:, c], len(self.codes)) for c in range(strata.shape[1])]
        return np.stack([*columns, np.bincount(code, minlength=len(self.codes)).astype(np.float64)], axis=1)

    def check_groups(self, least: int) -> None:
        """Raise where there are fewer groups than three, or than `least`."""
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

    def check_disjoint(self, part: NDArray[Any], parts: str, remedy: str) -> None:
        """Raise where rows of a group are in two parts, (n,); parts below 0 do not count."""
        used, count = part >= 0, int(part.max()) + 1
        pairs = np.unique(self.code[used] * count + part[used])
        divided = np.flatnonzero(np.bincount(pairs // count, minlength=len(self.codes)) > 1)
        if len(divided):
            raise SplitError(
                f"{self.plural(len(divided))} of {len(self.codes)} would be on both sides, being in {parts}: "
                f"{listed(self._names(divided))}; {remedy}"
            )

    def split_off_validation(self, mask: NDArray[np.bool_], share: float, where: str) -> NDArray[np.bool_]:
        """(n,) bool: a share of the rows of a mask for the validation part, by group."""
        counts = self._count(mask)
        present = np.flatnonzero(counts[:, -1])
        if len(present) < 2:
            raise SplitError(
                f"{where}: {self.plural(len(present))} to train and to validate on; expected at least 2; label more of "
                "them, or give a validation part"
            )
        in_valid = np.zeros(len(self.codes), bool)
        in_valid[present] = distribute_groups(counts[present], (1 - share, share), self.rng) == 1
        return mask & in_valid[self.code]

    def plural(self, n: int | None = None) -> str:
        """'3 patients', or 'patients' without a number; for a column of the slides "values of 'site'"."""
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
    """Distribute groups over parts so that every part has its share of every class.

    Greedy: groups with most of a class first, each to the part where the sum over parts and classes of the squared
    difference from the share, relative to the share, grows least. No part stays empty.

    Args:
        counts: (G, C) rows of each class in each group; G is at least the number of parts.
        shares: Share of the rows for each part; they sum to 1.
        rng: Breaks ties.
    Returns:
        (G,) index of each group's part.
    """
    shuffled = rng.permutation(len(counts))
    weights = (counts / np.maximum(counts.sum(axis=0), 1))[shuffled]  # share of each class that a group has
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
    """Indices of groups in bundles: of one group, or of several with equal counts where there are over `_BUNDLES`."""
    if len(counts) <= _BUNDLES:
        return [np.array([i]) for i in range(len(counts))]
    _, code, sizes = np.unique(counts, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(code, kind="stable")
    bundles: list[NDArray[np.intp]] = []
    for equal in np.split(order, np.cumsum(sizes)[:-1]):
        size = max(1, len(equal) // _BUNDLES)
        bundles += np.split(equal, range(size, len(equal), size))
    return bundles


def listed(names: Iterable[Any]) -> str:
    """'a, b and c', or the first few and how many more."""
    names = [str(name) for name in names]
    if len(names) > _SHOWN:
        return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN:,} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
