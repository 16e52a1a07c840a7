"""Whether two tasks rank the same extractors alike."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import kendalltau

from heads.bootstrap import interval
from heads.report import Metric
from heads.select.compare import Scores


def agreement(proxy: Scores, task: Scores, candidates: Sequence[str], probe: str) -> Metric:
    """Kendall's τ-b between the scores of candidates on two tasks, with its interval by patients of both.

    The scores must be of resamples drawn apart: patients of two tasks are taken to be different people.

    1: the same order; 0: no more alike than chance; undefined with fewer than two candidates. With few candidates even
    a τ of 1 says little: among four, one order in 24 is right by chance.
    """
    if len(candidates) < 2:
        return Metric(value=None)
    value = _tau(*([scores.values[name, probe] for name in candidates] for scores in (proxy, task)))
    both = [np.stack([scores.samples[name, probe] for name in candidates], axis=1) for scores in (proxy, task)]
    drawn = np.array([_tau(a, b) for a, b in zip(*both, strict=True)])
    low, high = (interval(drawn) if len(drawn) else None) or (None, None)
    return Metric(value=value if np.isfinite(value) else None, low=low, high=high)


def _tau(a: Sequence[float], b: Sequence[float]) -> float:
    return float(kendalltau(a, b).statistic)
