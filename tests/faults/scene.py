"""What the fault tests share: slides, an extractor that takes its time, and the rows of an undisturbed run."""

import sys
from pathlib import Path

import numpy as np

from synthetic_slides import write_slide
from tests.integration.conftest import embedstore
from tests.integration.test_ingest import SLOW, table, vectors
from tests.integration.test_views import views_table


def calm_scene(folder: Path) -> tuple[Path, Path, Path]:
    """Slides, an extractor that takes its time, and the store of an undisturbed run."""
    for i in range(5):
        write_slide(folder / "slides" / f"s{i}.svs", size_px=(1536 + 256 * i, 1280), seed=10 + i)
    extractor = folder / "slow.py"
    extractor.write_text(SLOW.format(seconds=0.05))
    done = embedstore(*command(folder / "slides", extractor, folder / "calm")[1:], "--in-process")
    assert done.code == 0, done.err
    return folder / "slides", extractor, folder / "calm"


def command(slides: Path, extractor: Path, store: Path) -> list[str]:
    program = str(Path(sys.executable).parent / "embedstore")
    return [program, "ingest", str(slides), "-s", str(store), "-e", f"{extractor}:make", "-c", "c",
            "--readers", "2", "--batch-tiles", "4", "--views", "2", "--retry-failed"]  # fmt: skip


def assert_same_rows(store: Path, calm: Path) -> None:
    ours, theirs = table(store, "c"), table(calm, "c")
    assert len(set(ours["tile_id"].to_pylist())) == len(ours)
    assert ours.drop_columns("vector").equals(theirs.drop_columns("vector"))
    np.testing.assert_array_equal(vectors(ours), vectors(theirs))
    assert views_table(store, "c").equals(views_table(calm, "c"))
