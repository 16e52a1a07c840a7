"""`embedstore map` as it is typed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli.main import app
from embedstore.store import Store
from tests.export.prediction_scene import grid, make_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path, {"a.svs": grid(4, 3), "b.svs": grid(3, 2)})


def run(store: Store, *args: object) -> Result:
    result = CliRunner().invoke(app, ["map", *map(str, args), "--store", store.uri])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_map_is_made_drawn_and_told(store: Store, tmp_path: Path):
    picture = tmp_path / "map.png"
    told = run(store, "--method", "pca", "--out", picture, "--color-by", "patient").stdout
    assert "18 of 18 tiles" in told and str(picture) in told
    with Image.open(picture) as drawn:
        assert drawn.size == (1560, 1314)
    record = json.loads(run(store, "--json").stdout)
    assert (record["collection"], record["tiles"], record["record"]["config"]["method"]) == ("toy", 18, "pca")


def test_a_picture_needs_a_file_that_pil_knows(store: Store, tmp_path: Path):
    wrong = run(store, "--color-by", "patient")
    assert wrong.exit_code == 2 and "--out" in wrong.stderr
    wrong = run(store, "--method", "pca", "--out", tmp_path / "map.xyz")
    assert wrong.exit_code == 2 and "name a .png or .jpg" in wrong.stderr
    assert not (tmp_path / "map.xyz").exists()
