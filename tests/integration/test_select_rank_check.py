"""`--rank-check` pairs the scores of a candidate on two tasks, whatever the others and the classes of the proxy are."""

from pathlib import Path

import pytest

from embedstore.extractors import ExtractorConfig
from embedstore.progress import Progress
from embedstore.store import Label, Store
from heads.config import SplitConfig
from heads.select import SelectConfig, select_extractor
from tests.integration.test_select_extractor import ingest, make_tiles

# Extractors that call themselves the same; `broken` cannot be run, and `fickle` no more once there is a file `stop`.
OWN = """
from pathlib import Path

import numpy as np
from embedstore.extractors import Extractor


class Mean(Extractor):
    name, dim, tile_px, mpp, digest = "own", 3, 64, 0.5, "sha256:mean"

    def embed(self, pixels):
        return (pixels.mean(axis=(1, 2)) / 255).astype(np.float16)


class Spread(Mean):
    digest = "sha256:spread"

    def embed(self, pixels):
        return (pixels.std(axis=(1, 2)) / 255).astype(np.float16)


class Broken(Mean):
    digest = "sha256:broken"

    def embed(self, pixels):
        raise RuntimeError("no kernel")


class Fickle(Mean):
    digest = "sha256:fickle"

    def embed(self, pixels):
        if Path(__file__).with_name("stop").exists():
            raise RuntimeError("out of memory")
        return super().embed(pixels)


def mean():
    return Mean()


def fickle():
    return Fickle()


def spread():
    return Spread()


def broken():
    return Broken()
"""


def copy_labels(store: Store, task: str, names: dict[str, str]) -> None:
    """The task `shade` once more, its classes called otherwise."""
    rows = store.collection().tiles(columns=["name", "slide_id"]).to_pylist()
    store.labels.record(
        [
            Label(task=task, label=names[row["name"].split("-")[0]], name=row["name"], slide_id=row["slide_id"],
                  patient=f"P{row['name'].split('-')[1]}", author="me", source="x")
            for row in rows
        ]
    )  # fmt: skip


@pytest.mark.slow
def test_scores_on_two_tasks_are_those_of_the_same_candidate(tmp_path: Path):
    own = tmp_path / "own.py"
    own.write_text(OWN)
    store = ingest(make_tiles(tmp_path / "shade"), tmp_path / "store")
    copy_labels(store, "again", {"pale": "light", "dark": "deep"})
    candidates = [ExtractorConfig(ref=f"{own}:{name}") for name in ("broken", "mean", "spread", "fickle")]
    config = SelectConfig(
        split=SplitConfig(folds=3), c=(0.01,), draws=2, robust_tiles=0, bootstrap=20, shots=(1,),
        classes=("pale", "dark"),
    )  # fmt: skip

    def on_progress(progress: Progress) -> None:
        if progress.message.startswith("again: "):
            (tmp_path / "stop").touch()

    report = select_extractor(
        store, store.collection(), "shade", candidates, config, rank_check=["again"], on_progress=on_progress
    )
    assert [one.name for one in report.failed] == ["own"]
    tried = {one.name: one.ref.rpartition(":")[2] for one in report.tried}
    assert tried == {"own-2": "mean", "own-3": "spread", "own-4": "fickle"}
    assert report.patients == 8 and any("at most 8 patients" in note for note in report.notes)
    (check,) = report.rank_checks
    assert set(check.scores) == {"own-2", "own-3"} and check.agreement.tau == 1
    assert "again: own-4 is not ranked: RuntimeError: out of memory" in report.notes
    assert check.scores["own-2"].value > check.scores["own-3"].value
