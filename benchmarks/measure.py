"""What every benchmark here needs: CPU time of a process and all it started, peak memory, and rows of results."""

import argparse
import csv
import ctypes
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

HERE = Path(__file__).absolute().parents[1]
RESULTS = Path(os.environ.get("EMBEDSTORE_RESULTS", Path(__file__).parent / "results"))
POLL_S = 0.05
_PR_SET_CHILD_SUBREAPER = 36
_Result = TypeVar("_Result")


def absolute_path(text: str) -> Path:
    """A path as it was typed, for commands that run in another folder."""
    return Path(text).absolute()


@dataclass
class Usage:
    """What a command and all its descendants used.

    Attributes:
        cpu_s: User and system time, seconds, of every process; polled, so up to 50 ms a process are missed.
        wall_s: Seconds from start to end.
        peak_bytes: Peak private memory of each kind of process, by the process's name: resident less shared. Ray's
            shared memory, mapped by every worker, is bounded by the bytes in flight and would be counted many times.
        peak_sum_bytes: Peak of the private memory of all processes together.
        cpu_of: CPU seconds of each kind of process.
    """

    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_bytes: dict[str, int] = field(default_factory=dict)
    peak_sum_bytes: int = 0
    cpu_of: dict[str, float] = field(default_factory=dict)
    returncode: int = 0
    stdout: str = ""


def run_measured(command: Sequence[str], *, env: dict[str, str] | None = None, cwd: str | None = None) -> Usage:
    """Run a command to its end and account for its whole tree, Ray's daemons included.

    Daemons leave their parent; as their subreaper this process becomes it.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    usage = Usage()
    seen: dict[tuple[int, float], tuple[str, float]] = {}
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as printed:  # a pipe that is not read meanwhile stops a command of many lines
        process = subprocess.Popen(command, env={**os.environ, **(env or {})}, cwd=cwd, stdout=printed, text=True)
        me = psutil.Process()
        while process.poll() is None:
            together = 0
            for child in me.children(recursive=True):
                try:
                    with child.oneshot():
                        times, memory, name = child.cpu_times(), child.memory_info(), _kind(child)
                        seen[child.pid, child.create_time()] = name, times.user + times.system
                        private = memory.rss - memory.shared
                        usage.peak_bytes[name] = max(usage.peak_bytes.get(name, 0), private)
                        together += private
                except psutil.Error:
                    continue
            usage.peak_sum_bytes = max(usage.peak_sum_bytes, together)
            time.sleep(POLL_S)
        printed.seek(0)
        usage.stdout = printed.read()
    usage.wall_s = time.monotonic() - began
    usage.returncode = process.returncode
    for name, cpu_s in seen.values():
        usage.cpu_s += cpu_s
        usage.cpu_of[name] = usage.cpu_of.get(name, 0.0) + cpu_s
    return usage


def sources(beside: Path | None) -> dict[str, Path]:
    """The checkouts to measure in turn, by what rows call them: another one, if there is one, and this."""
    return ({} if beside is None else {"beside": beside}) | {"this": HERE}


def measured_with(checkout: Path, script: str, *arguments: str) -> dict[str, Any]:
    """What a script of benchmarks prints last, as JSON, when it runs in a process of its own on a checkout's code."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (checkout, HERE)))}
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, cwd=checkout, env=env, stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


class Steps:
    """What steps take in this process.

    Attributes:
        took: Fields of a row: CPU-seconds and seconds of each step.
    """

    def __init__(self) -> None:
        self.took: dict[str, float] = {}

    def clock(self, name: str, step: Callable[[], _Result]) -> _Result:
        """The result of a step."""
        began, began_cpu = time.monotonic(), time.process_time()
        result = step()
        self.took[f"{name}_cpu_s"] = round(time.process_time() - began_cpu, 3)
        self.took[f"{name}_s"] = round(time.monotonic() - began, 2)
        return result


def measure_labels(benchmark: str, description: str | None, measure_here: Callable[[int], dict[str, float]]) -> None:
    """The command of a benchmark of so many labels, by this source and another in turn.

    Args:
        benchmark: The name of its script, and of its rows.
        measure_here: The fields of a row for a number of labels.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--beside", type=absolute_path, help="a checkout whose embedstore/ is measured in turn")
    parser.add_argument("--here", action="store_true", help="measure in this process, and write no row")
    args = parser.parse_args()
    if args.here:
        print(json.dumps({**measure_here(args.labels), "peak_mb": peak_bytes() >> 20}))
        return
    for source, root in sources(args.beside).items():
        took = measured_with(root, str(HERE / "benchmarks" / f"{benchmark}.py"), "--here", "--labels", str(args.labels))
        write_row(benchmark, {"source": source, "labels": args.labels, **took})


def peak_bytes() -> int:
    """The most memory that this process has held, bytes.

    `ru_maxrss` would count what the process that started it held: Linux keeps it across `exec`.
    """
    return status_bytes("VmHWM")


def status_bytes(name: str) -> int:
    """A field of memory in the status of this process, such as RssAnon, bytes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) * 1024


def _kind(process: psutil.Process) -> str:
    """A process's role: Ray names its workers after their actors, and the method that they are in."""
    line = process.cmdline()
    title = line[0] if line else process.name()
    return title.split("/")[-1].split(".")[0][:40]


def machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return f"{model}, {os.cpu_count()} cores"


def write_row(name: str, row: dict[str, Any]) -> None:
    """Append a row to `results/NAME.csv`, with the day and the machine."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.csv"
    row = {"date": dt.date.today().isoformat(), "machine": machine(), **row}
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(", ".join(f"{key}={value}" for key, value in row.items() if key not in ("date", "machine")), flush=True)
