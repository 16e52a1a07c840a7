"""`python -m tests.fuzz KIND [INPUTS [SEED]]`: what inputs of a kind end in, other than in being read or refused."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.kind import find_faults, kinds

if __name__ == "__main__":
    known = {kind.name: kind for kind in kinds()}
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        sys.exit(f"{__doc__}\nkinds: {', '.join(known)}")
    with TemporaryDirectory() as folder:
        inputs, seed = (*map(int, sys.argv[2:]), *(1000, 0)[len(sys.argv[2:]) :])
        faults = find_faults(known[sys.argv[1]], Path(folder), inputs=inputs, seed_=seed)
    for fault in faults:
        print(fault)
    print(f"{sum(fault.count for fault in faults)} of {inputs} inputs, {len(faults)} kinds of fault")
