"""A service under everything at once: searches, pictures, labels and fits, while slides are embedded and removed.

    python benchmarks/service_soak.py --work FOLDER --minutes 10

Four clients search, two look at deep-zoom tiles, one gives and withdraws labels, one fits a head and predicts, again
and again, all over HTTP. Beside them, commands embed copies of synthetic slides and remove others. A row says how many
requests of each kind were answered, the errors, how often a slide was seen after its removal had returned, and the
memory of the service after the first minute, at the end, and in between.
"""

import argparse
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pyarrow.compute as pc
from measure import absolute_path, write_row
from service_http import Ask, Served, tile_paths

import embedstore
from embedstore.errors import EmbedStoreError, LabelError, SlideNotInStoreError, StoreBusyError, TileNotFoundError
from embedstore.progress import no_progress

SLIDES, SIZE_PX = 6, (2400, 2000)
#: Small, so that it is full within some minutes: memory that grows later is no cache.
PICTURE_CACHE_BYTES = 32 << 20
#: Slides that are kept: beyond them the oldest is removed.
KEPT = 10
SEARCHERS, VIEWERS = 4, 2
COUNTED = (
    "searches", "pictures", "label changes", "fits and predictions", "slides embedded", "slides removed",
    "asked for a slide that was being removed", "asked again, as another was writing",
)  # fmt: skip
#: A removal that ran at the same time as a request excuses these.
GONE = (SlideNotInStoreError, TileNotFoundError)


class Soak:
    """The store, its slides, and what was seen."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.store_path = folder / "store"
        self.present: deque[str] = deque()
        self.removed: set[str] = set()  # only once the removal has returned
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.seen_removed = 0
        self.took_ms: list[float] = []
        self.memory: list[tuple[float, float]] = []
        self.stop = threading.Event()

    def prepare(self) -> None:
        """Slides, their embeddings and labels."""
        self.folder.mkdir(parents=True)
        embedstore.synthesize_slides(self.folder / "pool", slides=SLIDES, size_px=SIZE_PX, on_progress=no_progress)
        self.pool = sorted((self.folder / "pool").glob("*.svs"))
        (self.folder / "slides").mkdir()
        for number in range(SLIDES):
            self.embed(number)
        store = embedstore.open(self.store_path)
        drawn = self.folder / "drawn"
        drawn.mkdir()
        for name in self.present:
            source = self.pool[int(name.split("-")[1].split(".")[0]) % SLIDES]
            if (labels := source.with_suffix(".geojson")).exists():
                shutil.copy(labels, drawn / f"{Path(name).stem}.geojson")
        store.labels.read(drawn, task="dense", negative="other", author="prepared", skip_unknown_slides=True)

    def embed(self, number: int) -> None:
        """Embed a copy of a slide under a name of its own, by the command."""
        name = f"slide-{number:05d}.svs"
        shutil.copy(self.pool[number % SLIDES], self.folder / "slides" / name)
        self.command("ingest", str(self.folder / "slides" / name), "--in-process")
        self.present.append(name)

    def remove(self, name: str) -> None:
        self.present.remove(name)
        self.command("rm", "--slide", name, "--yes")
        (self.folder / "slides" / name).unlink()
        self.removed.add(name)

    def command(self, verb: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "cli.main", verb, *arguments, "--store", str(self.store_path)]
        for _ in range(20):  # another writer's lease is waited for
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if "is being written by process" not in done.stderr:
                break
            time.sleep(1)
        if done.returncode:
            raise SystemExit(f"{verb}: {done.stderr[-800:]}")

    # -- what goes on at once ---------------------------------------------------------------

    def writer(self) -> None:
        """Embed and remove slides until the end."""
        number = SLIDES
        while not self.stop.is_set():
            self.embed(number)
            self.counts["slides embedded"] += 1
            number += 1
            if len(self.present) > KEPT:
                self.remove(self.present[SLIDES])  # the first ones have the labels
                self.counts["slides removed"] += 1

    def searcher(self, address: str, seed: int) -> None:
        rng = random.Random(seed)
        with embedstore.connect(f"http://{address}") as store:
            collection = store.collection()

            def search() -> None:
                gone, present = set(self.removed), list(self.present)
                tiles = collection.tiles(slide_id=rng.choice(present), limit=20)
                if not len(tiles):
                    return
                began = time.perf_counter()
                where = rng.choice([None, "tissue > 0.9", f"slide_id != '{present[0]}'"])
                found = collection.search(rng.choice(tiles.to_pylist())["tile_id"], k=20, where=where)
                self.took_ms.append(1e3 * (time.perf_counter() - began))
                self.seen_removed += len(gone & set(found["slide_id"]))

            self.repeat("searches", search)

    def viewer(self, address: str, seed: int) -> None:
        rng = random.Random(seed)
        with httpx2.Client(base_url=f"http://{address}", timeout=60) as client:

            def look() -> None:
                name = rng.choice(list(self.present) + list(self.removed)[-2:])
                was_removed = name in self.removed
                info = client.get(f"/api/slides/{name}/deep-zoom")
                if info.status_code == 200:
                    answer = client.get(rng.choice(list(tile_paths(name, info.json()))))
                else:
                    answer = info
                if was_removed and answer.status_code != 404:
                    self.seen_removed += 1
                elif answer.status_code >= 500:
                    raise EmbedStoreError(answer.text[:200])

            self.repeat("pictures", look)

    def teacher(self, address: str) -> None:
        rng = random.Random(99)
        with embedstore.connect(f"http://{address}") as store:
            collection = store.collection()

            def mark() -> None:
                tiles = collection.tiles(slide_id=rng.choice(list(self.present)), limit=5).to_pylist()
                marks = [{"tile_id": row["tile_id"], "label": rng.choice(["yes", "no"])} for row in tiles]
                change = store.labels.add("marks", marks)
                try:
                    store.labels.undo("marks", change.id)
                except LabelError:  # its slide was removed in between, and the change with it
                    if len(store.labels.history("marks").to_arrow().filter(pc.field("change") == change.id)):
                        raise
                time.sleep(0.5)

            self.repeat("label changes", mark)

    def fitter(self, address: str) -> None:
        with embedstore.connect(f"http://{address}") as store:

            def fit() -> None:
                head = store.fit_head("dense", name="soak", replace=True, on_progress=no_progress)
                head.predict(on_progress=no_progress)
                time.sleep(2)

            self.repeat("fits and predictions", fit)

    def repeat(self, what: str, action: Callable[[], None]) -> None:
        while not self.stop.is_set():
            try:
                action()
                self.counts[what] += 1
            except GONE:
                self.counts["asked for a slide that was being removed"] += 1
            except StoreBusyError:
                self.counts["asked again, as another was writing"] += 1
                time.sleep(0.5)
            except Exception as error:
                self.errors[f"{what}: {type(error).__name__} {str(error)[:200]}"] += 1
                time.sleep(0.5)

    def run(self, seconds: float) -> None:
        settings = self.folder / "service.toml"
        settings.write_text(f"[service]\npicture_cache_bytes = {PICTURE_CACHE_BYTES}\n")
        with Served(self.store_path, "--config", str(settings)) as served:
            served.ask(Ask("GET", "/api"))
            address = served.address
            calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = [(self.writer, ()), (self.teacher, (address,))]
            calls += [(self.searcher, (address, seed)) for seed in range(SEARCHERS)]
            calls += [(self.viewer, (address, seed)) for seed in range(VIEWERS)] + [(self.fitter, (address,))]
            threads = [threading.Thread(target=call, args=arguments, daemon=True) for call, arguments in calls]
            for thread in threads:
                thread.start()
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                time.sleep(2)
                self.memory.append((time.monotonic() - began, served.private_mb()))
            self.stop.set()
            for thread in threads:
                thread.join(timeout=120)
            self.write(seconds, len(served.processes()) - 1, served.log)

    def write(self, seconds: float, processes: int, log: Iterable[str]) -> None:
        times, memory = np.array(self.memory).T
        first = times < max(60, seconds / 10)
        last = times > seconds - max(60, seconds / 10)
        row = {
            "minutes": round(seconds / 60, 1),
            **{what.replace(" ", "_"): self.counts[what] for what in COUNTED},
            "errors": sum(self.errors.values()),
            "removed_seen": self.seen_removed,
            "search_p50_ms": round(float(np.percentile(self.took_ms, 50)), 1),
            "search_p99_ms": round(float(np.percentile(self.took_ms, 99)), 1),
            "private_mb_first_minute": round(float(memory[first].max())),
            "private_mb_last_minute": round(float(np.median(memory[last]))),
            "private_mb_by_minute": " ".join(
                str(round(float(np.median(memory[times // 60 == minute])))) for minute in sorted(set(times // 60))
            ),
            "private_mb_peak": round(float(memory.max())),
            "child_processes": processes,
            "first_error": next(iter(self.errors), ""),
        }
        write_row("service_soak", row)
        for error, times_seen in self.errors.most_common(10):
            print(f"{times_seen} × {error}", flush=True)
        if self.errors:
            print("".join(log), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=absolute_path, required=True, help="An empty or new folder.")
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    soak = Soak(given.work / f"soak-{time.time_ns()}")
    soak.prepare()
    soak.run(60 * given.minutes)


if __name__ == "__main__":
    main()
