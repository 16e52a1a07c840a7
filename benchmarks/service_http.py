"""The service over HTTP on the loopback: requests a second and their times with 1, 8 and 32 clients.

    python benchmarks/service_http.py search --work FOLDER --rows 1000000
    python benchmarks/service_http.py slides --demo FOLDER

`search` asks for the neighbours of held-out vectors in the collection of `search_data.py`, without and with a filter;
`slides` asks the store that `embedstore demo` left for deep-zoom tiles, first and again, and for a head's predictions
on a slide. The clients are threads of a second process, each with one connection that stays open; they take CPU time
from the service, which is told apart (`server_cpu_ms`).
"""

import argparse
import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from measure import absolute_path, write_row

CLIENTS = (1, 8, 32)
SECONDS = 8.0
WARM_S = 60.0
JSON = {"Content-Type": "application/json"}


class Ask(NamedTuple):
    """A request."""

    method: str
    path: str
    body: str | None = None


class Served:
    """`embedstore serve` of a store, in a process of its own.

    Attributes:
        address: Host and port.
        log: The last lines that it wrote to stderr.
    """

    def __init__(self, store: Path, *options: str, env: Mapping[str, str] | None = None):
        command = [sys.executable, "-m", "cli.main", "serve", "--store", str(store), "--port", "0", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        if "http://" not in line:
            raise SystemExit(line + self.process.stderr.read())
        self.address = line.partition("http://")[2].split()[0]
        self.log: deque[str] = deque(maxlen=1000)
        threading.Thread(target=self.log.extend, args=(self.process.stderr,), daemon=True).start()

    def ask(self, request: Ask) -> Any:
        """The JSON of one answer."""
        connection = http.client.HTTPConnection(self.address, timeout=120)
        with contextlib.closing(connection):
            connection.request(*request[:2], request.body, JSON if request.body else {})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 400:
                raise SystemExit(f"{request.method} {request.path}: {answer.status} {text[:300]!r}")
            return json.loads(text)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON of the answer to a POST."""
        return self.ask(Ask("POST", path, json.dumps(body)))

    def processes(self) -> list[psutil.Process]:
        """The service and what it started."""
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]

    def cpu_s(self) -> float:
        """CPU seconds of the service and of the processes that it started."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def private_mb(self) -> float:
        """Resident memory of the service that it shares with nobody, MB; without mapped files."""
        memory = psutil.Process(self.process.pid).memory_info()
        return (memory.rss - memory.shared) / 1e6

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)


class Load(NamedTuple):
    """What clients met with: milliseconds of each answer, failures by status, and seconds in all."""

    took_ms: list[float]
    failed: dict[str, int]
    wall_s: float


def put_load(address: str, asks: Sequence[Ask], clients: int, seconds: float, *, once: bool = False) -> Load:
    """Clients that ask without a pause, from a process of their own.

    Args:
        once: Each request is made once, by any client; else they go round until the time is over.
    """
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_load, (address, list(asks), clients, seconds, once))


def _load(address: str, asks: list[Ask], clients: int, seconds: float, once: bool) -> Load:
    took: list[list[float]] = [[] for _ in range(clients)]
    failed: dict[str, int] = {}
    shares = [asks[number::clients] for number in range(clients)] if once else [asks] * clients
    start = threading.Barrier(clients + 1)

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(address, timeout=120)
        start.wait()
        ends = time.perf_counter() + seconds
        for ask in _in_turn(shares[number], once, number):
            began = time.perf_counter()
            if began > ends:
                break
            connection.request(ask.method, ask.path, ask.body, JSON if ask.body else {})
            answer = connection.getresponse()
            answer.read()
            took[number].append(1e3 * (time.perf_counter() - began))
            if answer.status >= 400:
                failed[str(answer.status)] = failed.get(str(answer.status), 0) + 1
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return Load([ms for each in took for ms in each], failed, time.perf_counter() - began)


def _in_turn(asks: Sequence[Ask], once: bool, first: int) -> Iterator[Ask]:
    if once:
        yield from asks
        return
    at = first * 7919  # so that clients do not ask the same at the same time
    while True:
        yield asks[at % len(asks)]
        at += 1


def measure(served: Served, what: str, asks: Sequence[Ask], seconds: float, *, once: bool = False) -> None:
    """A row for each number of clients."""
    for clients in CLIENTS:
        share = asks[CLIENTS.index(clients) :: len(CLIENTS)] if once else asks
        before = served.cpu_s()
        load = put_load(served.address, share, clients, seconds, once=once)
        cpu_ms = 1e3 * (served.cpu_s() - before) / max(len(load.took_ms), 1)
        row = {
            "what": what,
            "clients": clients,
            "requests": len(load.took_ms),
            "failed": sum(load.failed.values()),
            "per_s": round(len(load.took_ms) / load.wall_s),
            "p50_ms": round(float(np.percentile(load.took_ms, 50)), 2),
            "p99_ms": round(float(np.percentile(load.took_ms, 99)), 2),
            "server_cpu_ms": round(cpu_ms, 2),
            "server_private_mb": round(served.private_mb()),
        }
        write_row("service_http", row)


def search(work: Path, rows: int, dim: int, seconds: float) -> None:
    """Searches in the collection of `search_data.py`."""
    from search_data import COHORTS, COLLECTION, TUNED, Bench, K, recall

    bench = Bench.at(work, rows, dim)
    queries = [query.tolist() for query in bench.queries[TUNED:]]
    path = f"/api/collections/{COLLECTION}/search"

    def asks(where: str | None) -> list[Ask]:
        return [Ask("POST", path, json.dumps({"query": {"vector": each}, "k": K, "where": where})) for each in queries]

    with Served(bench.store_path) as served:
        _until_warm(served, COLLECTION)
        for name in ("all", *COHORTS):
            of_filter = asks(None if name == "all" else f"cohort = '{name}'")
            found = [[int(hit["tile_id"]) for hit in served.ask(each)["hits"]] for each in of_filter[:100]]
            near = bench.truths[f"near_{name}"][TUNED : TUNED + 100]
            print(f"recall@{K} of {name}: {recall([np.array(ids) for ids in found], near):.4f}", flush=True)
            measure(served, f"search, {name}, {rows} x {dim}", of_filter, seconds)


def _until_warm(served: Served, collection: str) -> None:
    """Wait for what the service builds in the background."""
    deadline = time.monotonic() + 1800
    while time.monotonic() < deadline:
        warm = served.ask(Ask("GET", f"/api/collections/{collection}"))["warm"]
        if warm is None or warm["state"] != "building":
            print(f"warm: {warm}", flush=True)
            return
        time.sleep(1)
    raise SystemExit("the collection did not become warm in half an hour")


def slides(demo: Path, seconds: float) -> None:
    """Deep-zoom tiles and predictions of the slides of a demo."""
    with Served(demo / "store") as served:
        rows = served.ask(Ask("GET", "/api/slides"))["rows"]
        tiles = []
        for row in rows:
            info = served.ask(Ask("GET", f"/api/slides/{row['slide_id']}/deep-zoom"))
            tiles += [Ask("GET", path) for path in tile_paths(row["slide_id"], info)]
        np.random.default_rng(0).shuffle(tiles)  # type: ignore[arg-type]
        measure(served, "deep-zoom tile, first time", tiles, 120.0, once=True)
        measure(served, "deep-zoom tile, again", tiles, seconds)
        head = served.ask(Ask("GET", "/api/heads"))[0]["name"]
        rasters = [Ask("GET", f"/api/heads/{head}/predictions/{row['slide_id']}/raster") for row in rows]
        measure(served, "predictions of a slide", rasters, seconds)


def tile_paths(slide_id: str, info: dict[str, Any]) -> Iterator[str]:
    """The paths of a slide's deep-zoom tiles, of the levels that a viewer asks for."""
    width, height = info["size_l0"]
    edge, top = info["tile_px"], info["max_level"]
    for level in range(max(top - 4, info["min_level"]), top + 1):
        shrink = 2 ** (top - level)
        for column in range(-(-width // (edge * shrink))):
            for row in range(-(-height // (edge * shrink))):
                yield f"/api/slides/{slide_id}/deep-zoom_files/{level}/{column}_{row}.jpeg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["search", "slides"])
    parser.add_argument("--work", type=absolute_path, help="search: folder of the collection, made once")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--demo", type=absolute_path, help="slides: the folder that `embedstore demo` wrote")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement")
    given = parser.parse_args()
    if given.what == "search":
        search(given.work, given.rows, given.dim, given.seconds)
    else:
        slides(given.demo, given.seconds)


if __name__ == "__main__":
    main()
