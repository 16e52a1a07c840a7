"""What `embedstore ingest` costs a tile, beside LazySlide; how much of a network's speed is left; and memory.

    python benchmarks/ingest.py cost SLIDE... [--lazyslide PYTHON] [--rounds 3]
    python benchmarks/ingest.py network SLIDE [--model resnet50] [--rounds 3]
    python benchmarks/ingest.py memory SMALL LARGE

`cost`: CPU-milliseconds a tile, 256 px at 0.5 mpp, with an extractor that costs next to nothing (twelve colour
statistics), everything included: start-up, tissue, reading, Ray, the commit. LazySlide, from its own environment, cuts
the same slide with a model that costs next to nothing; both in turn, within one run.

`network`: tiles/s through the run beside the bare forward pass of the same network, on batches of the same size and
with the same number of threads, in turn.

`memory`: peak resident memory of each kind of process on a small and on a large slide.

Slides of any size come from a mosaic of real tissue; pass whatever slides you have.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from measure import Usage, run_measured, write_row

TILE_PX, TILE_MPP = 256, 0.5


def ingest(slide: str, extractor: str, *extra: str) -> tuple[Usage, dict]:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "cli.main", "ingest", slide, "--store", f"{folder}/store", "--extractor", extractor,
            "--tile-px", str(TILE_PX), "--tile-mpp", str(TILE_MPP), "--json", *extra,
        ]  # fmt: skip
        usage = run_measured(command, cwd=str(Path(__file__).resolve().parent.parent))
        if usage.returncode:
            raise SystemExit(f"ingest ended with {usage.returncode}: {usage.stdout}")
        return usage, json.loads(usage.stdout)


def cost(slides: list[str], lazyslide: str | None, rounds: int) -> None:
    for slide in slides:
        ours, theirs, tiles, their_tiles = [], [], 0, 0
        for _ in range(rounds):
            usage, summary = ingest(slide, "colour-12")
            tiles = summary["tiles"]
            ours.append(1000 * usage.cpu_s / tiles)
            if lazyslide:
                peer = run_measured(
                    [lazyslide, str(Path(__file__).parent / "peer_lazyslide.py"), slide, str(TILE_PX), str(TILE_MPP)]
                )
                their_tiles = json.loads(peer.stdout.splitlines()[-1])["tiles"]
                theirs.append(1000 * peer.cpu_s / their_tiles)
        row = {
            "slide": Path(slide).name,
            "tiles": tiles,
            "embedstore_cpu_ms": round(statistics.median(ours), 2),
            "embedstore_range": f"{min(ours):.2f}-{max(ours):.2f}",
            "lazyslide_tiles": their_tiles or "",
            "lazyslide_cpu_ms": round(statistics.median(theirs), 2) if theirs else "",
            "ratio": round(statistics.median(theirs) / statistics.median(ours), 2) if theirs else "",
            "rounds": rounds,
        }
        write_row("ingest_cost", row)


def network(slide: str, model: str, rounds: int) -> None:
    ratios, speeds, bares = [], [], []
    for _ in range(rounds):
        bare = run_measured([sys.executable, str(Path(__file__).parent / "bare_forward.py"), model, str(TILE_PX)])
        bare_speed = json.loads(bare.stdout.splitlines()[-1])["tiles_per_s"]
        _, summary = ingest(slide, model, "--weights", "random", "--limit", "1")
        speed = summary["steady_tiles_per_s"]
        speeds.append(speed)
        bares.append(bare_speed)
        ratios.append(speed / bare_speed)
    write_row(
        "ingest_network",
        {
            "slide": Path(slide).name,
            "model": model,
            "tiles_per_s": round(statistics.median(speeds), 2),
            "bare_tiles_per_s": round(statistics.median(bares), 2),
            "share": round(statistics.median(ratios), 3),
            "range": f"{min(ratios):.3f}-{max(ratios):.3f}",
            "rounds": rounds,
        },
    )


def memory(small: str, large: str) -> None:
    peaks = {}
    for slide in (small, large):
        usage, summary = ingest(slide, "colour-12")
        peaks[slide] = usage.peak_rss
        print(Path(slide).name, summary["tiles"], {k: f"{v / 1e6:.0f} MB" for k, v in usage.peak_rss.items()})
    for kind in sorted(peaks[small].keys() & peaks[large].keys()):
        row = {
            "process": kind,
            "small_mb": round(peaks[small][kind] / 1e6),
            "large_mb": round(peaks[large][kind] / 1e6),
            "ratio": round(peaks[large][kind] / peaks[small][kind], 2),
        }
        write_row("ingest_memory", row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cost", "network", "memory"])
    parser.add_argument("slides", nargs="+")
    parser.add_argument("--lazyslide", metavar="PYTHON", help="Python of an environment with lazyslide.")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.what == "cost":
        cost(args.slides, args.lazyslide, args.rounds)
    elif args.what == "network":
        network(args.slides[0], args.model, args.rounds)
    else:
        memory(*args.slides[:2])


if __name__ == "__main__":
    main()
