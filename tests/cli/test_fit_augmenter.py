"""`embedstore fit-augmenter` and `embedstore augmenters`."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import app
from tests.heads.view_stores import make_viewed


@pytest.mark.slow
def test_from_the_command_line(tmp_path: Path):
    store = make_viewed(tmp_path, slides=8, tiles=30)
    config = tmp_path / "a.toml"
    config.write_text("[augmenter]\nwidth = 16\nsteps = 200\nevaluate_every = 100\nchunks = 4\nlearning_rate = 3e-3\n")

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, [*words, "--store", store.uri])
        assert result.exit_code == code, result.output
        return result.output

    assert "no augmenter yet" in run("augmenters")
    made = run("fit-augmenter", "--name", "mine", "--config", str(config), "--seed", "3")
    assert "mine: latent augmenter for toy" in made and "stain" in made and "--augment learned=0.5" in made
    record = store.augmenters.get("mine").record
    assert (record["config"]["width"], record["config"]["seed"]) == (16, 3)
    assert "mine" in run("augmenters") and "kept" in run("augmenters", "show", "mine")
    assert "removed" in run("augmenters", "rm", "mine", "--yes") and store.augmenters.names() == []
    config.write_text("[augmenter]\nwide = 16\n")
    result = CliRunner().invoke(app, ["fit-augmenter", "--store", store.uri, "--config", str(config)])
    assert "[augmenter] has wide; expected some of batch" in str(result.exception)
