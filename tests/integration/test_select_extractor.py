"""`embedstore select-extractor` as a user has it: on ready-made tiles, with built-in extractors and ones that fail."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import app
from embedstore.errors import CandidatesError, ConfigError, LabelError, SplitError, TaskNotFoundError
from embedstore.store import Label, Store
from heads.select import SelectionReport

OWN = """
import numpy as np
from embedstore.extractors import Extractor


class Noise(Extractor):
    name, dim, tile_px, mpp, digest = "noise", 5, 64, 0.5, "sha256:noise"

    def embed(self, pixels):
        return np.random.default_rng(len(pixels)).normal(size=(len(pixels), 5)).astype(np.float16)


def noise():
    return Noise()
"""


def make_tiles(folder: Path, *, classes=("pale", "dark"), patients: int = 8, each: int = 6) -> Path:
    """Tiles whose class is their brightness, a little apart from patient to patient."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    lines = ["file,label,split,group"]
    for patient in range(patients):
        for i in range(each):
            for level, label in zip((190, 120, 60), classes, strict=False):
                tile = rng.normal(level + 3 * patient, 25, (64, 64, 3)).clip(0, 255).astype(np.uint8)
                name = f"{label}-{patient}-{i}.png"
                cv2.imwrite(str(folder / name), tile)
                lines.append(f"{name},{label},,P{patient}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def run(*words: str, code: int = 0):
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, (result.output, result.exception)
    return result


def ingest(tiles: Path, store: Path) -> Store:
    run("ingest", str(tiles), "--store", str(store), "-e", "colour-12", "--in-process", "--tile-px", "64",
        "--tile-mpp", "0.5", "--mpp", "0.5")  # fmt: skip
    return Store.open(store)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("select")
    return ingest(make_tiles(folder / "shade"), folder / "store")


def asked(store: Store, *words: str) -> list[str]:
    return ["select-extractor", "--store", store.uri, "--task", "shade", "--folds", "3", *words]


@pytest.mark.slow
def test_candidates_are_ranked_and_one_that_fails_costs_its_row(store: Store, tmp_path: Path):
    own = tmp_path / "own.py"
    own.write_text(OWN)
    config = tmp_path / "select.toml"
    config.write_text("[select]\nshots = [1, 5]\ndraws = 4\nc = [0.01, 1.0]\nbootstrap = 100\nrobust_tiles = 24\n")
    words = asked(store, "-e", f"{own}:noise", "-e", "colour-12", "-e", "no-such-net", "--config", str(config))
    out = tmp_path / "out"
    result = run(*words, "--out", str(out), code=3)
    assert "colour-12 leads by linear" in result.output and "more than noise" in result.output
    assert "no-such-net: UnknownExtractorError" in result.output
    report = SelectionReport.from_record(json.loads((out / "report.json").read_text()))
    assert [one.name for one in report.candidates] == ["colour-12", "noise", "no-such-net"]
    best, worst, lost = report.candidates
    assert best.scores["linear"].value > 0.95 and 0.3 < worst.scores["linear"].value < 0.7
    assert set(best.scores) == {"linear", "knn", "nearest_mean", "1-shot", "5-shot", "linear_auroc"}
    assert report.decisive and worst.behind.low > 0 and best.behind is None and lost.rank is None
    assert best.robustness["rotation"].value == pytest.approx(1, abs=1e-3)
    assert best.gigabytes == pytest.approx(96 * 12 * 2 / 1e9) and best.hours > 0
    assert report.tiles == 96 and report.patients == 8
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG") and "colour-12" in (out / "report.html").read_text()
    again = run(*words, "--json", code=3)
    same = SelectionReport.from_record(json.loads(again.stdout))
    assert [one.scores for one in same.candidates[:1]] == [best.scores]


@pytest.mark.slow
def test_the_ranking_is_checked_on_other_tasks(store: Store):
    names = store.collection().tiles(columns=["name", "slide_id"]).to_pylist()
    store.labels.record(
        [
            Label(task="patient-half", label="low" if int(row["name"].split("-")[1]) < 4 else "high", name=row["name"],
                  slide_id=row["slide_id"], patient=f"P{row['name'].split('-')[1]}", author="me", source="x")
            for row in names
        ]
    )  # fmt: skip
    words = asked(store, "-e", "colour-12", "-e", "stain-texture", "--rank-check", "patient-half", "--json")
    report = SelectionReport.from_record(json.loads(run(*words).stdout))
    (check,) = report.rank_checks
    assert check.task == "patient-half" and set(check.scores) == {"colour-12", "stain-texture"}
    both = zip(*(sorted((one.scores["linear"].value, one.name) for one in report.tried),), strict=True)
    assert len(list(both)) == 2 and check.tiles == 96


@pytest.mark.slow
def test_what_cannot_be_is_said_before_a_pixel_is_read(store: Store, tmp_path: Path):
    def error(*words: str) -> BaseException:
        return run(*asked(store, *words), code=1).exception

    assert run(*asked(store), code=2).exit_code == 2  # no candidate
    assert isinstance(error("-e", "no-such-net"), CandidatesError)
    assert "no column 'scanner' for --site" in str(error("-e", "colour-12", "--site", "scanner"))
    assert isinstance(error("-e", "colour-12", "--rank-by", "9-shot"), ConfigError)
    assert isinstance(error("-e", "colour-12", "--rank-check", "shade"), ConfigError)
    assert isinstance(error("-e", "colour-12", "--rank-check", "nothing"), TaskNotFoundError)
    assert isinstance(error("-e", "colour-12", "--folds", "30"), SplitError)
    one = ingest(make_tiles(tmp_path / "shade", classes=("pale",)), tmp_path / "one")
    found = run(*asked(one, "-e", "colour-12"), code=1).exception
    assert isinstance(found, LabelError)
    (tmp_path / "two").mkdir()
    few = ingest(make_tiles(tmp_path / "two" / "shade", patients=2), tmp_path / "few")
    assert isinstance(run(*asked(few, "-e", "colour-12"), code=1).exception, SplitError)
