"""How often 95 % intervals of a head's metrics hold the truth: `evaluate` on simulated patients, few to many.

    python benchmarks/interval_coverage.py [REPEATS]

Scores are binormal with a population AUROC of 0.85. A share `correlation` of their variance is of the patient, half of
it apart for each class. Patients are of both classes, with prevalences that differ (beta), or of one class each. The
truth is that of two million tiles of 20,000 patients. `percentile` is what `evaluate` gives from 100 patients on, `t`
below.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from measure import write_row
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from heads.evaluation import bootstrap, metrics
from heads.evaluation.metrics import evaluate
from heads.evaluation.report import Report

PATIENTS = (3, 5, 8, 10, 15, 20, 30, 50)
SCENES = ((0.5, 0.2), (0.2, 0.2), (0.2, 0.5), (0.05, 0.2))  # prevalence, correlation within patients
METRICS = ("auroc", "auprc", "balanced_accuracy", "f1", "accuracy", "brier", "calibration_error")
TILES = 60  # of a patient, in the median
SHIFT = float(np.sqrt(2) * ndtri(0.85))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What patients are drawn from."""

    prevalence: float
    correlation: float
    mixed: bool  # patients are of both classes

    def draw(self, patients: int, rng: np.random.Generator) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Probabilities, targets, decisions and groups, as `evaluate` takes them."""
        tiles = np.maximum(5, rng.lognormal(np.log(TILES), 0.5, patients).astype(int))
        group = np.repeat(np.arange(patients), tiles)
        if self.mixed:
            share = rng.beta(2 * self.prevalence, 2 * (1 - self.prevalence), patients)
            target = rng.random(len(group)) < share[group]
        else:
            target = (rng.random(patients) < self.prevalence)[group]
        of_patient = rng.standard_normal((patients, 3))
        between = of_patient[group, 0] + of_patient[group, 1 + target]
        noise = np.sqrt(1 - self.correlation) * rng.standard_normal(len(group))
        score = SHIFT * target + np.sqrt(self.correlation / 2) * between + noise
        positive = expit(SHIFT * (score - SHIFT / 2) + np.log(self.prevalence / (1 - self.prevalence)))
        probability, decided = np.stack([1 - positive, positive], axis=1), score > SHIFT / 2
        return probability, np.stack([~target, target], axis=1), np.stack([~decided, decided], axis=1), group

    def truth(self) -> Report:
        return self.report(20_000, np.random.default_rng(99), resamples=0)

    def report(self, patients: int, rng: np.random.Generator, *, resamples: int) -> Report:
        return evaluate(*self.draw(patients, rng), classes=["normal", "tumour"], resamples=resamples)


def reports(scene: Scene, patients: int, repeats: int, many: int) -> Iterator[Report]:
    """Reports of as many patients, with percentiles from `many` groups on."""
    bootstrap.MANY_GROUPS = metrics.MANY_GROUPS = many
    for seed in range(repeats):
        report = scene.report(patients, np.random.default_rng(seed), resamples=400)
        if report.metrics["auroc"].value is not None:
            yield report


def measure(scene: Scene, patients: int, repeats: int) -> None:
    truth = scene.truth()
    for method, many in (("t", 1 << 30), ("percentile", 0)):
        held, widths, tried = defaultdict(list), defaultdict(list), 0
        for report in reports(scene, patients, repeats if method == "t" else repeats // 4, many):
            tried += 1
            for name in METRICS:
                found = report.metrics[name]
                if found.low is not None and found.high is not None:
                    held[name].append(found.low <= truth.metrics[name].value <= found.high)
                    widths[name].append(found.high - found.low)
        for name in METRICS:
            write_row("interval_coverage", {
                "patients": patients, "classes_of_a_patient": "both" if scene.mixed else "one",
                "prevalence": scene.prevalence, "correlation": scene.correlation, "method": method, "metric": name,
                "repeats": tried, "with_interval": len(held[name]),
                "coverage": round(float(np.mean(held[name])), 3) if held[name] else None,
                "width": round(float(np.median(widths[name])), 3) if held[name] else None,
            })  # fmt: skip


if __name__ == "__main__":
    for patients in PATIENTS:
        for prevalence, correlation in SCENES:
            for mixed in (True, False):
                scene = Scene(prevalence=prevalence, correlation=correlation, mixed=mixed)
                measure(scene, patients, int(sys.argv[1]) if len(sys.argv) > 1 else 400)
