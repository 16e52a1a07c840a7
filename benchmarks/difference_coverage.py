"""How often the 95 % interval of the difference of a head's metrics between two sets of patients holds the truth.

    python benchmarks/difference_coverage.py [REPEATS]

The patients of `interval_coverage.py`, some of a head's test parts and others of a cohort: of the same population, so
that the difference is 0; or of one in which the class is rarer, so that it is known from 20,000 patients of each.
`evaluate` gives the intervals of the two, and `heads.cohorts.comparison` that of the difference.
"""

import sys
from dataclasses import replace

import numpy as np
from interval_coverage import Scene
from measure import write_row

from heads.cohorts.comparison import compared

SIZES = ((8, 8), (30, 8), (30, 30), (150, 30))  # patients of the test parts, and of the cohort
METRICS = ("auroc", "balanced_accuracy", "f1", "brier")


def measure(own: Scene, here: Scene, sizes: tuple[int, int], repeats: int) -> None:
    truths = own.truth(), here.truth()
    held: dict[str, list[bool]] = {name: [] for name in METRICS}
    widths: dict[str, list[float]] = {name: [] for name in METRICS}
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        there, found = (scene.report(n, rng, resamples=400) for scene, n in zip((own, here), sizes, strict=True))
        for each in compared(found.metrics, there.metrics):
            change = each.difference
            if each.name not in METRICS or change is None or change.low is None or change.high is None:
                continue
            values = [truth.metrics[each.name].value for truth in truths]
            truth = (values[1] or 0) - (values[0] or 0)
            held[each.name].append(change.low <= truth <= change.high)
            widths[each.name].append(change.high - change.low)
    for name in METRICS:
        if held[name]:
            row = {"metric": name, "own_patients": sizes[0], "patients": sizes[1], "prevalence": own.prevalence}
            row |= {"prevalence_here": here.prevalence, "repeats": len(held[name])}
            row |= {"held": round(float(np.mean(held[name])), 3), "width": round(float(np.median(widths[name])), 3)}
            write_row("difference_coverage", row)


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    own = Scene(prevalence=0.4, correlation=0.2, mixed=True)
    for here in (own, replace(own, prevalence=0.15)):
        for sizes in SIZES:
            measure(own, here, sizes, repeats)


if __name__ == "__main__":
    main()
