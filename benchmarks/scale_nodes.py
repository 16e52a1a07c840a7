"""Tiles a second, and what the driver costs, with 1, 2 and 4 simulated nodes of a Ray cluster.

Nodes are simulated on this machine, so they share its cores: an extractor that costs nothing shows what nodes cost, not
what they bring. With `--pace`, each node's extractor embeds that many tiles a second, as a GPU of that speed would, and
sleeps meanwhile; then twice the nodes should be twice as fast until the cores are in use. Every node has two CPUs, a
group of one extractor and a reader.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ray
from measure import write_row
from ray.cluster_utils import Cluster

HERE = Path(__file__).resolve().parent
CPUS = 2


def measure(slides: Path, nodes: int, pace: float) -> dict[str, float]:
    os.environ["PACE"] = str(pace)  # for the workers, which inherit it from the node's processes
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": CPUS, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=CPUS)
        cluster.wait_for_nodes()
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable, "-m", "cli.main", "ingest", str(slides), "--store", f"{folder}/store",
                "-e", f"{HERE / 'paced_network.py'}:make", "--batch-tiles", "16",
                "--address", cluster.address, "--json",
            ]  # fmt: skip
            began, printed = time.monotonic(), Path(folder, "summary.json")
            with printed.open("w") as out:
                driver = subprocess.Popen(
                    command, cwd=folder, env={**os.environ, "PYTHONPATH": str(HERE.parent)}, stdout=out
                )
                _, status, usage = os.wait4(driver.pid, 0)
            wall_s = time.monotonic() - began
            if status:
                raise SystemExit(f"ingest ended with {os.waitstatus_to_exitcode(status)}: {printed.read_text()}")
            summary = json.loads(printed.read_text())
    finally:
        cluster.shutdown()
        ray.shutdown()
    return {
        "tiles": summary["tiles"],
        "tiles_per_s": round(summary["tiles_per_s"], 1),
        "wall_s": round(wall_s, 1),
        "driver_cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "driver_peak_mb": round(usage.ru_maxrss * 1024 / 1e6),
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("slides", nargs="+", type=Path)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--pace", type=float, nargs="+", default=[0.0, 40.0], help="tiles a second of each node")
    parser.add_argument("--copies", type=int, default=12, help="of each slide, under names of their own")


def run(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for slide in args.slides:
            for copy in range(args.copies):
                shutil.copyfile(slide, Path(folder, f"{copy}-{slide.name}"))
        for pace in args.pace:
            for nodes in args.nodes:
                row = measure(Path(folder), nodes, pace)
                load = round(os.getloadavg()[0], 1)
                write_row("scale_nodes", {"nodes": nodes, "pace": pace, "load_1m": load, **row})
