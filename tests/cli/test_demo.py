"""`embedstore demo` on slides of one's own."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import embedstore
from cli.main import app
from embedstore.progress import no_progress


@pytest.mark.slow
def test_slides_of_ones_own_do_not_join_those_of_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    embedstore.create("demo/store")  # of `embedstore demo`
    embedstore.synthesize_slides("mine", slides=1, size_px=(1200, 1000), on_progress=no_progress)
    done = CliRunner().invoke(app, ["demo", "mine", "--in-process"])
    assert done.exit_code == 0, done.output
    assert "look at demo-own/tiles.png" in done.output and (tmp_path / "demo-own" / "tiles.png").is_file()
    assert len(embedstore.open("demo/store").slides) == 0
    assert len(embedstore.open("demo-own/store").slides) == 1
