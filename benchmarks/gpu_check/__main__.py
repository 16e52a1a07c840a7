"""Everything that only a GPU can show, in a few minutes on a bare machine, the most telling first.

It needs torch, timm, numpy, cv2, scikit-learn and this source. Each row is printed and written at once; a second call
with the same folder goes on where the first was cut off, and at the end it is said what there was no time for.

    python benchmarks/gpu_check --out FOLDER --seconds 200 [--tiles FOLDER] [--part pipeline] …
    python benchmarks/gpu_check --out FOLDER --device cpu --small      # that everything runs

`--tiles` is a folder of labelled tiles and weights, made by `benchmarks/gpu_check/pack.py`.
"""

import argparse
import datetime
import faulthandler
import gc
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent)]
#: Time for what follows a step that took longer than it should.
GRACE_S = 60
PARTS = (
    "own", "pipeline", "heads", "tuning", "augmenter", "decoding", "precision", "races", "forward", "compiled", "huge"
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the rows, gpu_check.jsonl")
    parser.add_argument("--seconds", type=float, default=200, help="no measurement is begun that would end later")
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)  # of a process that goes on for another
    parser.add_argument("--tiles", type=Path, help="folder of labelled tiles and weights")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--small", action="store_true", help="as little as shows that everything runs")
    parser.add_argument("--part", action="append", choices=PARTS, help="may be repeated; all, in this order")
    arguments = parser.parse_args()
    until = arguments.until or time.time() + arguments.seconds
    faulthandler.dump_traceback_later(max(1.0, until + GRACE_S - time.time()), exit=True)

    import cv2
    import numpy as np
    import timm
    import torch
    from report import Report
    from sizes import FULL, SMALL
    from tasks import steps_of

    from embedstore.extractors.torch_runtime import resolve_device

    gc.freeze()  # between measurements garbage is collected, which would look through all that was imported
    cv2.setNumThreads(1)  # a decoder thread each; more would only fight over the cores
    torch.set_float32_matmul_precision("high")
    device = resolve_device(arguments.device)
    facts = {
        "date": datetime.date.today().isoformat(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "numpy": np.__version__,
    }
    print(facts, flush=True)
    report = Report(arguments.out / "gpu_check.jsonl", facts, until)
    if arguments.small:
        torch.set_num_threads(1)  # more are slower on so little, and much so beside other work
    sizes = SMALL if arguments.small else FULL
    parts = arguments.part or PARTS
    try:
        left_out = report.run(
            step for part in PARTS if part in parts for step in steps_of(part, sizes, device, arguments.tiles)
        )
    except RuntimeError as error:
        # A new process goes on with the next step: the file says that this one has ended.
        print(f"the device is lost to this process, another goes on: {error}", flush=True)
        rest = [word for word in sys.argv[1:] if not word.startswith("--until")]
        os.execv(sys.executable, [sys.executable, str(HERE), *rest, f"--until={until}"])
    print("\n".join(["no time for:", *left_out]) if left_out else "nothing was left out", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
