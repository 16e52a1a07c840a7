"""What heads from stored vectors are worth, and what they cost.

    python benchmarks/fit_head.py quality --data ../shared/data [--store FOLDER]
    python benchmarks/fit_head.py grid [--steps 1000] [--batch 256] [--rounds 5]
    python benchmarks/fit_head.py compilations
    python benchmarks/fit_head.py large [--store FOLDER] [-- --split holdout]
    python benchmarks/fit_head.py paper --data ../shared/data [--store FOLDER] [--limit-s 1200]

`quality`: F1 and AUROC on the test part of PatchCamelyon and of atypical mitoses, with intervals by patient, of three
heads on the vectors of stain-texture, MobileNetV2 (ImageNet) and ShuffleNet (histology), beside scikit-learn's
LogisticRegression on the same vectors and parts: standardised, balanced, C chosen on the validation part from the grid
of `fit-head` and two strengths more on either side, the threshold by the same rule. The difference of the two has an
interval of its own, from the same resamples.

`grid`: one head (AdamW, 1,000 steps of 256 on 16,000 × 512 vectors, validated every 50) beside a plain PyTorch loop of
as many steps and one LogisticRegression; 64 heads (8 learning rates × 8 seeds) beside one, and beside a
LogisticRegressionCV (10 strengths, 5 folds). Sides take turns within each round, in one process; medians and ranges of
wall and CPU time. 'The program' is what is compiled, with everything on the device; 'posed and fitted' is all that
`fit-head` does between reading vectors and evaluating. The first call, which compiles, stands beside.

`compilations`: how many programs a first call compiles, a second, one with other data, and one with a few labels more.

`large`: `embedstore fit-head` on 1,000,000 × 768 vectors of 200 slides of 40 patients with an annotated area each, as a
process of its own: seconds from the command to the saved head, where they went, and the share spent reading. First with
an empty cache of compiled programs, then with what it left there. What follows `--` goes to the command.

`paper`: linear heads on MobileNetV2's vectors of PatchCamelyon, by L-BFGS (the default) and AdamW, beside training all
of MobileNetV2 from the same weights, on the CPU, until it has the head's F1 on the validation part as the mean of five
looks. Each side's F1 on the test part stands beside. Ratios are the network's seconds of training alone by the head's
seconds from labels and store to the saved head, in a process that has fitted one before; for a first call, which
compiles; and with the extraction of the tiles that are trained and validated on added to the head's.

Rows go to results/fit_head_*.csv. `load_1m` is how busy the machine was before. Measure on a quiet one: threads of
torch and OpenBLAS spin while they wait for each other, and where another process keeps a core busy the same forward
pass was seen to take 30 times as long.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import absolute_path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["quality", "grid", "compilations", "large", "paper"])
    parser.add_argument(
        "--data", type=absolute_path, default="../shared/data", help="folder that holds tiles/ and weights/"
    )
    parser.add_argument("--store", type=absolute_path, help="folder to keep stores in; a temporary one by default")
    parser.add_argument("--task", action="append", help="quality: a task; both by default")
    parser.add_argument("--head", action="append", help="quality: linear, 'linear, adamw' or mlp; all by default")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, help="256 with grid, 32 with paper")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vectors", type=int, default=20_000, help="grid and compilations: with all three parts")
    parser.add_argument("--dim", type=int, help="512 with grid and compilations, 768 with large")
    parser.add_argument("--slides", type=int, default=200)
    parser.add_argument("--tiles", type=int, default=5000, help="large: of each slide")
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--limit-s", type=float, default=1200, help="paper: seconds of training at most")
    parser.add_argument("--every", type=int, default=20, help="paper: steps between two looks at the validation part")
    parser.add_argument("--seeds", type=int, default=3, help="paper: of the network's start and batches")
    parser.add_argument("--rate", type=float, default=3e-4, help="paper: the network's learning rate")
    given = sys.argv[1:]
    at = given.index("--") if "--" in given else len(given)
    args = parser.parse_args(given[:at])
    if args.what == "quality":
        from at_hand import TARGETS
        from head_quality import HEADS, quality

        with kept(args.store) as folder:
            quality(args.data, folder, args.task or list(TARGETS), args.head or list(HEADS))
    elif args.what == "grid":
        from head_grid import grid

        grid(args.steps, args.batch or 256, args.rounds, args.vectors, args.dim or 512)
    elif args.what == "compilations":
        from head_grid import compiled

        compiled(args.vectors, args.dim or 512)
    elif args.what == "large":
        from head_large import large

        with kept(args.store) as folder:
            large(folder, args.slides, args.tiles, args.patients, args.dim or 768, given[at + 1 :])
    else:
        from head_paper import paper

        with kept(args.store) as folder:
            paper(args.data, folder, args.limit_s, args.every, args.batch or 32, args.rate, args.seeds)


@contextlib.contextmanager
def kept(store: Path | None) -> Iterator[Path]:
    """The given folder, or one that is thrown away."""
    if store is not None:
        store.mkdir(parents=True, exist_ok=True)
        yield store.resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
