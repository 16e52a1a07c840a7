"""Slides, a store with all that embedstore keeps, and the one check that follows every fault."""

import functools
import json
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from embedstore.errors import StoreNotFoundError
from embedstore.store import Store
from embedstore.store.lease_rows import is_held
from synthetic_slides import write_slide
from tests.object_store import ObjectStore

from .child import run

SLIDES = 3
#: Rows of an undisturbed store, and of one that went through a fault, are compared in these columns of these tables;
#: tables of tiles, views, predictions and maps in all. The others hold times, names drawn at random,
#: and the reader, which is unknown of a slide whose outcome was mended from its rows.
COMPARED = {
    "slides": ("slide_id", "kind", "patient", "width_l0", "height_l0", "fingerprint", "tissue_mm2"),
    "outcomes": ("collection", "slide_id", "state", "tiles", "unreadable", "error"),
    "labels": ("task", "kind", "slide_id", "name", "x", "y", "geometry", "label", "author"),
    "heads": ("name", "task", "collection", "model", "digest", "parameters", "examples"),
}
#: A network of averages that takes a while for each batch. The environment can tell it to fail: "nan:5" gives NaN for
#: the fifth tile that it sees, "oom:8" has no memory for more than 8 tiles.
EXTRACTOR = """
import os
import time

import torch

from embedstore.extractors import CustomNetwork

SECONDS = {seconds}
FAULT, _, NUMBER = os.environ.get("FAULT_EXTRACTOR", "").partition(":")


class Averages(torch.nn.Module):
    seen = 0

    def forward(self, tiles):
        if FAULT == "oom" and len(tiles) > int(NUMBER):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        time.sleep(SECONDS)
        found = torch.nn.functional.adaptive_avg_pool2d(tiles, 2).flatten(1)
        if FAULT == "nan" and 0 <= int(NUMBER) - self.seen < len(tiles):
            found[int(NUMBER) - self.seen] = float("nan")
        self.seen += len(tiles)
        return found


def make():
    return CustomNetwork(module=Averages(), name="averages", tile_px=128, mpp=0.5)
"""


@dataclass(frozen=True)
class Task:
    """A command that changes a store, and how it is run again after a fault.

    Attributes:
        name: Of the command.
        args: Its arguments, given the URI of the store.
        again: Those of its second run, where they differ.
        empty: Whether it starts from no store, not from one that has everything.
    """

    name: str
    args: Callable[[str], list[str]]
    again: Callable[[str], list[str]] | None = None
    empty: bool = False


@dataclass
class World:
    """What all runs of the suite share; made once in a folder.

    Attributes:
        slides: Folder of the slides.
        extractor, config: File of the slow extractor, and of the settings of a run.
        object_store: A server, where there is one.
        undisturbed: {task: contents of the store after it, undisturbed}.
        writes, took_s, wrote: {task: writes of an undisturbed run, the seconds that it takes, the bytes that it adds}.
    """

    folder: Path
    seconds: float = 0.02
    object_store: ObjectStore | None = None
    undisturbed: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)
    wrote: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()  # of what is made once
        self.slides, self.extractor = self.folder / "slides", self.folder / "slow.py"
        self.config = self.folder / "run.toml"
        for i in range(SLIDES):
            write_slide(self.slides / f"s{i}.svs", size_px=(768 + 256 * i, 768), seed=10 + i)
        rows = ["path,patient", *(f"s{i}.svs,P{i}" for i in range(SLIDES))]
        (self.slides / "slides.csv").write_text("\n".join(rows) + "\n")
        self.extractor.write_text(EXTRACTOR.format(seconds=self.seconds))
        self.config.write_text("[run]\nchunk_bytes = 1_000_000\ngroup_s = 0.1\ncompact_every = 3\n")

    # -- commands ---------------------------------------------------------------------------

    def ingest(self, store: str, *more: str, slides: Path | None = None) -> list[str]:
        return ["ingest", str(slides or self.slides / "slides.csv"), "-s", store, "-c", "c", "--in-process",
                "-e", f"{self.extractor}:make", "--tile-px", "128", "--views", "2", "--readers", "1",
                "--batch-tiles", "16", "--retry-failed", "--config", str(self.config), *more]  # fmt: skip

    @functools.cached_property
    def tasks(self) -> dict[str, Task]:
        labels = sorted(str(path) for path in self.slides.glob("*.geojson"))

        def label(store: str) -> list[str]:
            return ["label", "import", *labels, "-s", store, "--task", "t2", "--only", "gland", "--author", "a"]

        def fit(store: str) -> list[str]:
            return [
                "fit-head",
                "-s",
                store,
                "--task",
                "t",
                "--positive",
                "dense nuclei",
                "--name",
                "h2",
                "--folds",
                "3",
            ]

        tasks = [
            Task("ingest", self.ingest, empty=True),
            Task("compact", lambda store: ["compact", "-s", store, "--keep-hours", "0"]),
            Task("index", lambda store: ["index", "-s", store, "--kind", "ivf_rq"]),
            Task("predict", lambda store: ["predict", "-s", store, "--head", "h"]),
            Task("fit-head", fit, again=lambda store: [*fit(store), "--replace"]),
            Task("label-import", label),
            Task("rm", lambda store: ["rm", "-s", store, "--slide", "s1.svs", "--yes"]),
            Task("map", lambda store: ["map", "-s", store, "--method", "pca", "--rebuild"]),
        ]
        return {task.name: task for task in tasks}

    @property
    def base(self) -> Path:
        """A store that has everything, to be copied."""
        with self.lock:
            return self._base

    @functools.cached_property
    def _base(self) -> Path:
        store, log = str(self.folder / "base"), self.folder / "base.log"
        steps = [
            self.ingest(store),
            ["label", "import", *self.tasks["label-import"].args(store)[2:-8], "-s", store, "--task", "t",
             "--only", "dense nuclei", "--negative", "other", "--author", "a"],
            ["fit-head", "-s", store, "--task", "t", "--positive", "dense nuclei", "--name", "h", "--folds", "3"],
            ["predict", "-s", store, "--head", "h", "--slide", "s0.svs"],
            ["map", "-s", store, "--method", "pca"],
        ]  # fmt: skip
        for step in steps:
            code, said = run(step, log=log)
            assert code == 0, said
        return Path(store)

    def store_for(self, task: Task, folder: Path) -> str:
        """A store to run a task on."""
        store = folder / "store"
        if not task.empty:
            shutil.copytree(self.base, store)
        return str(store)

    def expected(self, task: Task) -> dict[str, Any]:
        """Contents of a store after the task, undisturbed."""
        with self.lock:
            if task.name not in self.undisturbed:
                folder = self.folder / f"calm-{task.name}"
                folder.mkdir()
                store = self.store_for(task, folder)
                before = _bytes(store)
                code, said = run(task.args(store), log=folder / "log")
                assert code == 0, said
                self.wrote[task.name] = max(_bytes(store) - before, 1 << 16)
                self.undisturbed[task.name] = contents(store)
                shutil.rmtree(folder)
            return self.undisturbed[task.name]

    def present(self, store: str) -> int:
        """How many slides have their tiles in the store."""
        return len(Store.open(store).collection("c").slides())

    # -- the check --------------------------------------------------------------------------

    def assert_nothing_lost(
        self, task: Task, store: str, log: Path, *, failed: Mapping[str, str] | None = None, may_fail: str = "^$",
        before: Callable[[], object] | None = None,
    ) -> None:  # fmt: skip
        """After a fault: each slide whole or absent, reasons on record; the command run again ends as undisturbed.

        Args:
            failed: {slide: words of its reason} of slides that must be on record as failed now.
            may_fail: A pattern of the reasons for which other slides may be.
            before: Mends what was broken, before the command is run again.
        """
        expected = self.expected(task)
        assert_whole(store, expected, failed or {}, may_fail)
        if before is not None:
            before()
        code, said = run((task.again or task.args)(store), log=log)
        if task.name == "rm" and "no slide" in said:
            code = 0  # the first run had come to its end
        assert code == 0, said[-3000:]
        assert_same(contents(store), expected)
        for name in ("tiles-c", "predictions-h", "map-c"):
            assert not is_held(store, name), f"the lease of {name} is still held"


def _bytes(store: str) -> int:
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in Path(store).rglob("*") if path.is_file())


def contents(store: str) -> dict[str, Any]:
    """{table: its rows in an order of their own}; of labels those that stand."""
    found: dict[str, Any] = {}
    for name in sorted(Store.open(store).tables()):
        if name in ("leases", "runs", "access_log", "jobs", "tokens", "secrets") or name.startswith("probe-"):
            continue
        rows = lance.dataset(f"{store}/{name}.lance").to_table()
        if name == "labels":
            rows = rows.filter(pa.compute.is_null(rows["withdrawn_change"]))
        if name in COMPARED:
            found[name] = sorted(json.dumps(row, default=_text, sort_keys=True)
                                 for row in rows.select(list(COMPARED[name])).to_pylist())  # fmt: skip
        else:
            by = [key for key in ("slide_id", "tile_id", "view") if key in rows.column_names]
            order = rows.select(by).append_column("row", pa.array(np.arange(len(rows))))
            order = order.sort_by([(key, "ascending") for key in [*by, "row"]])
            found[name] = rows.take(order["row"]).combine_chunks()
    return found


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def assert_whole(store: str, expected: dict[str, Any], failed: Mapping[str, str], may_fail: str) -> None:
    """Each slide has all of its rows or none in every table, no tile is there twice, and reasons are on record."""
    try:
        opened = Store.open(store)
    except StoreNotFoundError:  # it had not been made yet
        return
    for name in ("tiles-c", "views-c", "predictions-h", "map-c"):
        if name not in opened.tables() or not isinstance(expected.get(name), pa.Table):
            continue
        rows = lance.dataset(f"{store}/{name}.lance").to_table(
            columns=[key for key in ("slide_id", "tile_id", "view") if name == "views-c" or key != "view"]
        )
        keys = list(zip(*(rows[key].to_pylist() for key in rows.column_names), strict=True))
        assert len(set(keys)) == len(keys), f"{name}: {len(keys) - len(set(keys))} rows are there twice"
        whole = _counts(expected[name])
        if name in ("tiles-c", "views-c"):
            for slide, count in _counts(rows).items():
                assert count == whole.get(slide, count), f"{name}: {slide} has {count} of {whole[slide]} rows"
    on_record = {row.slide_id: row for row in opened.ledger.outcomes(states=("failed", "empty"))}
    for slide, reason in failed.items():
        assert slide in on_record, f"{slide} is not on record as failed: {sorted(on_record)}"
        assert reason in f"{on_record[slide].error}: {on_record[slide].reason}", on_record[slide]
    for slide, row in on_record.items():
        assert row.error and row.reason, f"{slide} failed without a reason"
        assert slide in failed or re.search(may_fail, row.reason), f"{slide} failed: {row.error}: {row.reason}"


def _counts(rows: pa.Table) -> dict[str, int]:
    counts = rows["slide_id"].combine_chunks().value_counts().to_pylist()
    return {each["values"]: each["counts"] for each in counts}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sorted(found) == sorted(expected), f"tables {sorted(found)}; expected {sorted(expected)}"
    for name, rows in expected.items():
        if isinstance(rows, pa.Table):
            assert found[name].num_rows == rows.num_rows, f"{name}: {found[name].num_rows} of {rows.num_rows} rows"
        assert _equal(found[name], rows), f"{name} differs from that of an undisturbed run"


def _equal(found: Any, expected: Any) -> bool:
    if not isinstance(expected, pa.Table):
        return bool(found == expected)
    return all(
        np.array_equal(_array(found[name]), _array(expected[name])) if name == "vector"
        else found[name].equals(expected[name])
        for name in expected.column_names
    )  # fmt: skip


def _array(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.combine_chunks().flatten())
