"""What the fault tests share: slides, an extractor that takes its time, and the rows of an undisturbed run."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from synthetic_slides import write_slide
from tests.integration.conftest import PROGRAM, embedstore
from tests.integration.test_ingest import SLOW, table, vectors
from tests.integration.test_views import views_table


class FaultScene(NamedTuple):
    """Slides, the file of a slow extractor, and the store of an undisturbed run."""

    slides: Path
    extractor: Path
    calm: Path


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> FaultScene:
    folder = tmp_path_factory.mktemp("faults")
    for i in range(5):
        write_slide(folder / "slides" / f"s{i}.svs", size_px=(1536 + 256 * i, 1280), seed=10 + i)
    extractor = folder / "slow.py"
    extractor.write_text(SLOW.format(seconds=0.05))
    done = embedstore(*command(folder / "slides", extractor, folder / "calm")[1:], "--in-process")
    assert done.code == 0, done.err
    return FaultScene(folder / "slides", extractor, folder / "calm")


def command(slides: Path, extractor: Path, store: Path) -> list[str]:
    return [str(PROGRAM), "ingest", str(slides), "-s", str(store), "-e", f"{extractor}:make", "-c", "c",
            "--readers", "2", "--batch-tiles", "4", "--views", "2", "--retry-failed"]  # fmt: skip


def assert_resumes_to_the_undisturbed_rows(scene: FaultScene, store: Path) -> None:
    """Whatever was left undone is done by the next run, and then nothing is missing or there twice."""
    done = embedstore(*command(scene.slides, scene.extractor, store)[1:], "--in-process")
    assert done.code == 0, done.err
    rows, expected = table(store, "c"), table(scene.calm, "c")
    assert len(set(rows["tile_id"].to_pylist())) == len(rows)
    assert rows.drop_columns("vector").equals(expected.drop_columns("vector"))
    np.testing.assert_array_equal(vectors(rows), vectors(expected))
    assert views_table(store, "c").equals(views_table(scene.calm, "c"))
