"""The choice between no augmentation and others, by what heads say of validation examples, patient by patient."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from heads.augmentation.policies import NONE
from heads.record import PolicyChoice, PolicyScore


def squared_errors(
    probabilities: NDArray[np.floating], targets: NDArray[np.bool_], multi_label: bool
) -> NDArray[np.float64]:
    """(n,) Brier score of each example, from probabilities and targets (n, classes): mean over classes if multi-label.

    It says as much as cross-entropy does, and one example that is certain and wrong does not decide alone.
    """
    squares = (np.asarray(probabilities, np.float64) - targets) ** 2
    return np.asarray(squares.mean(axis=1) if multi_label else squares.sum(axis=1) / 2)


def choose_policy(errors: Mapping[str, NDArray[np.float64]], group: NDArray[np.integer], margin: float) -> PolicyChoice:
    """The policy of the least mean error, or none where that gains too little over none to be told from noise.

    A policy's gain is its mean difference from none over examples. Its standard error is that of a mean over patients,
    whose examples are alike. (The rule of one standard error: Breiman et al. 1984.)

    Args:
        errors: (n,) of each validation example under each policy; among them none.
        group: (n,) the examples' patients.
        margin: Standard errors by which a policy has to be better than none.
    """
    none = errors[str(NONE)]
    groups, of_group = np.unique(group, return_inverse=True)
    tried = [_score(name, none - own, float(own.mean()), of_group) for name, own in errors.items() if len(own)]
    able = [one for one in tried if one.error is not None and one.gain > margin * one.error]
    best = max(able, key=lambda one: one.gain, default=None)
    chosen = str(NONE) if best is None else best.policy
    return PolicyChoice(chosen=chosen, margin=margin, groups=len(groups), tried=tuple(tried))


def _score(name: str, difference: NDArray[np.float64], brier: float, of_group: NDArray[np.intp]) -> PolicyScore:
    gain = float(difference.mean())
    sums = np.bincount(of_group, difference - gain)
    error = None  # of one patient
    if len(sums) > 1:
        error = float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(difference))
    return PolicyScore(policy=name, brier=brier, gain=gain, error=error)
