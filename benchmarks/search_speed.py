"""Search beside faiss-cpu and hnswlib: each side builds and answers in processes of its own, one after the other."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measure import write_row
from search_data import COHORTS, Bench

HERE = Path(__file__).resolve().parent
SIDES = ("embedstore", "faiss-hnsw", "faiss-ivfpq", "hnswlib")
_VERSIONED = {"embedstore": "pylance", "faiss-hnsw": "faiss-cpu", "faiss-ivfpq": "faiss-cpu", "hnswlib": "hnswlib"}
MB = 1e6


def speed(work: Path, rows: int, dim: int, sides: list[str], seconds: float) -> None:
    """A row a side and filter, as soon as the side has answered; what was built before is opened again."""
    bench = Bench.at(work, rows, dim)
    for side in sides:
        built = bench.folder / f"{side}.build.json"
        if not built.exists():
            built.write_text(json.dumps(child(side, "build", work, rows, dim)))
        build = json.loads(built.read_text())
        served = child(side, "serve", work, rows, dim, seconds)
        about = {
            "side": side,
            "version": f"{_VERSIONED[side]} {version(_VERSIONED[side])}",
            "rows": rows,
            "dim": dim,
            "index": build["index"],
            "partitions": build.get("partitions", ""),
            "build_load_1m": build["load_1m"],
            "build_s": round(build["build_s"], 1),
            "build_cpu_s": round(build["build_cpu_s"], 1),
            "build_peak_mb": round(build["build_peak_bytes"] / MB),
            "index_mb": round(build["index_bytes"] / MB, 1),
            "disk_mb": round(build["disk_bytes"] / MB, 1),
            "load_1m": served["load_1m"],
            "open_s": round(served["open_s"], 2),
            "first_ms": round(served["first_ms"], 1),
            "start_mb": round(served["start_bytes"] / MB),
        }
        for kept, facts in served["filters"].items():
            write_row("search_speed", about | answers(kept, facts))
        if side == "embedstore":
            write_row("search_reads", reads(rows, dim, build, served))


def answers(kept: str, facts: dict[str, Any]) -> dict[str, Any]:
    """The columns of a filter: `kept` is the share of the rows."""
    return {
        "kept": COHORTS.get(kept, 1.0),
        "settings": facts["settings"],
        "resident_mb": round(facts["resident_bytes"] / MB),
        "recall_at_10": round(facts["recall"], 4),
        "p50_ms": round(facts["p50_ms"], 2),
        "p95_ms": round(facts["p95_ms"], 2),
        "p99_ms": round(facts["p99_ms"], 2),
        "qps_1": round(facts["qps_one"], 1),
        "qps_8_threads": round(facts["qps_threads"], 1),
        "qps_8_processes": round(facts["qps_processes"], 1) if "qps_processes" in facts else "",
    }


def reads(rows: int, dim: int, build: dict[str, Any], served: dict[str, Any]) -> dict[str, Any]:
    """What a query of embedstore reads beyond its cache, which decides how it does from a disk or an object store."""
    return {
        "rows": rows,
        "dim": dim,
        "partitions": build["partitions"],
        "load_1m": served["load_1m"],
        "reads_a_query": round(served["reads"], 1),
        "kb_a_query": round(served["read_bytes"] / 1e3, 1),
        "p50_ms": round(served["filters"]["all"]["p50_ms"], 2),
        "index_p50_ms": round(served["index_p50_ms"], 2),
        "cold_index_p50_ms": round(served["cold_p50_ms"], 2),
    }


def child(side: str, what: str, work: Path, rows: int, dim: int, *rest: float) -> dict[str, Any]:
    command = [
        sys.executable, str(HERE / "search_child.py"), side, what, str(work), str(rows), str(dim), *map(str, rest),
    ]  # fmt: skip
    print(f"{side}: {what}", file=sys.stderr, flush=True)
    found = subprocess.run(command, cwd=str(HERE.parent), stdout=subprocess.PIPE, text=True)
    if found.returncode:
        raise SystemExit(f"{side} ended with {found.returncode} in its {what}: {found.stdout}")
    return json.loads(found.stdout.splitlines()[-1])
