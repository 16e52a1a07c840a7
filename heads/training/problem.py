"""A problem to fit heads to, as arrays on the device: targets, folds, weights, and how batches are drawn.

Everything has a row axis padded to a few sizes, and counts are values, not shapes: a few labels more or fewer compile
nothing again.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float16, Int, Int8, PRNGKeyArray
from numpy.typing import NDArray

from heads.config import FitConfig
from heads.devices import padded
from heads.examples import Examples
from heads.moments import moments
from heads.networks.augmenter_network import AugmenterArrays
from heads.splitting.splits import TRAIN, UNUSED, VALID
from heads.tasks import is_softmax

#: Most rows of each fold that are validated on while fitting; calibration and thresholds see all of them.
VALID_ROWS = 20_000


class SamplingGroups(NamedTuple):
    """Rows to train on, sorted so that those of the same folds and classes lie together.

    Attributes:
        order: (rows,) the sorted rows; padding behind.
        start, rows: Where each group begins in `order`, and its number of rows.
        fold_start, fold_rows: The same of all rows of the group's folds, whatever their classes.
        cumulative: Probability that a draw is from this group or one before it.
    """

    order: Int[Array, " rows"]
    start: Int[Array, " groups"]
    rows: Int[Array, " groups"]
    fold_start: Int[Array, " groups"]
    fold_rows: Int[Array, " groups"]
    cumulative: Float[Array, " groups"]


class Problem(NamedTuple):
    """Tasks × folds on some rows.

    Attributes:
        targets: Whether a row is of the class of each column, for each task; see `losses` for what columns are.
        known: Whether a task labels a row.
        parts: Part of each row in each fold, as in `splits`.
        present: Which columns each task has.
        softmax: Whether a task's classes exclude each other and are three or more.
        weights: Weights of the absence and presence of each column's class, by fold and task.
        mean, std: Moments of the rows that any fold trains on, by dimension.
        shift, scale: Mean and standard deviation of what each policy of augmentation makes of each fold's training
            rows, once vectors are standardised so; one policy where all see the same vectors.
        valid_rows: Rows that each fold is validated on while fitting; -1 is padding.
        valid_x: Their vectors.
        groups: How batches are drawn.
        augmenter: Arrays of the latent augmenter, where a policy uses one.
    """

    targets: Int8[Array, "tasks rows k"]
    known: Bool[Array, "tasks rows"]
    parts: Int8[Array, "folds rows"]
    present: Bool[Array, "tasks k"]
    softmax: Bool[Array, " tasks"]
    weights: Float[Array, "folds tasks 2 k"]
    mean: Float[Array, " dim"]
    std: Float[Array, " dim"]
    shift: Float[Array, "policies folds dim"]
    scale: Float[Array, "policies folds dim"]
    valid_rows: Int[Array, "folds valid"]
    valid_x: Float16[Array, "folds valid dim"]
    groups: SamplingGroups
    augmenter: AugmenterArrays | None = None


class BatchDraw(NamedTuple):
    """Rows of a batch, the partners to mix them with, and which vector is taken for each row.

    Attributes:
        rows: The rows.
        same, any: For each row another of the same classes, and one of any class.
        view: Which of its stored vectors is taken; 0 is the original.
        learned: Whether a latent augmentation is taken.
    """

    rows: Int[Array, "*n"]
    same: Int[Array, "*n"]
    any: Int[Array, "*n"]
    view: Int[Array, "*n"]
    learned: Bool[Array, "*n"]


def build_problem(
    vectors: NDArray[np.float16],
    targets: Sequence[NDArray[np.bool_]],
    known: Sequence[NDArray[np.bool_]],
    parts: NDArray[np.int8],
    multi_label: Sequence[bool],
    *,
    class_weights: bool,
    balanced_sampling: bool,
    seed: int,
    shares: NDArray[np.float64] | None = None,
) -> Problem:
    """Bring a problem to the device, all but the vectors.

    Args:
        vectors: (n, dim), or a view (n, views, dim) of which the first is the original; may be a memory map.
        targets: (n, classes) of each task.
        known: (n,) of each task.
        parts: (folds, n).
        multi_label: For each task whether an example may be of several classes.
        shares: (policies, views) how often each view is drawn for its row; all equally often when None.
    """
    n, rows = len(vectors), padded(len(vectors))
    softmax = [is_softmax(t.shape[1], several) for t, several in zip(targets, multi_label, strict=True)]
    columns = [
        of_task if several or exclusive else of_task[:, 1:]  # two classes have one column
        for of_task, several, exclusive in zip(targets, multi_label, softmax, strict=True)
    ]
    k = max(of_task.shape[1] for of_task in columns)
    all_targets = np.zeros((len(targets), rows, k), np.int8)
    all_known = np.zeros((len(targets), rows), bool)
    present = np.zeros((len(targets), k), bool)
    for t, (of_task, task_known) in enumerate(zip(columns, known, strict=True)):
        all_targets[t, :n, : of_task.shape[1]] = of_task & task_known[:, None]
        all_known[t, :n] = task_known
        present[t, : of_task.shape[1]] = True
    all_parts = np.full((len(parts), rows), UNUSED, np.int8)
    all_parts[:, :n] = np.where(all_known[:, :n].any(0), parts, UNUSED)
    mean, std, shift, scale = moments(vectors, all_parts[:, :n] == TRAIN, shares)
    valid_rows = _valid_rows(all_parts, seed)
    originals = vectors if vectors.ndim == 2 else vectors[:, 0]
    valid_x = np.stack([np.where(fold[:, None] >= 0, originals[np.maximum(fold, 0)], 0) for fold in valid_rows])
    weights = _weights(all_targets, all_known, all_parts, softmax, class_weights and not balanced_sampling)
    groups = _sampling_groups(all_targets, all_known, all_parts, balanced_sampling)
    arrays = {
        "targets": all_targets, "known": all_known, "parts": all_parts, "present": present,
        "softmax": np.asarray(softmax), "weights": weights, "mean": mean, "std": std, "shift": shift, "scale": scale,
        "valid_rows": valid_rows, "valid_x": valid_x,
    }  # fmt: skip
    return Problem(**jax.device_put(arrays), groups=groups)


def build_examples_problem(
    config: FitConfig, examples: Examples, vectors: NDArray[Any], shares: NDArray[np.float64] | None = None
) -> Problem:
    """The problem of fitting heads to examples and their vectors; see `build_problem`."""
    return build_problem(
        vectors, examples.targets, examples.known, examples.split.parts, [config.multi_label] * len(examples.tasks),
        class_weights=config.class_weights == "balanced", balanced_sampling=config.balanced_sampling, seed=config.seed,
        shares=shares,
    )  # fmt: skip


def _valid_rows(parts: NDArray[np.int8], seed: int) -> NDArray[np.int32]:
    """(folds, valid) rows of each fold's validation part, at most `VALID_ROWS`; -1 is padding."""
    rng = np.random.default_rng(seed)
    chosen = []
    for fold in parts:
        rows = np.flatnonzero(fold == VALID)
        chosen.append(np.sort(rng.permutation(rows)[:VALID_ROWS]))
    width = padded(max(len(rows) for rows in chosen))
    return np.stack([np.pad(rows, (0, width - len(rows)), constant_values=-1) for rows in chosen]).astype(np.int32)


def _weights(
    targets: NDArray[np.int8],
    known: NDArray[np.bool_],
    parts: NDArray[np.int8],
    softmax: Sequence[bool],
    balanced: bool,
) -> NDArray[np.float32]:
    """n / (classes · n of the class) over a fold's training rows, as scikit-learn's `balanced`; ones otherwise."""
    folds, tasks, k = len(parts), len(targets), targets.shape[2]
    weights = np.ones((folds, tasks, 2, k), np.float32)
    if not balanced:
        return weights
    for f, t in np.ndindex(folds, tasks):
        rows = (parts[f] == TRAIN) & known[t]
        n, with_class = rows.sum(), targets[t][rows].sum(0, dtype=np.int64)
        if softmax[t]:
            weights[f, t, 1] = n / (np.maximum((with_class > 0).sum(), 1) * np.maximum(with_class, 1))
        else:
            weights[f, t, 0] = n / (2 * np.maximum(n - with_class, 1))
            weights[f, t, 1] = n / (2 * np.maximum(with_class, 1))
    return weights


def _sampling_groups(
    targets: NDArray[np.int8], known: NDArray[np.bool_], parts: NDArray[np.int8], balanced: bool
) -> SamplingGroups:
    trained = np.flatnonzero((parts == TRAIN).any(0))
    folds_code = _row_codes((parts[:, trained] == TRAIN).T)
    labels = np.concatenate([targets[:, trained], known[:, trained, None]], axis=2)  # (tasks, n, k + 1)
    labels_code = _row_codes(labels.transpose(1, 0, 2).reshape(len(trained), -1))
    label_codes = labels_code.max() + 1
    group_code = folds_code * label_codes + labels_code
    order = np.argsort(group_code, kind="stable")
    groups, start, count = np.unique(group_code[order], return_index=True, return_counts=True)
    _, fold_first, fold_of = np.unique(groups // label_codes, return_index=True, return_inverse=True)
    fold_count = np.bincount(fold_of, weights=count).astype(np.int64)
    chance = count.astype(np.float64)
    if balanced:
        chance *= _rarity(targets, known, trained, order[start])
    size = 1 << max(int(np.ceil(np.log2(len(groups)))), 3)
    pad = (0, size - len(groups))
    arrays: dict[str, Any] = {
        "order": np.pad(trained[order], (0, targets.shape[1] - len(trained))).astype(np.int32),
        "start": np.pad(start, pad).astype(np.int32),
        "rows": np.pad(count, pad, constant_values=1).astype(np.int32),
        "fold_start": np.pad(start[fold_first][fold_of], pad).astype(np.int32),
        "fold_rows": np.pad(fold_count[fold_of], pad, constant_values=1).astype(np.int32),
        "cumulative": np.pad(np.cumsum(chance) / chance.sum(), pad, constant_values=2.0).astype(np.float32),
    }
    return SamplingGroups(**jax.device_put(arrays))


def draw_chances(groups: SamplingGroups) -> NDArray[np.float64]:
    """(rows,) the probability that a draw is of each row; 0 of rows that no fold trains on."""
    order, rows, cumulative = (np.asarray(a) for a in (groups.order, groups.rows, groups.cumulative))
    count = int(np.searchsorted(cumulative, 1.5))  # padding has 2
    of_group = np.diff(cumulative[:count].astype(np.float64), prepend=0.0) / rows[:count]
    chances = np.zeros(len(order))
    chances[order[: rows[:count].sum()]] = np.repeat(of_group, rows[:count])
    return chances


def _row_codes(flags: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) code of each row of zeros and ones (n, columns): equal rows have equal codes, from 0 in sorted order."""
    bits = np.packbits(flags, axis=1)
    if bits.shape[1] > 8:
        return np.unique(bits, axis=0, return_inverse=True)[1].reshape(-1)
    words = np.pad(bits, ((0, 0), (0, 8 - bits.shape[1]))).view(">u8")[:, 0]  # sorting integers is ten times as fast
    return np.unique(words, return_inverse=True)[1].reshape(-1)


def _rarity(
    targets: NDArray[np.int8], known: NDArray[np.bool_], trained: NDArray[np.intp], examples: NDArray[np.intp]
) -> NDArray[np.float64]:
    """How much more often a row is drawn so that a task's classes come equally often; the mean over tasks."""
    share = np.zeros(len(examples))
    rows = trained[examples]
    for task_targets, task_known in zip(targets, known, strict=True):
        distinct, count = np.unique(task_targets[trained[task_known[trained]]], axis=0, return_counts=True)
        weight = {row.tobytes(): 1 / n for row, n in zip(distinct, count, strict=True)}
        share += [weight.get(task_targets[row].tobytes(), 0.0) if task_known[row] else 0.0 for row in rows]
    return np.maximum(share, share[share > 0].min())


def draw_batch(
    groups: SamplingGroups, n: int, view_share: Float[Array, ""], learned_share: Float[Array, ""], views: int, *,
    key: PRNGKeyArray,
) -> BatchDraw:  # fmt: skip
    """Draw rows with replacement, and for each a partner of the same classes and one of any class, in its folds.

    A row whose latent augmentation is drawn is not drawn as a view: the augmenter takes vectors of unchanged tiles.
    """
    group_key, row_key, same_key, any_key, is_view_key, view_key = jax.random.split(key, 6)
    group_count = jnp.searchsorted(groups.cumulative, 1.5)  # padding has 2
    drawn = jnp.searchsorted(groups.cumulative, jax.random.uniform(group_key, (n,)), side="right")
    group = jnp.minimum(drawn, group_count - 1)
    start, count = groups.start[group], groups.rows[group]
    fold_start, fold_count = groups.fold_start[group], groups.fold_rows[group]
    learned = jax.random.uniform(jax.random.fold_in(key, 6), (n,)) < learned_share
    view = jnp.zeros(n, jnp.int32)
    if views > 1:
        is_view = ~learned & (jax.random.uniform(is_view_key, (n,)) < view_share)
        view = jnp.where(is_view, jax.random.randint(view_key, (n,), 1, views), 0)
    return BatchDraw(
        rows=groups.order[start + jax.random.randint(row_key, (n,), 0, count)],
        same=groups.order[start + jax.random.randint(same_key, (n,), 0, count)],
        any=groups.order[fold_start + jax.random.randint(any_key, (n,), 0, fold_count)],
        view=view,
        learned=learned,
    )
