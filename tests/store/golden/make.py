"""Writes the golden store of this version: `python -m tests.store.golden.make`.

A golden store is a small store with every kind of table, as a released version wrote it. It is made once, just before
that version is released, and never again: later versions must open it as it is.
"""

import os
import socket
import tarfile
from pathlib import Path
from shutil import rmtree

import numpy as np

import embedstore
from embedstore.progress import Progress
from embedstore.store import AccessRow, Job, Lease, Store
from embedstore.store.store_format import FORMAT
from embedstore.version import __version__
from tests.slides.drawings import tissue_picture, write_tiff

FOLDER = Path(__file__).parent
#: Where the store lies while it is made; it is in the paths of its slides.
MADE_AT = Path("/tmp/embedstore-golden")
#: {slide: what its list says}.
SLIDES = {
    f"{name}.tif": {"patient": f"P{i + 1}", "cohort": "A" if i < 3 else "B", "stage": i}
    for i, name in enumerate(("one", "two", "three", "four", "five", "six"))
}
COLLECTION, TASK, SLIDE_TASK = "golden", "side", "stain"
TILE_PX, EDGE_PX = 64, (256, 192)


def write_slide(path: Path, seed: int) -> Path:
    """A slide of the golden store, or one more like them."""
    return write_tiff(path, tissue_picture(*EDGE_PX, seed=seed), mpp=0.5, factors=(1, 2))


def make(folder: Path) -> Path:
    """A store with every kind of table."""
    slides = folder / "slides"
    slides.mkdir(parents=True)
    for seed, name in enumerate(SLIDES):
        write_slide(slides / name, seed)
    rows = [",".join(map(str, (name, *row.values()))) for name, row in SLIDES.items()]
    (slides / "slides.csv").write_text("\n".join(["path,patient,cohort,stage", *rows]) + "\n")
    store = embedstore.create(folder / "store")
    store.ingest(
        slides / "slides.csv", extractors="colour-12", collections=[COLLECTION],
        tiling={"tile_px": TILE_PX, "mpp": 0.5}, views=1, tissue={"method": "all"}, execution={"in_process": True},
    )  # fmt: skip
    tiles = store.collection(COLLECTION).tiles().to_pylist()
    store.labels.add(
        TASK, [{"tile_id": row["tile_id"], "label": "left" if row["x"] < EDGE_PX[0] / 2 else "right"} for row in tiles],
        author="ann",
    )  # fmt: skip
    store.labels.withdraw(TASK, places=[{"tile_id": tiles[0]["tile_id"]}], author="ann")
    store.labels.add(
        SLIDE_TASK, [{"slide_id": name, "label": "pale" if i % 2 else "dark"} for i, name in enumerate(SLIDES)],
        author="ann",
    )  # fmt: skip
    square = [[10, 10], [200, 10], [200, 100], [10, 100], [10, 10]]
    area = {"slide_id": "one.tif", "label": "area", "geometry": {"type": "Polygon", "coordinates": [square]}}
    store.labels.add("areas", [area], author="ann")
    store.fit_head(TASK, name="side", split={"folds": 3}, c=(1.0,)).predict()
    store.fit_head(SLIDE_TASK, name="stain", model="abmil", split={"folds": 3}, steps=5, hidden=8).predict()
    store.fit_augmenter(name="augmenter", steps=5, chunks=1, width=8, layers=1, heads=1, force=True)
    store.collection(COLLECTION).make_map(method="pca")
    _service_tables(Store.open(store.uri))
    return folder / "store"


def _service_tables(store: Store) -> None:
    """What only a service writes, and a lease that its process left behind."""
    store.tokens.create("ann", role="label", project="cohort = 'A'")
    store.tokens.create("ben", role="read")
    store.tokens.revoke("ben")
    store.secrets.get("pseudonyms")
    look = AccessRow(caller="ann", by="token", address="127.0.0.1", action="look", slide_id="one.tif")
    change = AccessRow(caller="ann", by="token", action="labels.add", subject=TASK, detail={"labels": 3})
    store.access_log.append([look, change])
    store.jobs.record(
        [
            Job(id="a1", kind="export", caller="ann", project="cohort = 'A'", state="done", result={"notes": []}),
            Job(id="b2", kind="fit", caller="ben", state="running", progress=Progress(stage="fit"), server="server-1"),
        ]
    )
    left = Lease(store.uri, "tiles-left-behind", wait_s=0)
    left._stop_renewal()


def packed(store: Path, archive: Path) -> None:
    """The store as a .tar.xz."""

    def nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(archive, "w:xz") as tar:
        tar.add(store, "store", filter=nobody)


if __name__ == "__main__":
    archive = FOLDER / f"{__version__}-format-{FORMAT}.tar.xz"
    if archive.exists():
        raise SystemExit(f"{archive} is there, and is never made again")
    socket.gethostname = lambda: "golden-host"
    np.random.seed(0)
    rmtree(MADE_AT, ignore_errors=True)
    packed(make(MADE_AT), archive)
    rmtree(MADE_AT)
    print(archive, archive.stat().st_size, "bytes")
    os._exit(0)  # the lease stays
