"""Intervals of a head's metrics over many groups, by this source and by another in turn.

python benchmarks/bootstrap_groups.py --groups 1000000 --beside OTHER_CHECKOUT
"""

import argparse
import json
import time

import numpy as np
from measure import absolute_path, measured_with, peak_bytes, sources, write_row


def scene(groups: int, classes: int, rows_per_group: int):
    """Probabilities, truth, decisions and groups of scores that all differ."""
    rng = np.random.default_rng(0)
    rows = groups * rows_per_group
    targets = np.eye(classes, dtype=bool)[rng.integers(0, classes, rows)]
    odds = np.exp(rng.normal(size=(rows, classes)) + targets)
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    decisions = np.eye(classes, dtype=bool)[probabilities.argmax(axis=1)]
    return probabilities, targets, decisions, np.arange(rows) // rows_per_group


def measure_here(groups: int, classes: int, rows_per_group: int) -> None:
    """Print what one evaluation takes in this process, and its intervals."""
    from heads.evaluation.metrics import evaluate

    drawn = scene(groups, classes, rows_per_group)
    names = [f"class {k}" for k in range(classes)]
    took = []
    for resamples in (0, 1000):
        began = time.monotonic(), time.process_time()
        report = evaluate(*drawn, classes=names, resamples=resamples)
        took.append((time.monotonic() - began[0], time.process_time() - began[1]))
    ends = {name: [metric.low, metric.high] for name, metric in report.metrics.items() if metric.low is not None}
    print(
        json.dumps(
            {
                "whole_s": round(took[1][0], 2),
                "whole_cpu_s": round(took[1][1], 2),
                "without_intervals_s": round(took[0][0], 2),
                "peak_mb": peak_bytes() >> 20,
                "auroc": " to ".join(f"{end:.5f}" for end in ends["auroc"]),
                "brier": " to ".join(f"{end:.5f}" for end in ends["brier"]),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=1_000_000)
    parser.add_argument("--cases", default="2x1,4x1,2x3", help="classes x rows of a group")
    parser.add_argument("--beside", type=absolute_path, help="a checkout whose heads/ is measured in turn")
    parser.add_argument("--here", action="store_true", help="one case, in this process")
    args = parser.parse_args()
    for case in args.cases.split(","):
        classes, rows = map(int, case.split("x"))
        if args.here:
            measure_here(args.groups, classes, rows)
            continue
        for source, root in sources(args.beside).items():
            took = measured_with(root, __file__, "--here", "--groups", str(args.groups), "--cases", case)
            row = {"source": source, "groups": args.groups, "rows_per_group": rows, "classes": classes}
            write_row("bootstrap_groups", {**row, "resamples": 1000, **took})


if __name__ == "__main__":
    main()
