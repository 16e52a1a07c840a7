"""Commits per second into one collection by processes that write at the same time, each as a run does.

They write under the collection's lease, with the rows of the ledger. What they commit is written before the clock
starts. At the end it is counted that every slide is there once.
"""

import argparse
import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from measure import write_row

from actors.committer import CommitBatch, Committer
from embedstore.store import Collection, CollectionRecord, FragmentWriter, Outcome, SlideRow, Store, ViewRows

COLLECTION = "c"
#: What a reader waits for another to be ready, seconds.
READY_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Load:
    """What each writer commits: groups of slides of a few tiles."""

    commits: int
    slides: int
    tiles: int
    dim: int


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--commits", type=int, default=40, help="of each writer")
    parser.add_argument("--slides", type=int, default=8, help="in a commit")
    parser.add_argument("--tiles", type=int, default=64, help="of a slide")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--store", help="where to make the stores; a scratch folder when left out")


def run(args: argparse.Namespace) -> None:
    load = Load(commits=args.commits, slides=args.slides, tiles=args.tiles, dim=args.dim)
    for writers in args.writers:
        with tempfile.TemporaryDirectory() as folder:
            uri = f"{args.store or folder}/{writers}-{time.time_ns()}"
            write_row("scale_commits", _concurrent_commits(uri, writers, load))


def _concurrent_commits(uri: str, writers: int, load: Load) -> dict[str, Any]:
    store = Store.create(uri)
    Collection.create(store.uri, COLLECTION, random_record(load.dim))
    spawn = multiprocessing.get_context("spawn")
    gate, answers = spawn.Barrier(writers + 1), spawn.Queue()
    processes = [spawn.Process(target=_write, args=(uri, i, load, gate, answers)) for i in range(writers)]
    for process in processes:
        process.start()
    gate.wait(READY_S)
    began = time.perf_counter()
    slowest = max(answers.get(timeout=READY_S) for _ in processes)
    wall_s = time.perf_counter() - began
    for process in processes:
        process.join()
    expected = {f"{i}-{n}": load.tiles for i in range(writers) for n in range(load.commits * load.slides)}
    found = store.collection(COLLECTION).slides()
    done = {outcome.slide_id for outcome in store.ledger.outcomes(states=("done",))}
    return {
        "store": uri.partition("://")[0] if "://" in uri else "folder",
        "writers": writers,
        "commits": writers * load.commits,
        "slides_a_commit": load.slides,
        "tiles_a_slide": load.tiles,
        "dim": load.dim,
        "commits_per_s": round(writers * load.commits / wall_s, 2),
        "slides_per_s": round(writers * load.commits * load.slides / wall_s, 1),
        "slowest_commit_s": round(slowest, 2),
        "lost": len(expected.keys() - found.keys()) + len(expected.keys() - done),
        "doubled": sum(tiles != expected.get(slide) for slide, tiles in found.items()),
        "turns": "by queue",  # rows of earlier versions: by pauses
    }


def _write(uri: str, number: int, load: Load, gate: Any, answers: Any) -> None:
    """A run's committer, which has its slides at once."""
    collection = Store.open(uri).collection(COLLECTION)
    batches = [
        random_batch(
            collection,
            [f"{number}-{n}" for n in range(start, start + load.slides)],
            load.tiles,
            seed=number,
            run_id=f"run-{number}",
        )
        for start in range(0, load.commits * load.slides, load.slides)
    ]
    committer = Committer(uri, [COLLECTION], compact_every=64)
    gate.wait(READY_S)
    slowest = 0.0
    for batch in batches:
        began = time.perf_counter()
        committer.commit(batch)
        slowest = max(slowest, time.perf_counter() - began)
    answers.put(slowest)


def random_batch(
    collection: Collection, names: list[str], tiles: int, *, seed: int, run_id: str | None = None,
    views: ViewRows | None = None,
) -> CommitBatch:  # fmt: skip
    """Slides of so many tiles whose rows mean nothing, nor those of their views, if there are to be any."""
    fragments, rng, schema = [], np.random.default_rng(seed), collection.schema
    for name in names:
        writer = FragmentWriter(
            table_uri=collection.table.uri,
            schema=schema,
            collection=collection.name,
            slide_id=name,
            xy_l0=np.stack([np.arange(tiles) * 512, np.zeros(tiles)], axis=1).astype(np.int32),
            edge_l0=512,
            tissue=np.ones(tiles, np.float32),
            views=views,
        )
        writer.put(np.arange(tiles), rng.normal(size=(tiles, collection.dim)).astype(np.float16))
        if views is not None:
            rows = tiles * views.config.count
            writer.put_views(np.arange(rows), rng.normal(size=(rows, collection.dim)).astype(np.float16))
        fragments.append(writer.finish())
    return CommitBatch(
        fragments=tuple(fragments),
        slides=tuple(SlideRow(slide_id=name, path=name, kind="wsi") for name in names),
        outcomes=tuple(
            Outcome(collection=collection.name, slide_id=name, path=name, state="done", tiles=tiles, run_id=run_id)
            for name in names
        ),
    )


def random_record(dim: int) -> CollectionRecord:
    return CollectionRecord.from_record(
        {"tiling": {}, "extractor": {"name": "random", "dim": dim, "digest": "sha256:0"}, "request": None}
    )
