"""From a click on 'Fit' to the heat map: marks, a fit, predictions of all slides and a raster, over HTTP.

    python benchmarks/page_loop.py --work FOLDER --tiles 20000 --dim 768

A collection of slides with one patient each; a third of their tiles lie in round patches and are of a class of their
own. Rounds follow each other as on the page: marks are added (60, then 10 more each time), the head is fitted and
predicts all slides, and the raster of the open slide is fetched, then those of the others. The first round begins with
an empty folder of compiled programs, as on the day of installation. `cpu_s` is of the service and its processes; where
others use the machine, too (`load`, the average of a minute), only that is told.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pyarrow as pa
from measure import absolute_path, write_row
from numpy.typing import NDArray
from search_data import COLLECTION, EDGE_L0, Mixture, new_collection
from service_http import Ask, Served

from embedstore.store import CollectionWriter, FragmentWriter, Outcome, SlideRow, Store

TASK, HEAD = "tumour", "tumour-linear"
CLASSES = ("normal", "tumour")
SLIDES = 10
MOST_TILES_A_SLIDE = 4000
FIRST_MARKS, MORE_MARKS = 60, 10
MARKED_SLIDES = 6
#: How far the vectors of the two classes lie apart, in standard deviations of one dimension, over 32 dimensions.
SIGNAL = 1.0


class Scene:
    """The store, made once a size, and what a pathologist would mark.

    Attributes:
        marks: {class: [tile id]} in the order in which they are marked, one slide after the other.
    """

    def __init__(self, folder: Path, tiles: int, dim: int):
        self.store_path, self.truth = folder / "store", folder / "truth.npz"
        if not self.truth.exists():
            if self.store_path.exists():
                raise SystemExit(f"{folder} was left half made; delete it and begin again")
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(self.truth, is_tumour=_make(self.store_path, tiles, dim))
        with np.load(self.truth) as held:
            is_tumour = held["is_tumour"]
        held = Store.open(self.store_path).collection(COLLECTION)
        rows = pa.Table.from_batches(list(held.batches(columns=["tile_id", "slide_id"])))
        slide = rows["slide_id"].to_numpy(zero_copy_only=False)
        chosen = np.unique(slide)[:MARKED_SLIDES]
        self.marks = {name: _in_turn(rows["tile_id"].to_numpy(), slide, chosen, is_tumour == (name == "tumour"))
                      for name in CLASSES}  # fmt: skip


def _in_turn(
    ids: NDArray[np.int64], slide: NDArray[Any], chosen: NDArray[Any], of_class: NDArray[np.bool_]
) -> list[int]:
    """Tiles of a class at random, from one slide after the other."""
    rng = np.random.default_rng(3)
    columns = [rng.permutation(ids[(slide == name) & of_class])[:200] for name in chosen]
    return [int(each) for row in zip(*columns, strict=False) for each in row]


def _make(path: Path, tiles: int, dim: int) -> NDArray[np.bool_]:
    """Commit the slides by the project's own writer; returns which rows are of the patches."""
    store = Store.create(path)
    collection = new_collection(store, dim)
    store.ledger.admit_columns([{"patient": "p"}])
    slides = max(SLIDES, -(-tiles // MOST_TILES_A_SLIDE))
    mixture, rng = Mixture(dim), np.random.default_rng(1)
    direction = np.zeros(dim, np.float32)
    direction[:32] = SIGNAL
    deliveries, facts, outcomes, truth = [], [], [], []
    for number in range(slides):
        count = tiles // slides
        at, columns = np.arange(count), int(np.sqrt(count * 1.4))
        cell = np.stack([at % columns, at // columns], axis=1)
        centres = rng.uniform(0, columns, (3, 2))
        near = np.min([np.hypot(*(cell - centre).T) for centre in centres], axis=0) < columns / 5
        name = f"slide-{number:04d}.svs"
        made = FragmentWriter(
            table_uri=collection.table.uri, schema=collection.schema, collection=COLLECTION, slide_id=name,
            xy_l0=(cell * EDGE_L0).astype(np.int32), edge_l0=EDGE_L0, tissue=np.ones(count, np.float32),
        )  # fmt: skip
        made.put(at, (mixture.draw(count, rng) + near[:, None] * direction).astype(np.float16))
        deliveries.append(made.finish())
        facts.append(SlideRow(slide_id=name, path=name, kind="wsi", metadata={"patient": f"patient-{number:04d}"}))
        outcomes.append(Outcome(collection=COLLECTION, slide_id=name, path=name, state="done", tiles=count))
        truth.append(near)
    store.ledger.record(facts, ())
    writer = CollectionWriter(collection)
    writer.commit(deliveries)
    store.ledger.record((), outcomes)
    writer.compact(keep_s=0)
    return np.concatenate(truth)


class Loop:
    """One round after the other against a service."""

    def __init__(self, served: Served, scene: Scene):
        self.served, self.scene, self.given = served, scene, 0
        self.slides = [row["slide_id"] for row in served.ask(Ask("GET", "/api/slides"))["rows"]]

    def mark(self, count: int) -> float:
        """Add so many marks, both classes alike; returns the milliseconds of the request."""
        labels = []
        for name in CLASSES:
            ids = self.scene.marks[name][self.given // 2 : (self.given + count) // 2]
            labels += [{"label": name, "tile_id": str(each)} for each in ids]
        self.given += count
        began = time.perf_counter()
        self.served.post(f"/api/labels/{TASK}/add", {"labels": labels, "collection": COLLECTION})
        return 1e3 * (time.perf_counter() - began)

    def changes(self, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A job at each change that its events tell, until it is done."""
        with urlopen(f"http://{self.served.address}/api/jobs/{job['id']}/events", timeout=600) as stream:
            for line in stream:
                if line.startswith(b"data:"):
                    job = json.loads(line.removeprefix(b"data:"))
                    yield job
        if job["state"] != "done":
            raise SystemExit(job)

    def raster(self, slide: str) -> int:
        with urlopen(
            f"http://{self.served.address}/api/heads/{HEAD}/predictions/{slide}/raster", timeout=600
        ) as answer:
            return len(answer.read())

    def round(self) -> dict[str, float]:
        """Fit, predict and fetch rasters; seconds from the click."""
        cpu, began = self.served.cpu_s(), time.perf_counter()

        def since() -> float:
            return round(time.perf_counter() - began, 2)

        shown = self.slides[0]
        fit = {"tasks": [TASK], "names": [HEAD], "collection": COLLECTION, "replace": True}
        fit |= {"predict": True, "slides": [shown], "settings": {"split": {"group_by": "auto"}}}
        took: dict[str, float] = {}
        for job in self.changes(self.served.post("/api/heads", fit)):
            if "heat_map_s" not in took and (
                job["state"] == "done" or (job["progress"] or {}).get("stage") == "predict"
            ):
                self.raster(shown)
                took = {"heat_map_s": since(), "heat_map_cpu_s": round(self.served.cpu_s() - cpu, 2)}
        for slide in self.slides[1:]:
            self.raster(slide)
        return took | {"all_s": since(), "all_cpu_s": round(self.served.cpu_s() - cpu, 2)}


def _until_idle(served: Served) -> float:
    """Wait until the service has been idle for five seconds; returns the CPU seconds that its start took."""
    while True:
        before = served.cpu_s()
        time.sleep(5)
        if served.cpu_s() - before < 0.05:
            return before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=absolute_path, required=True, help="folder of the collections, made once a size")
    parser.add_argument("--tiles", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=3, help="of marks, fit and heat map, in each of two services")
    given = parser.parse_args()
    folder = given.work / f"{given.tiles}x{given.dim}"
    scene = Scene(folder, given.tiles, given.dim)
    cache, store = folder / "cache", folder / "served"
    shutil.rmtree(cache, ignore_errors=True)
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(scene.store_path, store)
    for programs in ("none", "kept"):
        with Served(store, env={"EMBEDSTORE_CACHE": str(cache)}) as served:
            ready_cpu = _until_idle(served)
            loop = Loop(served, scene)
            for number in range(given.rounds):
                marks_ms = loop.mark(FIRST_MARKS if number == 0 else MORE_MARKS)
                row = {"tiles": given.tiles, "dim": given.dim, "slides": len(loop.slides), "programs": programs}
                row |= {"round": number + 1, "marks": loop.given, "start_cpu_s": round(ready_cpu, 1)}
                row |= {"load": round(os.getloadavg()[0], 1)}
                write_row("page_loop", row | {"marks_ms": round(marks_ms)} | loop.round())


if __name__ == "__main__":
    main()
