"""How well a latent augmenter predicts the views of tiles of patients that it has not seen."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.views import PARAMETERS
from heads.augmentation.augmenter import Augmenter
from heads.augmentation.augmenter_report import ALL, AugmenterReport, ViewScores
from heads.augmentation.view_pairs import ViewPairs
from heads.evaluation.bootstrap import GroupSums, Statistic, measure
from heads.evaluation.report import Metric
from heads.networks.augmenter_network import TRANSFORMS
from heads.splitting.splits import TEST

#: What is summed over views.
_SUMS = ("views", "predicted", "original", "swapped", "error", "change")
_BLOCK_TILES = 4096
_PARAMETERS_OF = {
    "stain": tuple(name for name in PARAMETERS if name.endswith(("_gain", "_shift"))),
    **{name: (name,) for name in TRANSFORMS if name != "stain"},
}


def evaluate_augmenter(augmenter: Augmenter, pairs: ViewPairs, *, resamples: int, seed: int) -> AugmenterReport:
    """Evaluate an augmenter on the test part, with 95 % intervals by patient.

    Args:
        resamples: For the intervals; 0 is none.
        seed: Of the resamples, and of which view's parameters are swapped for which.
    """
    tiles = np.flatnonzero(pairs.part == TEST)
    count = pairs.views.shape[1]
    values = _values_of_views(augmenter, pairs, tiles, np.random.default_rng(seed))
    names = (ALL, *TRANSFORMS)
    has = _has_transform(pairs.parameters[tiles].reshape(len(tiles) * count, -1))
    codes, group = np.unique(pairs.group[tiles], return_inverse=True)
    cells = len(names) * len(_SUMS)
    shape = len(values), len(names), len(_SUMS)
    sums = GroupSums(
        np.broadcast_to(np.repeat(group, count)[:, None, None], shape).ravel(),
        np.broadcast_to(np.arange(cells).reshape(len(names), len(_SUMS)), shape).ravel(),
        (has[:, :, None] * values[:, None]).ravel(),
        groups=len(codes),
        cells=cells,
    )

    def metrics(total: NDArray[np.float64]) -> dict[Any, NDArray[np.float64]]:
        by_name = total.reshape(*total.shape[:-1], len(names), len(_SUMS))
        return {(n, m): value for i, n in enumerate(names) for m, value in _metrics(by_name[..., i, :]).items()}

    statistic = Statistic(sums=[sums], metrics=metrics)
    scores: dict[str, dict[str, Metric]] = {name: {} for name in names}
    for (name, metric), measured in measure([statistic], len(codes), resamples=resamples, seed=seed).items():
        scores[name][metric] = measured
    views = dict(zip(names, has.sum(axis=0).tolist(), strict=True))
    return AugmenterReport(
        tiles=len(tiles),
        groups=len(codes),
        scores={name: ViewScores(views=views[name], **scores[name]) for name in names},
    )


def _values_of_views(
    augmenter: Augmenter, pairs: ViewPairs, tiles: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.float64]:
    """(views, sums): what each view of some tiles adds to the sums, in the order of `_SUMS`."""
    count, std = pairs.views.shape[1], np.asarray(augmenter.arrays.std)
    parameters = pairs.parameters[tiles].reshape(len(tiles) * count, -1)
    swapped_parameters = parameters[rng.permutation(len(parameters))]
    parts = [np.empty((0, len(_SUMS)))]
    for start in range(0, len(tiles), _BLOCK_TILES):
        block = tiles[start : start + _BLOCK_TILES]
        rows = slice(start * count, (start + len(block)) * count)
        original = np.repeat(pairs.vectors[block], count, axis=0).astype(np.float32)
        true = pairs.views[block].reshape(len(original), -1).astype(np.float32)
        predicted = augmenter.augment(original, parameters[rows])
        swapped = augmenter.augment(original, swapped_parameters[rows])
        cosines = [_cosine(vectors, true) for vectors in (predicted, original, swapped)]
        squares = [
            np.square((vectors - true) / std, dtype=np.float64).mean(axis=1) for vectors in (predicted, original)
        ]
        parts.append(np.stack([np.ones(len(true)), *cosines, *squares], axis=1))
    return np.concatenate(parts)


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n,) cosine of each pair of rows; 0 where one is zero."""
    dot, aa, bb = (np.einsum("nd,nd->n", x, y, dtype=np.float64) for x, y in ((a, b), (a, a), (b, b)))
    return dot / np.maximum(np.sqrt(aa * bb), 1e-12)


def _has_transform(parameters: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(views, 1 + transforms): all views, and which have each transform."""
    columns = [np.ones(len(parameters), bool)]
    for name in TRANSFORMS:
        columns.append((parameters[:, [PARAMETERS.index(p) for p in _PARAMETERS_OF[name]]] != 0).any(axis=1))
    return np.stack(columns, axis=1)


def _metrics(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Scores from sums (…, sums); NaN where there is no view."""
    total = {name: sums[..., i] for i, name in enumerate(_SUMS)}

    def ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)

    return {
        "predicted": ratio(total["predicted"], total["views"]),
        "original": ratio(total["original"], total["views"]),
        "gain": ratio(total["predicted"] - total["original"], total["views"]),
        "transform_gain": ratio(total["predicted"] - total["swapped"], total["views"]),
        "explained": 1 - ratio(total["error"], total["change"]),
    }
