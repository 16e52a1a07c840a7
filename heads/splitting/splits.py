"""Splits: which labelled rows are trained on, validated on and tested on, with no patient in two parts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import SplitError
from embedstore.part_names import part_called
from heads.config import SplitConfig
from heads.splitting.groups import Groups, distribute_groups, listed

TRAIN, VALID, TEST, UNUSED = 0, 1, 2, -1
PART_NAMES = {TRAIN: "train", VALID: "valid", TEST: "test"}

_JOINT = "\t"  # between the folds of a given value; no table of text has it in a cell
_FOLD_PART = re.compile(r"fold_\d+=", re.IGNORECASE)
#: A number below 0 is none: scikit-learn's PredefinedSplit calls -1 what is in no test part.
_FOLD = re.compile(r"\s*(?:fold[\s_-]*)?(\d+)(?:\.0*)?\s*", re.IGNORECASE)
#: Folds of k-fold cross-validation where the configuration names no number.
FOLDS = 5
_ORDERS = 200  # orders of the folds that are tried before a class is reported as missing from a train part


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Which part each row belongs to, fold by fold.

    Attributes:
        parts: (folds, n) int8 of TRAIN, VALID, TEST and UNUSED.
        names: A name for each fold: 'fold 1/5', 'holdout', 'site=A', 'given'.
        notes: What the user should know: parts that were not given, classes that a part lacks, rows left out.
    """

    parts: NDArray[np.int8]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def rows(self, fold: int, part: int) -> NDArray[np.intp]:
        """Indices of the rows of one part of one fold, ascending."""
        return np.flatnonzero(self.parts[fold] == part)


def make_split(
    config: SplitConfig,
    *,
    groups: NDArray[Any],
    strata: NDArray[np.bool_],
    classes: Sequence[str],
    values: NDArray[Any] | None = None,
    value_names: Sequence[str] = (),
    group_names: Sequence[str] | None = None,
) -> Split:
    """Split rows (tiles, slides or patients) so that no group is in two parts, and classes are spread evenly.

    Several tasks share one split, so a row may be of many strata: the class columns of every task side by side. That,
    parts of unequal size, and given parts are why this is not scikit-learn's StratifiedGroupKFold, which it otherwise
    resembles: groups are assigned one by one, those with most of a class first, each to the part where the shares of
    all classes stay closest to what they should be (least squares, as a share of the part). Where a group goes depends
    on its code, on its counts and on the seed, not on the order of rows.

    Args:
        config: The kind of split, with folds, shares and seed; `group_by` is what messages call a group.
        groups: (n,) integers: rows of a group stay together, usually those of a patient. Every row has one.
        strata: (n, C) bool: the classes of each row over all tasks. A row may be of none.
        classes: Names of the C columns; 'task: class' where there are several tasks.
        values: (n,) integers, -1 for none. With `column`: index of the row's value. With `given` and `file`: of its
            given part or fold.
        value_names: What `values` points into: values of the column, or parts ('train', 'val', 'testing', …), numbers
            of folds, or the parts of several folds as of `fold_parts`.
        group_names: Names of groups by code, for messages; the codes themselves otherwise.
    Returns:
        kfold: fold i is tested on while fold i + 1 is validated on. holdout: one fold. column: a fold for each value,
        tested on, with `valid_share` of the others to validate on. given and file: one fold as given; where no
        validation part is given, `valid_share` of the groups of the train part. Given numbers of folds are used as
        kfold does.
    Raises:
        SplitError: fewer than three groups, or fewer than folds; a group in two given parts or in two values of the
            column; rows without a value; a given part that is no name of a part, or no train or test part; a class that
            a train part lacks.
    """
    grouping = Groups(
        np.asarray(groups), np.asarray(strata, bool), names=group_names, group_by=config.group_by, seed=config.seed
    )
    if values is None and config.kind in ("column", "given", "file"):
        raise SplitError(f"split {config.kind!r} was asked for without a value a row; expected one for each label")
    values = np.full(len(strata), -1) if values is None else np.asarray(values)
    notes: list[str] = []
    grouping.check_groups(config.folds if config.kind == "kfold" and config.folds else 3)
    if config.kind == "kfold":
        parts, names = _kfold(grouping, config.folds or min(FOLDS, len(grouping.codes)), classes)
        if config.folds is None and len(names) < FOLDS:
            notes.append(f"{grouping.plural(len(names))}, so there are {len(names)} folds and not {FOLDS}")
    elif config.kind == "holdout":
        shares = (1 - config.valid_share - config.test_share, config.valid_share, config.test_share)
        part_of_group = distribute_groups(grouping.counts, shares, grouping.rng)
        parts, names = part_of_group[None, grouping.code].astype(np.int8), ["holdout"]
    elif config.kind == "column":
        parts, names = _by_column(grouping, config, values, value_names)
    else:
        parts, names = _given(grouping, config, values, value_names, notes)
    notes += _check_classes(parts, names, grouping, classes, config)
    return Split(parts=parts, names=tuple(names), notes=tuple(notes))


@dataclass(frozen=True, kw_only=True)
class PartCounts:
    """How much is in a part: rows, groups, and rows of each class."""

    rows: int
    groups: int
    classes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class FoldCounts:
    """How much is in each part of a fold."""

    fold: str
    train: PartCounts
    valid: PartCounts
    test: PartCounts

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "FoldCounts":
        """Counts from what `dataclasses.asdict` made of them."""
        return cls(fold=record["fold"], **{name: PartCounts(**record[name]) for name in PART_NAMES.values()})


def count_parts(
    split: Split, *, groups: NDArray[Any], strata: NDArray[np.bool_], classes: Sequence[str]
) -> tuple[FoldCounts, ...]:
    """Rows, groups and rows of each class in each part of each fold."""

    def count(in_part: NDArray[np.bool_]) -> PartCounts:
        return PartCounts(
            rows=int(in_part.sum()),
            groups=len(np.unique(np.asarray(groups)[in_part])),
            classes=dict(zip(classes, strata[in_part].sum(axis=0).tolist(), strict=True)),
        )

    return tuple(
        FoldCounts(fold=name, **{part: count(fold == code) for code, part in PART_NAMES.items()})
        for name, fold in zip(split.names, split.parts, strict=True)
    )


def fold_parts(folds: Sequence[str], parts: Sequence[str | None]) -> str:
    """A given value that says in which part a row is of each of several folds; in none where that is None."""
    return _JOINT.join(f"{fold}={part or ''}" for fold, part in zip(folds, parts, strict=True))


def part_of_name(name: str) -> int:
    """TRAIN, VALID or TEST by a common name ('Training', 'val', 'dev', 'test'); UNUSED for any other word."""
    part = part_called(str(name))
    return next((code for code, own in PART_NAMES.items() if own == part), UNUSED)


# -- the kinds ------------------------------------------------------------------------------


def _kfold(grouping: Groups, folds: int, classes: Sequence[str]) -> tuple[NDArray[np.int8], list[str]]:
    """Distribute groups over folds, and order the folds so that every train part has every class."""
    fold = distribute_groups(grouping.counts, [1 / folds] * folds, grouping.rng)
    has_class = np.zeros((folds, len(classes)), bool)
    np.logical_or.at(has_class, fold, grouping.counts[:, : len(classes)] > 0)
    position = np.arange(folds)
    for order in [position, *(grouping.rng.permutation(folds) for _ in range(_ORDERS))]:
        if _in_train_part(has_class[order]).all():
            position = np.argsort(order)
            break
    parts = _rotate_parts(position[fold][grouping.code], folds)
    return parts, [f"fold {i + 1}/{folds}" for i in range(folds)]


def _in_train_part(has_class: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(folds, classes) whether the train part of each fold has the class, from whether the fold has it.

    True for a class that no fold has.
    """
    in_folds = has_class.sum(axis=0)
    outside = in_folds - has_class - np.roll(has_class, -1, axis=0)
    return (outside > 0) | (in_folds == 0)


def _rotate_parts(fold: NDArray[Any], folds: int) -> NDArray[np.int8]:
    """Parts from a fold for each row (-1: none): fold i is tested on, the next one is validated on."""
    parts = np.full((folds, len(fold)), TRAIN, np.int8)
    parts[:, fold < 0] = UNUSED
    for i in range(folds):
        parts[i, fold == i] = TEST
        parts[i, fold == (i + 1) % folds] = VALID
    return parts


def _by_column(
    grouping: Groups, config: SplitConfig, values: NDArray[Any], value_names: Sequence[str]
) -> tuple[NDArray[np.int8], list[str]]:
    column = config.column
    if (values < 0).any():
        raise SplitError(
            f"{int((values < 0).sum()):,} of {len(values):,} labelled rows, of {grouping.named(values < 0)}, have no "
            f"{column!r}; expected one for each slide; give it in the list of slides, or leave these slides out"
        )
    present = np.unique(values)
    if len(present) < 2:
        raise SplitError(
            f"all labelled rows have {column} = {value_names[present[0]]!r}; expected two values or more; "
            "split by another column, or pass --split kfold"
        )
    remedy = "correct it in the list of slides, or pass --split kfold"
    grouping.check_disjoint(values, f"two values of {column!r}", remedy)
    parts = np.empty((len(present), len(values)), np.int8)
    for i, value in enumerate(present):
        others = values != value
        valid = grouping.split_off_validation(others, config.valid_share, f"fold {column}={value_names[value]}")
        parts[i] = np.where(valid, VALID, np.where(others, TRAIN, TEST))
    return parts, [f"{column}={value_names[value]}" for value in present]


def _given(
    grouping: Groups, config: SplitConfig, values: NDArray[Any], value_names: Sequence[str], notes: list[str]
) -> tuple[NDArray[np.int8], list[str]]:
    missing = int((values < 0).sum())
    if missing == len(values):
        raise SplitError(f"none of {missing:,} labelled rows has a given split; pass --split kfold or --split holdout")
    if missing:
        notes.append(
            f"{missing:,} of {len(values):,} labelled rows, of {grouping.named(values < 0)}, have no given split and "
            "are left out"
        )
    present = [int(value) for value in np.unique(values) if value >= 0]
    if all(_FOLD_PART.match(str(value_names[value])) for value in present):
        return _given_parts_of_folds(grouping, config, values, value_names, notes)
    part_of = {value: part_of_name(value_names[value]) for value in present}
    numbered = {value: _FOLD.fullmatch(str(value_names[value])) for value in present}
    if all(match is not None for match in numbered.values()):
        numbers = {value: int(match.group(1)) for value, match in numbered.items() if match}
        return _given_folds(grouping, config, values, numbers, notes)
    unknown = [value for value in present if part_of[value] == UNUSED]
    if unknown:
        neither = [value for value in unknown if numbered[value] is None] or unknown
        raise SplitError(
            f"given split {listed(repr(value_names[value]) for value in neither)} is no name of a part; expected "
            "train, valid and test, or numbers of folds"
        )
    table = np.full(max(len(value_names), 1), UNUSED, np.int8)
    for value in present:
        table[value] = part_of[value]
    part = np.where(values < 0, UNUSED, table[values]).astype(np.int8)
    return _given_parts(grouping, config, part, notes), ["given"]


def _given_parts(grouping: Groups, config: SplitConfig, part: NDArray[np.int8], notes: list[str]) -> NDArray[np.int8]:
    counts = {name: int((part == code).sum()) for code, name in PART_NAMES.items()}
    for name in ("train", "test"):
        if not counts[name]:
            raise SplitError(
                f"the given split has no {name} part: {listed(f'{k} {n:,} rows' for k, n in counts.items())}; add one, "
                "or pass --split holdout"
            )
    grouping.check_disjoint(part, "two parts of the given split", _remedy(config))
    if not counts["valid"]:
        train = part == TRAIN
        part[grouping.split_off_validation(train, config.valid_share, "the given train part")] = VALID
        share = (part == VALID).sum() / train.sum()
        notes.append(
            f"the given split has no validation part: {share:.0%} of the rows of its train part, of "
            f"{grouping.named(part == VALID)}, are validated on"
        )
    return part[None]


def _given_parts_of_folds(
    grouping: Groups, config: SplitConfig, values: NDArray[Any], value_names: Sequence[str], notes: list[str]
) -> tuple[NDArray[np.int8], list[str]]:
    """Folds of which each has its own parts, from values as `fold_parts` makes them."""
    of_value = [dict(each.split("=", 1) for each in name.split(_JOINT)) for name in map(str, value_names)]
    names = list(of_value[0])
    parts = np.full((len(names), len(values)), UNUSED, np.int8)
    for f, fold in enumerate(names):
        words = [each[fold] for each in of_value]
        if unknown := sorted({word for word in words if word and part_of_name(word) == UNUSED}):
            raise SplitError(
                f"{fold} of the given split has {listed(map(repr, unknown))}; expected train, val and test"
            )
        table = np.array([*(part_of_name(word) for word in words), UNUSED], np.int8)
        of_fold: list[str] = []
        parts[f] = _given_parts(grouping, config, table[values], of_fold)[0]
        notes += [f"{fold}: {note}" for note in of_fold]
    return parts, names


def _given_folds(
    grouping: Groups, config: SplitConfig, values: NDArray[Any], numbers: dict[int, int], notes: list[str]
) -> tuple[NDArray[np.int8], list[str]]:
    ordered = sorted(set(numbers.values()))
    if len(ordered) < 2:
        raise SplitError(f"the given split has one fold only ({ordered[0]}); expected two or more")
    fold = np.full(len(values), -1)
    for value, number in numbers.items():
        fold[values == value] = ordered.index(number)
    grouping.check_disjoint(fold, "two folds of the given split", _remedy(config))
    names = [f"given fold {number}" for number in ordered]
    if len(ordered) > 2:
        return _rotate_parts(fold, len(ordered)), names
    parts = np.empty((2, len(fold)), np.int8)
    for i in range(2):
        valid = grouping.split_off_validation(fold == 1 - i, config.valid_share, names[i])
        parts[i] = np.select([valid, fold == 1 - i, fold == i], [VALID, TRAIN, TEST], UNUSED)
    notes.append("two folds are given: in each, a share of the other is validated on")
    return parts, names


def _remedy(config: SplitConfig) -> str:
    other = "" if config.group_by == "tile" else ", or --group-by tile if its tiles have nothing to do with each other"
    return f"correct the split, or pass --split kfold{other}"


# -- what a split lacks ---------------------------------------------------------------------


def _check_classes(
    parts: NDArray[np.int8], names: Sequence[str], grouping: Groups, classes: Sequence[str], config: SplitConfig
) -> list[str]:
    """Notes on classes that a validation or test part lacks; an error where a train part lacks one."""
    has_class = {code: np.array([grouping.strata[fold == code].any(axis=0) for fold in parts]) for code in PART_NAMES}
    notes = []
    for c, label in enumerate(classes):
        groups = int((grouping.counts[:, c] > 0).sum())
        if not groups:
            continue
        lacking = {code: [names[i] for i in range(len(names)) if not has_class[code][i, c]] for code in PART_NAMES}
        if lacking[TRAIN]:
            remedy = {
                "kfold": "pass fewer or more --folds, or --split holdout",
                "holdout": "pass a smaller test share",
                "column": "split by another column, or pass --split kfold",
            }.get(config.kind, "correct the given split, or pass --split kfold")
            raise SplitError(
                f"class {label!r} is missing from the train part of {listed(lacking[TRAIN])}: only "
                f"{grouping.plural(groups)} of {len(grouping.codes):,} have it; label it on more {grouping.plural()}, "
                f"or {remedy}"
            )
        for code, consequence in ((VALID, "it does not count there"), (TEST, "it has no metrics there")):
            if lacking[code]:
                notes.append(
                    f"class {label!r}, of {grouping.plural(groups)}, is missing from the {PART_NAMES[code]} part of "
                    f"{listed(lacking[code])}: {consequence}"
                )
    return notes
