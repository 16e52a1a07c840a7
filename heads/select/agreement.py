"""Whether two tasks rank the same extractors alike."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import kendalltau

from heads.evaluation.bootstrap import interval
from heads.select.compare import Scores
from heads.select.report import Agreement


def agreement(proxy: Scores, task: Scores, candidates: Sequence[str], probe: str) -> Agreement:
    """Kendall's τ-b between the scores of candidates on two tasks, and how much patients of both move it.

    The scores must be of resamples drawn apart: patients of two tasks are taken to be different people.

    With few candidates even a τ of 1 says little: among four, one order in 24 is right by chance.
    """
    if len(candidates) < 2:
        return Agreement(tau=None)
    found = kendalltau(*([scores.values[name, probe] for name in candidates] for scores in (proxy, task)))
    if not np.isfinite(found.statistic):
        return Agreement(tau=None)
    both = [np.stack([scores.samples[name, probe] for name in candidates], axis=1) for scores in (proxy, task)]
    drawn = np.array([kendalltau(a, b).statistic for a, b in zip(*both, strict=True)])
    low, high = (interval(drawn) if len(drawn) else None) or (None, None)
    return Agreement(tau=float(found.statistic), p=float(found.pvalue), low=low, high=high)
