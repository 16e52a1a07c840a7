"""What an import costs, beside copying the files: slides of TRIDENT, as many as are asked for.

    python benchmarks/import_layout.py --work DIR [--slides 1000] [--tiles 2000] [--dim 768]

Makes a job of TRIDENT in DIR (float16, a chunk a row, as TRIDENT writes), copies it with `cp -r`, and imports it with
`embedstore import`, each in a process of its own from a warm cache. `rows_s` is when all rows were there; the search
index is made meanwhile and after it. Then the command is run again, when all slides are there. A row in
results/import_layout.csv. DIR needs four bytes for each value; what was made is deleted.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from measure import Usage, absolute_path, run_measured, write_row  # noqa: E402


def write_job(job: Path, *, slides: int, tiles: int, dim: int) -> int:
    """Write a job of TRIDENT; returns its bytes."""
    folder = job / "20x_256px_0px_overlap" / "features_uni_v1"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((tiles, dim)).astype(np.float16)
    columns = int(np.ceil(np.sqrt(tiles)))
    places = np.stack([np.arange(tiles) % columns, np.arange(tiles) // columns], axis=1).astype(np.int64) * 512
    for number in range(slides):
        name = f"slide-{number:05d}"
        with h5py.File(folder / f"{name}.h5", "w") as file:
            rolled = np.roll(vectors, number, axis=0)
            features = file.create_dataset("features", data=rolled, chunks=(1, dim), maxshape=(None, dim))
            features.attrs.update({"name": name, "encoder": "uni_v1"})
            coords = file.create_dataset("coords", data=places, chunks=(1, 2), maxshape=(None, 2))
            coords.attrs.update(
                {
                    "patch_size": 256, "patch_size_level0": 512, "level0_magnification": 40, "target_magnification": 20,
                    "overlap": 0, "name": name, "level0_width": columns * 512, "level0_height": columns * 512,
                }
            )  # fmt: skip
    return sum(path.stat().st_size for path in folder.iterdir())


def run_import(job: Path, store: Path) -> Usage:
    command = [sys.executable, "-m", "cli.main", "import", str(job), "--store", str(store), "--json"]
    usage = run_measured(command, cwd=str(ROOT), env={"PYTHONPATH": str(ROOT)})
    assert usage.returncode == 0, usage.stdout
    return usage


def seconds_to_rows(store: Path) -> float:
    """Seconds from the start of the first run until its last slide was committed; the search index comes after it."""
    import embedstore

    opened = embedstore.open(store)
    began = min(run["started_at"] for run in opened.runs.to_pylist())
    return (max(row["updated_at"] for row in opened.status.to_pylist()) - began).total_seconds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=absolute_path, required=True)
    parser.add_argument("--slides", type=int, default=1000)
    parser.add_argument("--tiles", type=int, default=2000)
    parser.add_argument("--dim", type=int, default=768)
    options = parser.parse_args()
    work = options.work / "import_layout"
    job, copy, store = work / "job", work / "copy", work / "store"
    try:
        size = write_job(job, slides=options.slides, tiles=options.tiles, dim=options.dim)
        began = time.monotonic()
        subprocess.run(["cp", "-r", str(job), str(copy)], check=True)
        copied_s = time.monotonic() - began
        shutil.rmtree(copy)
        first = run_import(job, store)
        again = run_import(job, store)
        rows_s = seconds_to_rows(store)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    summary, second = (json.loads(usage.stdout) for usage in (first, again))
    assert (summary["done"], second["already"]) == (options.slides, options.slides)
    write_row(
        "import_layout",
        {
            "layout": "trident",
            "slides": options.slides,
            "tiles": summary["tiles"],
            "dim": options.dim,
            "gb": round(size / 1e9, 2),
            "copy_s": round(copied_s, 1),
            "rows_s": round(rows_s, 1),
            "import_s": round(first.wall_s, 1),
            "import_cpu_s": round(first.cpu_s, 1),
            "peak_process_mb": round(max(first.peak_bytes.values()) / 1e6),
            "tiles_per_s": round(summary["tiles"] / first.wall_s),
            "again_s": round(again.wall_s, 1),
        },
    )


if __name__ == "__main__":
    main()
