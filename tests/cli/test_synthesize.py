"""`embedstore synthesize`."""

import json
from pathlib import Path

import openslide
import pytest
from click.testing import CliRunner

from cli.synthesize import command


@pytest.mark.slow
def test_command_makes_them_and_says_so(tmp_path: Path):
    result = CliRunner().invoke(command, [str(tmp_path), "--slides", "1", "--size", "512x400", "--json"])
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert row["size_px"] == [512, 400]
    assert openslide.OpenSlide(row["path"]).dimensions == (512, 400)
    assert CliRunner().invoke(command, [str(tmp_path), "--size", "512"]).exit_code == 2
