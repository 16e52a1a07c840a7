"""What it costs to embed a million tiles, from measured speeds and a price list: the table `cost` of docs/scale.md."""

import argparse
import csv
from collections.abc import Iterator

from measure import RESULTS
from search_scale import PAGE, filled, table

MILLION = 1_000_000
NAMES = {"vit_small_patch16_224": "ViT-S/16", "resnet50": "ResNet-50", "vit_large_patch16_224": "ViT-L/16"}
CPUS_HERE = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gpu-hour", type=float, default=4.0, help="US dollars for an hour of a GPU and its 16 cores")
    parser.add_argument("--core-hour", type=float, default=0.04, help="US dollars for an hour of a core")
    parser.add_argument("--spot", type=float, default=0.35, help="share of the price that a spot machine costs")


def run(args: argparse.Namespace) -> None:
    PAGE.write_text(filled(PAGE.read_text(), "cost", table(_lines(args.gpu_hour, args.core_hour, args.spot))))
    print(f"wrote cost in {PAGE}")


def _lines(gpu_hour: float, core_hour: float, spot: float) -> Iterator[list[str]]:
    yield ["network", "machine", "tiles/s", "time for a million tiles", "cost", "on spot machines"]
    for network, device, speed in _on_gpu():
        hours = MILLION / speed / 3600
        yield [network, f"{device}, 16 cores", f"{speed:,.0f}", *_priced(hours, hours * gpu_hour, spot)]
    for network, speed in _on_cpu():
        hours = MILLION / speed / 3600
        yield [network, f"{CPUS_HERE} cores", f"{speed:.1f}", *_priced(hours, hours * CPUS_HERE * core_hour, spot)]


def _priced(hours: float, dollars: float, spot: float) -> list[str]:
    time = f"{60 * hours:.1f} min" if hours < 2 else f"{hours:.0f} h"
    return [time, f"{dollars:.2f} $", f"{spot * dollars:.2f} $"]


def _on_gpu() -> Iterator[tuple[str, str, float]]:
    """Each network's slowest run with readers beside it, captured as a graph: what is sure to be reached."""
    slowest: dict[str, tuple[str, float]] = {}
    with (RESULTS / "gpu_pipeline.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["model"] in NAMES and row["graph"] == "true" and row["readers"] not in ("", "0"):
                speed = float(row["tiles_per_s"])
                known = slowest.get(row["model"])
                if known is None or speed < known[1]:
                    slowest[row["model"]] = row["device"], speed
    for model, name in NAMES.items():
        yield name, *slowest[model]


def _on_cpu() -> Iterator[tuple[str, float]]:
    with (RESULTS / "ingest_network.csv").open(newline="") as file:
        last = {row["model"]: float(row["tiles_per_s"]) for row in csv.DictReader(file)}
    for model, speed in last.items():
        yield NAMES.get(model, model), speed
