"""A collection written in the layout of each tool, read by the tool's own code, and imported again.

    python benchmarks/layout_round_trip.py FOLDER --peer trident=PYTHON:SOURCE:SOURCE --peer stamp=PYTHON:SOURCE …

FOLDER gets a store of slides with random places and random vectors, the exports, and the stores of the imports; the
store is made once. For each layout a row: seconds and peak memory of `embedstore export`, of a copy of the written
files by `cp`, and of `embedstore import` into a new store; and how many slides came back with the same vectors and
places, bit for bit, by the tool and by the import. A layout without `--peer` is not read by its tool, one that import
does not read is not imported. The environment of a peer, and its sources, are the user's; see `layout_peers.py`.

Slides have 0.25, 0.2325 and 0.5 µm a pixel by turns, so that tiles are of other sizes on each.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
from layout_peers import digest
from measure import absolute_path, run_measured, write_row

from embedstore.export_format import LayoutName
from embedstore.layouts.writing.slide_names import slide_names
from embedstore.store import (
    Collection,
    CollectionRecord,
    CollectionWriter,
    FragmentWriter,
    Outcome,
    SlideRow,
    SlideRows,
    Store,
)

HERE = Path(__file__).resolve().parent
COLLECTION = "synthetic"
MPPS = (0.25, 0.2325, 0.5)
TILE_PX, TILE_MPP = 256, 0.5
SIZE_L0 = (120_000, 90_000)
#: What import calls the layout, where it reads it, and what it must be told besides.
READ_AS = {
    "trident": ("trident",), "stamp": ("stamp",), "spatialdata": ("lazyslide",),
    "clam": ("clam", "--extractor", "synthetic", "--mpp", str(TILE_MPP), "--tile-px", str(TILE_PX)),
    "parquet": ("plain", "--extractor", "synthetic", "--mpp", str(TILE_MPP), "--tile-px", str(TILE_PX)),
}  # fmt: skip


def make_store(path: Path, *, slides: int, tiles: int, dim: int) -> None:
    """A collection of random vectors; each slide has its tiles anywhere."""
    record = CollectionRecord.from_record(
        {
            "tiling": {"tile_px": TILE_PX, "mpp": TILE_MPP},
            "extractor": {"name": "synthetic", "dim": dim, "digest": "sha256:0", "tile_px": TILE_PX, "mpp": TILE_MPP},
        }
    )
    store = Store.create(path)
    collection = Collection.create(store.uri, COLLECTION, record)
    rng = np.random.default_rng(0)
    for number in range(slides):
        slide_id, mpp = f"case-{number // 2:04}/slide-{number:04}.svs", MPPS[number % len(MPPS)]
        writer = FragmentWriter(
            table_uri=collection.table.uri, schema=collection.schema, collection=COLLECTION, slide_id=slide_id,
            xy_l0=rng.integers(0, SIZE_L0, (tiles, 2)).astype(np.int32), edge_l0=round(TILE_PX * TILE_MPP / mpp),
            tissue=np.ones(tiles, np.float32),
        )  # fmt: skip
        writer.put(np.arange(tiles), rng.standard_normal((tiles, dim), np.float32).astype(np.float16))
        CollectionWriter(collection).commit([writer.finish()])
        width, height = SIZE_L0
        store.ledger.record(
            [SlideRow(slide_id=slide_id, path=slide_id, kind="wsi", width_l0=width, height_l0=height, slide_mpp=mpp)],
            [Outcome(collection=COLLECTION, slide_id=slide_id, path=slide_id, state="done", tiles=tiles, run_id="0")],
        )


def digests(path: Path) -> dict[str, dict[str, Any]]:
    """{slide: its vectors and places}, as of `digest`."""
    store = Store.open(path)
    collection = store.collection(None)
    rows, found = SlideRows(collection), {}
    for slide_id in collection.slides():
        places = rows.table(slide_id, ["x", "y", "edge_l0"])
        (edge,) = set(places["edge_l0"].to_pylist())
        xy_l0 = np.stack([places["x"].to_numpy(), places["y"].to_numpy()], axis=1)
        found[slide_id] = digest(np.concatenate(list(rows.vectors(slide_id))), xy_l0, edge)
    return found


def round_trip(folder: Path, layout: LayoutName, stored: Mapping[str, Any], peer: str | None) -> dict[str, Any]:
    """Write, copy, read by the tool, import."""
    out, copy, again = folder / layout, folder / f"{layout}.copy", folder / f"{layout}.store"
    for each in (out, copy, again):
        shutil.rmtree(each, ignore_errors=True)
    mpps = {slide.slide_id: slide.slide_mpp for slide in Store.open(folder / "store").ledger.slides()}
    names = slide_names(stored, flat=layout in ("trident", "clam"))
    expected = {names[slide_id]: each for slide_id, each in stored.items()}
    command = [sys.executable, "-m", "cli.main", "export", "-s", str(folder / "store"), "--layout", layout]
    usage = run_measured([*command, "--out", str(out), "--json"], cwd=str(HERE.parent))
    assert usage.returncode == 0, usage.stdout
    row: dict[str, Any] = {
        "layout": layout, "slides": len(stored),
        "mb": round(sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6),
        "export_s": round(usage.wall_s, 1), "export_peak_mb": round(peak(usage.peak_bytes) / 1e6),
    }  # fmt: skip
    began = time.perf_counter()
    subprocess.run(["cp", "-r", out, copy], check=True)
    row["copy_s"] = round(time.perf_counter() - began, 1)
    shutil.rmtree(copy)
    if peer is not None:
        python, *sources = peer.split(":")
        listed = folder / f"{layout}.json"
        listed.write_text(json.dumps({names[slide_id]: {"mpp": mpps[slide_id]} for slide_id in stored}))
        done = subprocess.run(
            [python, str(HERE / "layout_peers.py"), layout, str(out), str(listed), *sources],
            stdout=subprocess.PIPE, text=True, check=True, cwd=folder,
        )  # fmt: skip
        read = json.loads(done.stdout.splitlines()[-1])
        row["same_by_tool"] = sum(read.get(name) == each for name, each in expected.items())
    if layout in READ_AS:
        command = [sys.executable, "-m", "cli.main", "import", str(out), "-s", str(again), "--json"]
        usage = run_measured([*command, "--layout", *READ_AS[layout]], cwd=str(HERE.parent))
        assert usage.returncode == 0, usage.stdout
        back = digests(again)
        row |= {
            "import_s": round(usage.wall_s, 1), "import_peak_mb": round(peak(usage.peak_bytes) / 1e6),
            "same_by_import": sum(
                back.get(names[slide_id], back.get(slide_id)) == each for slide_id, each in stored.items()
            ),
        }  # fmt: skip
    return row


def peak(of: Mapping[str, int]) -> int:
    return max(of.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=absolute_path)
    parser.add_argument("--slides", type=int, default=100)
    parser.add_argument("--tiles", type=int, default=2000, help="of a slide")
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--layout", action="append", choices=get_args(LayoutName))
    parser.add_argument("--peer", action="append", default=[], metavar="LAYOUT=PYTHON[:SOURCE…]")
    args = parser.parse_args()
    peers = dict(each.split("=", 1) for each in args.peer)
    args.folder.mkdir(parents=True, exist_ok=True)
    if not (args.folder / "store").exists():
        make_store(args.folder / "store", slides=args.slides, tiles=args.tiles, dim=args.dim)
    stored, collection = digests(args.folder / "store"), Store.open(args.folder / "store").collection(None)
    for layout in args.layout or get_args(LayoutName):
        row = round_trip(args.folder, layout, stored, peers.get(layout))
        row |= {"tiles_a_slide": len(collection) // len(stored), "dim": collection.dim}
        columns = ("layout", "slides", "tiles_a_slide", "dim", "mb", "export_s", "export_peak_mb", "copy_s",
                   "same_by_tool", "import_s", "import_peak_mb", "same_by_import")  # fmt: skip
        write_row("layout_round_trip", {name: row.get(name, "") for name in columns})


if __name__ == "__main__":
    main()
