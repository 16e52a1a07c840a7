"""What `embedstore predict` says comes next is a command that works."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import embedstore
from cli.main import app
from cli.next_step import say_export
from embedstore.progress import no_progress
from tests.heads.scene import make_store


def tile_folder(folder: Path) -> Path:
    """Dark and light tiles of six patients."""
    rng = np.random.default_rng(0)
    for number in range(24):
        name = folder / ("dark" if number % 2 else "light") / f"p{number % 6}_{number}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(name), rng.integers(0, 100, (64, 64, 3)).astype(np.uint8) + (50 if number % 2 else 150))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("ready_made", [False, True])
def test_the_next_command_works(ready_made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    if ready_made:
        store = embedstore.create("store")
        tiles = tile_folder(tmp_path / "tissue")
        store.ingest(tiles, extractors="colour-12", execution={"in_process": True}, on_progress=no_progress)
    else:
        store = embedstore.open(make_store(tmp_path, slides=6, tiles=10).uri)
    split = {"kind": "holdout", "group_by": "auto"}
    store.fit_head("tissue", split=split, bootstrap=50, on_progress=no_progress)
    told = CliRunner().invoke(app, ["predict", "--store", "store", "--head", "tissue-linear"])
    assert told.exit_code == 0, told.output
    line = next(line for line in told.stderr.splitlines() if line.startswith("next: "))
    assert ("--format csv" in line) == ready_made
    if ready_made:  # the scene's slides have no files to draw on
        done = CliRunner().invoke(app, shlex.split(line.removeprefix("next: embedstore ")))
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize(("model", "drawn"), [("linear", True), ("abmil", True), ("mean", False), ("max", False)])
def test_a_heat_map_comes_next_where_there_is_one(
    model: str, drawn: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = embedstore.open(make_store(tmp_path, slides=2, tiles=2).uri)
    level = "tile" if model == "linear" else "patient"
    say_export("my store", store, SimpleNamespace(name="h", level=level, model=model))  # type: ignore[arg-type]
    told = capsys.readouterr().err
    written = "png --out maps/" if drawn else "csv --out h.csv"
    assert told == f"next: embedstore export --store 'my store' --head h --format {written}\n"
