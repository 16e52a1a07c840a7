"""`select-extractor --level slide`: candidates on a task of slides, each slide by the mean of some of its tiles."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from embedstore.store import Label, Store
from tests.integration.test_select_extractor import OWN, run


def make_slides(folder: Path, slides: int = 12, tiles: int = 5) -> Path:
    """Folders of tiles and their list: every second slide is darker, a tile of it need not be."""
    rng = np.random.default_rng(0)
    lines = ["path,patient"]
    for slide in range(slides):
        path = folder / f"s{slide:02}"
        path.mkdir(parents=True)
        for i in range(tiles):
            tile = rng.normal((130 if slide % 2 else 180) + 20 * rng.normal(), 10, (64, 64, 3)).clip(0, 255)
            cv2.imwrite(str(path / f"{i}.png"), tile.astype(np.uint8))
        (path / "labels.csv").write_text("file,label\n" + "".join(f"{i}.png,any\n" for i in range(tiles)))
        lines.append(f"{path},P{slide}")
    (folder / "slides.csv").write_text("\n".join(lines) + "\n")
    return folder / "slides.csv"


@pytest.mark.slow
def test_candidates_are_ranked_by_slides(tmp_path: Path):
    uri = str(tmp_path / "store")
    run("ingest", str(make_slides(tmp_path / "slides")), "--store", uri, "-e", "colour-12", "--in-process",
        "--tile-px", "64", "--tile-mpp", "0.5", "--mpp", "0.5")  # fmt: skip
    store = Store.open(uri)
    names = sorted(store.collection().slides())
    store.labels.record(
        [
            Label(task="shade", label=("pale", "dark")[i % 2], kind="slide", slide_id=name, author="me", source="t.csv")
            for i, name in enumerate(names)
        ]
    )
    own = tmp_path / "own.py"
    own.write_text(OWN)
    words = ["select-extractor", "--store", uri, "--task", "shade", "--level", "slide", "--slide-tiles", "4"]
    words += ["--folds", "3", "--rank-by", "nearest_mean", "-e", f"{own}:noise", "-e", "colour-12"]
    assert "48 tiles; visual-words" in str(run(*words, "--encoder", "visual-words", code=1).exception)
    out = tmp_path / "out"
    report = json.loads(run(*words, "--out", str(out), "--json").stdout)
    assert (report["slides"], report["tiles"], report["patients"]) == (12, 48, 12)
    assert [row["name"] for row in report["candidates"]] == ["colour-12", "noise"]
    first = report["candidates"][0]
    assert first["scores"]["nearest_mean"]["value"] > 0.8 and first["behind"] is None
    assert not first["robustness"]
    assert "12 labelled slides of 12 patients, by 48 tiles" in (out / "report.html").read_text()
