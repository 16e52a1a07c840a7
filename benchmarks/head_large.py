"""A head from a million stored vectors: seconds from the command to the saved head, and the share spent reading."""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import shapely
from measure import run_measured, write_row

from embedstore.store import (
    Collection,
    CollectionRecord,
    CollectionWriter,
    FragmentWriter,
    Label,
    Outcome,
    SlideRow,
    Store,
)

HERE = Path(__file__).resolve().parent
COLLECTION, TASK = "synthetic", "tumour"
EDGE_L0 = 512
LATENT = 32
SLIDES_A_COMMIT = 20


def large(folder: Path, slides: int, tiles: int, patients: int, dim: int, arguments: list[str]) -> None:
    """Make the store unless it is there, then run the command with an empty cache of programs, and again with it.

    Before each run the pages of the store are dropped from the machine's cache, so that reading is from the disk.
    """
    store = folder / "store"
    if not store.exists():
        make_store(store, slides=slides, tiles=tiles, patients=patients, dim=dim)
    with tempfile.TemporaryDirectory() as cache:
        for programs in ("compiled anew", "from the cache"):
            drop_pages(store)
            load = round(os.getloadavg()[0], 1)
            command = [
                sys.executable, "-m", "cli.main", "fit-head", "--store", str(store), "--task", TASK,
                "--name", "benchmark", "--replace", "--json", *arguments,
            ]  # fmt: skip
            usage = run_measured(command, cwd=str(HERE.parent), env={"EMBEDSTORE_CACHE": cache})
            if usage.returncode:
                raise SystemExit(f"fit-head ended with {usage.returncode}: {usage.stdout}")
            record = json.loads(usage.stdout)[0]
            spent = record["seconds"]
            metrics = record["report"]["metrics"]
            row = {
                "load_1m": load,
                "command": " ".join(["fit-head", *arguments]),
                "vectors": record["tiles"],
                "dim": record["extractor"]["dim"],
                "programs": programs,
                "optimizer": record["optimizer"],
                "heads": len(record["selection"]) * len(record["members"]),
                "wall_s": round(usage.wall_s, 1),
                "cpu_s": round(usage.cpu_s, 1),
                **{f"{name}_s": round(spent[name], 1) for name in ("join", "read", "fit", "evaluate")},
                "other_s": round(usage.wall_s - sum(spent.values()), 1),
                "read_share": round(spent["read"] / usage.wall_s, 3),
                "peak_mb": round(max(usage.peak_bytes.values()) / 1e6),
                "auroc": round(metrics["auroc"]["value"], 4),
            }
            write_row("fit_head_large", row)


def make_store(uri: Path, *, slides: int, tiles: int, patients: int, dim: int) -> None:
    """Slides of random vectors whose class can be told, with an area of one class a slide and the rest of another."""
    store = Store.create(uri)
    record = {
        "tiling": {"tile_px": 256, "mpp": 0.5},
        "tissue": {"method": "all"},
        "extractor": {"name": "synthetic", "dim": dim, "digest": "sha256:0"},
    }
    collection = Collection.create(store.uri, COLLECTION, CollectionRecord.from_record(record))
    writer = CollectionWriter(collection)
    rng = np.random.default_rng(0)
    out = rng.standard_normal((LATENT, dim), np.float32) / np.sqrt(LATENT)
    store.ledger.admit_columns([{"patient": "p"}])
    for first in range(0, slides, SLIDES_A_COMMIT):
        deliveries, facts, outcomes, labels = [], [], [], []
        for number in range(first, min(first + SLIDES_A_COMMIT, slides)):
            name = f"slide-{number:04d}"
            columns = max(1, round(tiles**0.5 * 1.4))
            xy = (np.stack([np.arange(tiles) % columns, np.arange(tiles) // columns], axis=1) * EDGE_L0).astype(
                np.int32
            )
            area = lesion(xy, rng)
            inside = shapely.contains_xy(area, *(xy + EDGE_L0 / 2).T)
            slide_writer = FragmentWriter(
                table_uri=collection.table.uri,
                schema=collection.schema,
                collection=COLLECTION,
                slide_id=name,
                xy_l0=xy,
                edge_l0=EDGE_L0,
                tissue=np.ones(tiles, np.float32),
            )
            z = rng.standard_normal((tiles, LATENT), np.float32) + 0.3 * rng.standard_normal(LATENT, np.float32)
            z[inside, :4] += 0.8
            vectors = z @ out + 0.3 * rng.standard_normal((tiles, dim), np.float32)
            slide_writer.put(np.arange(tiles), vectors.astype(np.float16))
            deliveries.append(slide_writer.finish())
            width, height = (int(edge) for edge in xy.max(axis=0) + EDGE_L0)
            facts.append(
                SlideRow(
                    slide_id=name, path=name, kind="wsi", width_l0=width, height_l0=height, slide_mpp=0.25,
                    metadata={"patient": f"patient-{number % patients:03d}"},
                )
            )  # fmt: skip
            outcomes.append(Outcome(collection=COLLECTION, slide_id=name, path=name, state="done", tiles=tiles))
            source = {"task": TASK, "slide_id": name, "author": "benchmark", "source": "synthetic"}
            labels += [
                Label(label="tumour", kind="area", geometry=shapely.to_wkb(area), **source),
                Label(label="normal", kind="rest", **source),
            ]
        store.labels.record(labels)
        store.ledger.record(facts, ())
        writer.commit(deliveries)
        store.ledger.record((), outcomes)
        print(f"{first + len(deliveries)} slides of {tiles} tiles", file=sys.stderr, flush=True)


def lesion(xy_l0: np.ndarray, rng: np.random.Generator) -> shapely.Polygon:
    """A wavy outline of 200 points, as an annotation has, around a place on the slide."""
    size = xy_l0.max(axis=0) + EDGE_L0
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    wave = 1 + 0.15 * np.sin(5 * angle + rng.uniform(0, 6)) + 0.1 * np.sin(11 * angle + rng.uniform(0, 6))
    radius = rng.uniform(0.15, 0.35) * size.min() * wave
    centre = rng.uniform(0.35, 0.65, 2) * size
    return shapely.Polygon(np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None] + centre)


def drop_pages(folder: Path) -> None:
    """Let the machine forget what it holds of the files of a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
