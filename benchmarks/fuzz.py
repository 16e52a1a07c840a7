"""Random changes of every kind of input that others write: how many were tried, and what they ended in.

    python benchmarks/fuzz.py [--inputs 100000] [--seed 1] [--kind NAME ...]

Each kind of `tests/fuzz` runs in a process of its own, with the share of inputs that `make fuzz` gives it. A row a
kind goes to results/fuzz.csv: inputs, kinds of fault (what is neither a result nor one of our errors, a warning, more
than 2 GB, more than 20 s, a file elsewhere), CPU seconds with those of the processes that read slides, and the largest
memory of one process.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from measure import write_row

ROOT = Path(__file__).parent.parent
SUMMARY = re.compile(r"(\d+) of (\d+) inputs, (\d+) kinds of fault")


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.fuzz.kind import kinds

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--inputs", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--kind", action="append")
    given = options.parse_args()
    known = {kind.name: kind.sample for kind in kinds()}
    for name in given.kind or known:
        inputs = -(-given.inputs * known[name] // sum(known.values()))
        command = [sys.executable, "-m", "tests.fuzz", name, str(inputs), str(given.seed)]
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        said = process.stdout.read()
        _, _, usage = os.wait4(process.pid, 0)
        found = SUMMARY.search(said)
        if found is None or found[3] != "0":
            print(said, file=sys.stderr)
        row = {
            "kind": name,
            "inputs": inputs,
            "seed": given.seed,
            "faults": "ended" if found is None else found[3],
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
            "wall_s": round(time.monotonic() - began, 1),
            "peak_mb": round(usage.ru_maxrss / 1024),
        }
        write_row("fuzz", row)


if __name__ == "__main__":
    main()
