"""What `embedstore ingest` costs a tile, beside LazySlide; how much of a network's speed is left; memory; views.

    python benchmarks/ingest.py cost [SLIDE...] [--lazyslide PYTHON] [--rounds 3] [--in-process]
    python benchmarks/ingest.py place [SLIDE...] [--before CHECKOUT] [--rounds 3]
    python benchmarks/ingest.py network SLIDE [--model resnet50] [--rounds 3] [--limit-s 60]
    python benchmarks/ingest.py memory SMALL LARGE
    python benchmarks/ingest.py views [SLIDE...] [--model colour-12] [--views 4] [--rounds 3]

`cost`: CPU-milliseconds a tile, 256 px at 0.5 mpp, with an extractor that costs next to nothing (twelve colour
statistics), everything included: start-up, tissue, reading, Ray, the commit. The slides are one collection, ingested by
one command. LazySlide, from its own environment, cuts the same slides in one process with a model that costs next to
nothing; both in turn, within one run. Start-up is Ray's and Python's, the same for ten tiles as for ten million; it is
measured on a blank-sized slide and given beside, so that the cost of a further tile can be told. Without slides, one
synthetic slide is made.

`place`: the same in one process, through Ray, and through Ray as an earlier checkout does, in turn: CPU time of the
start (a blank-sized slide), CPU time of a further tile, seconds, and the memory of all processes. Modules are compiled,
as they are of an installed package.

`network`: tiles/s through the run, from the first embedded tile to the last, beside the bare forward pass of the same
network, on batches of the same size and with the same number of threads, in turn.

`memory`: peak private memory of each kind of process on a small and on a large slide.

`views`: CPU-milliseconds a view, made and embedded, and bytes of the store a view: runs with and without, in turn, in
one process. With `colour-12` it is next to all what making views costs.

Slides of any size come from a mosaic of real tissue; pass whatever slides you have.
"""

import argparse
import functools
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import Usage, absolute_path, run_measured, write_row

from synthetic_slides import write_slide

HERE = Path(__file__).parent
TILE_PX, TILE_MPP = 256, 0.5


@functools.cache
def compiled() -> tempfile.TemporaryDirectory[str]:
    """Where Python keeps what it compiled, for all commands, as an installed package is compiled."""
    return tempfile.TemporaryDirectory()


def ingest(
    slides: Sequence[str], extractor: str, *extra: str, checkout: Path = HERE.parent
) -> tuple[Usage, dict[str, Any]]:
    """Run the command as a user does, into a store that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "cli.main", "ingest", *slides, "--store", f"{folder}/store", "--extractor", extractor,
            "--tile-px", str(TILE_PX), "--tile-mpp", str(TILE_MPP), "--json", *extra,
        ]  # fmt: skip
        env = {"PYTHONPATH": str(checkout), "PYTHONPYCACHEPREFIX": compiled().name, "PYTHONDONTWRITEBYTECODE": ""}
        usage = run_measured(command, cwd=str(checkout), env=env)
        if usage.returncode:
            raise SystemExit(f"ingest ended with {usage.returncode}: {usage.stdout}")
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        return usage, {"store_bytes": size, **json.loads(usage.stdout)}


def last_line(usage: Usage, what: str) -> dict[str, Any]:
    if usage.returncode:
        raise SystemExit(f"{what} ended with {usage.returncode}: {usage.stdout}")
    return json.loads(usage.stdout.splitlines()[-1])


def cost(slides: Sequence[str], lazyslide: str | None, rounds: int, in_process: bool, downsample: str) -> None:
    extra = ("--in-process" if in_process else "--ray", *(("--downsample", "dct") if downsample == "dct" else ()))
    with tempfile.TemporaryDirectory() as folder:
        tiny = str(write_slide(f"{folder}/tiny.svs", size_px=(1024, 1024)).path)
        slides = slides or [str(write_slide(f"{folder}/synthetic.svs", size_px=(12_000, 10_000)).path)]
        ours, ours_start, theirs, theirs_start, tiles, their_tiles = [], [], [], [], 0, 0
        for _ in range(rounds):
            usage, summary = ingest(slides, "colour-12", *extra)
            tiles = summary["tiles"]
            ours.append(usage.cpu_s)
            ours_start.append(ingest([tiny], "colour-12", *extra)[0].cpu_s)
            if lazyslide:
                command = [lazyslide, str(HERE / "peer_lazyslide.py"), str(TILE_PX), str(TILE_MPP)]
                peer = run_measured([*command, *slides])
                their_tiles = last_line(peer, "LazySlide")["tiles"]
                theirs.append(peer.cpu_s)
                theirs_start.append(run_measured([*command, tiny]).cpu_s)
    row = {
        "slides": " ".join(Path(slide).name for slide in slides),
        "mode": ("in-process" if in_process else "ray") + (", dct" if downsample == "dct" else ""),
        "tiles": tiles,
        **_per_tile("embedstore", ours, ours_start, tiles),
        "lazyslide_tiles": their_tiles or "",
        **_per_tile("lazyslide", theirs, theirs_start, their_tiles),
        "rounds": rounds,
    }
    write_row("ingest_cost", row)


def place(slides: Sequence[str], before: Path | None, rounds: int) -> None:
    sides = {"in-process": (HERE.parent, ["--in-process"]), "ray": (HERE.parent, ["--ray"])}
    if before is not None:
        sides["ray, before"] = (before, ["--ray"])
    whole: dict[str, list[Usage]] = {side: [] for side in sides}
    start: dict[str, list[Usage]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        tiny = str(write_slide(f"{folder}/tiny.svs", size_px=(1024, 1024)).path)
        slides = slides or [str(write_slide(f"{folder}/synthetic.svs", size_px=(12_000, 10_000)).path)]
        tiles = 0
        for checkout, extra in sides.values():
            ingest([tiny], "colour-12", *extra, checkout=checkout)  # compiles
        for _ in range(rounds):
            for side, (checkout, extra) in sides.items():
                usage, summary = ingest(slides, "colour-12", *extra, checkout=checkout)
                tiles = summary["tiles"]
                whole[side].append(usage)
                start[side].append(ingest([tiny], "colour-12", *extra, checkout=checkout)[0])
    for side in sides:
        costs = _per_tile(side, [usage.cpu_s for usage in whole[side]], [usage.cpu_s for usage in start[side]], tiles)
        row = {
            "slides": " ".join(Path(slide).name for slide in slides),
            "side": side,
            "tiles": tiles,
            **{name.removeprefix(f"{side}_"): value for name, value in costs.items()},
            "start_range": f"{min(usage.cpu_s for usage in start[side]):.1f}"
            f"-{max(usage.cpu_s for usage in start[side]):.1f}",
            "start_wall_s": round(statistics.median(usage.wall_s for usage in start[side]), 1),
            "wall_s": round(statistics.median(usage.wall_s for usage in whole[side]), 1),
            "peak_mb": round(statistics.median(usage.peak_sum_bytes for usage in whole[side]) / 1e6),
            "load": round(os.getloadavg()[1], 1),
            "rounds": rounds,
        }
        write_row("ingest_place", row)


def _per_tile(who: str, whole_s: Sequence[float], start_s: Sequence[float], tiles: int) -> dict[str, Any]:
    """CPU-ms a tile with everything, its range over the rounds, start-up in seconds, and CPU-ms of a further tile."""
    names = [f"{who}_{name}" for name in ("cpu_ms", "range", "start_s", "further_ms")]
    if not whole_s:
        return dict.fromkeys(names, "")
    each = [1000 * cpu_s / tiles for cpu_s in whole_s]
    whole, start = statistics.median(whole_s), statistics.median(start_s)
    values = (
        round(statistics.median(each), 2),
        f"{min(each):.2f}-{max(each):.2f}",
        round(start, 1),
        round(1000 * (whole - start) / tiles, 2),
    )
    return dict(zip(names, values, strict=True))


def network(slide: str, model: str, rounds: int) -> None:
    ratios, speeds, bares = [], [], []
    for _ in range(rounds):
        bare = last_line(
            run_measured([sys.executable, str(HERE / "bare_forward.py"), model, str(TILE_PX)]), "bare_forward"
        )
        _, summary = ingest([slide], model, "--weights", "random")
        speeds.append(summary["tiles_per_s"])
        bares.append(bare["tiles_per_s"])
        ratios.append(speeds[-1] / bares[-1])
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


def views(slides: Sequence[str], model: str, count: int, rounds: int) -> None:
    weights = () if model in ("colour-12", "stain-texture") else ("--weights", "random")
    with tempfile.TemporaryDirectory() as folder:
        slides = slides or [str(write_slide(f"{folder}/synthetic.svs", size_px=(12_000, 10_000)).path)]
        each, tile_ms, tiles, size = [], [], 0, 0
        for _ in range(rounds):
            without, few = ingest(slides, model, "--in-process", *weights)
            beside, many = ingest(slides, model, "--in-process", *weights, "--views", str(count))
            tiles, size = few["tiles"], many["store_bytes"] - few["store_bytes"]
            each.append(1000 * (beside.cpu_s - without.cpu_s) / (tiles * count))
            tile_ms.append(1000 * without.cpu_s / tiles)
    row = {
        "slides": " ".join(Path(slide).name for slide in slides),
        "model": model,
        "tiles": tiles,
        "views": count,
        "tile_cpu_ms": round(statistics.median(tile_ms), 2),
        "view_cpu_ms": round(statistics.median(each), 2),
        "range": f"{min(each):.2f}-{max(each):.2f}",
        "view_bytes": round(size / (tiles * count)),
        "rounds": rounds,
    }
    write_row("ingest_views", row)


def memory(small: str, large: str) -> None:
    peaks = []
    for slide in (small, large):
        usage, summary = ingest([slide], "colour-12", "--ray")
        peaks.append(usage.peak_bytes)
        print(Path(slide).name, summary["tiles"], "tiles", flush=True)
    for kind in sorted(peaks[0].keys() & peaks[1].keys()):
        row = {
            "process": kind,
            "small": Path(small).name,
            "large": Path(large).name,
            "small_mb": round(peaks[0][kind] / 1e6),
            "large_mb": round(peaks[1][kind] / 1e6),
            "ratio": round(peaks[1][kind] / peaks[0][kind], 2),
        }
        write_row("ingest_memory", row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cost", "place", "network", "memory", "views"])
    parser.add_argument("slides", nargs="*", type=lambda path: str(absolute_path(path)))
    parser.add_argument("--lazyslide", metavar="PYTHON", help="Python of an environment with lazyslide.")
    parser.add_argument("--before", type=absolute_path, metavar="CHECKOUT", help="a checkout of an earlier version")
    parser.add_argument("--model", help="of network resnet50, of views colour-12 unless given")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-process", action="store_true")
    parser.add_argument("--downsample", choices=["area", "dct"], default="area", help="of cost")
    args = parser.parse_args()
    if args.what == "cost":
        cost(args.slides, args.lazyslide, args.rounds, args.in_process, args.downsample)
    elif args.what == "place":
        place(args.slides, args.before, args.rounds)
    elif args.what == "network":
        network(args.slides[0], args.model or "resnet50", args.rounds)
    elif args.what == "views":
        views(args.slides, args.model or "colour-12", args.views, args.rounds)
    else:
        memory(*args.slides[:2])


if __name__ == "__main__":
    main()
