"""What `encode-slides` takes: seconds and peak memory of the built-in encoders and of one that is given whole slides.

Nothing is compared with: one large slide says whether memory is bounded, many slides say the speed. The whole slides go
to a function of this file, which takes the largest value of each dimension. A row an encoder goes to
results/encode_slides.csv.

    python benchmarks/encode_slides.py --slides 1 --tiles 200000 --dim 1536
    python benchmarks/encode_slides.py --slides 200 --tiles 2000 --dim 768
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

from measure import run_measured, write_row  # noqa: E402
from search_data import COLLECTION, new_collection, slide_writer  # noqa: E402

from embedstore.encoders import CustomSlideEncoder  # noqa: E402
from embedstore.store import CollectionWriter, Outcome, SlideRow, Store  # noqa: E402

#: Tiles that are drawn and written at once.
PART = 20_000


def largest() -> CustomSlideEncoder:
    """The largest value of each dimension, of a whole slide."""
    return CustomSlideEncoder(encode=lambda vectors, *_: vectors.max(axis=0), version="1")


def make(uri: Path, slides: int, tiles: int, dim: int) -> None:
    """Slides of standard normal vectors."""
    store, rng = Store.create(uri), np.random.default_rng(0)
    collection = new_collection(store, dim)
    writer = CollectionWriter(collection)
    for number in range(slides):
        name = f"slide-{number:05d}.svs"
        made = slide_writer(collection, name, tiles)
        for start in range(0, tiles, PART):
            at = np.arange(start, min(start + PART, tiles))
            made.put(at, rng.standard_normal((len(at), dim), np.float32).astype(np.float16))
        writer.commit([made.finish()])
        row = SlideRow(slide_id=name, path=name, kind="wsi")
        store.ledger.record(
            [row], [Outcome(collection=COLLECTION, slide_id=name, path=name, state="done", tiles=tiles)]
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=200)
    parser.add_argument("--tiles", type=int, default=2000, help="of each slide")
    parser.add_argument("--dim", type=int, default=768)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "store", arguments.slides, arguments.tiles, arguments.dim)
        for encoder in ("mean", "visual-words", f"{HERE}:largest"):
            command = ["-m", "cli.main", "encode-slides", "--store", f"{folder}/store", "--encoder", encoder]
            env = {"PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), str(HERE.parent)])}
            used = run_measured([sys.executable, *command], env=env)
            if used.returncode:
                raise SystemExit(f"{encoder} ended with {used.returncode}: {used.stdout}")
            write_row(
                "encode_slides",
                {
                    "encoder": encoder.rpartition(":")[2], "slides": arguments.slides, "tiles": arguments.tiles,
                    "dim": arguments.dim, "seconds": round(used.wall_s, 1), "cpu_s": round(used.cpu_s, 1),
                    "peak_mb": round(max(used.peak_bytes.values()) / 1e6),
                    "vectors_mb": round(2e-6 * arguments.slides * arguments.tiles * arguments.dim),
                },
            )  # fmt: skip


if __name__ == "__main__":
    main()
