"""`embedstore map` as it is typed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli.main import app
from embedstore.errors import ConfigError, ExportError, HeadNotFoundError, MapNotFoundError, TaskNotFoundError
from embedstore.store import Outcome, Store
from tests.export.prediction_scene import add_folder, grid, make_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path, {"a.svs": grid(4, 3), "b.svs": grid(3, 2)})


def run(store: Store, *args: object, command: str = "map") -> Result:
    result = CliRunner().invoke(app, [command, *map(str, args), "--store", store.uri])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.slow
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
    with pytest.raises(ExportError, match=r"expected a picture, such as .*map\.png"):
        run(store, "--method", "pca", "--out", tmp_path / "map.xyz")
    assert not store.maps()  # told before the work


def test_what_is_not_on_the_map_is_told_and_the_map_can_be_removed(store: Store):
    run(store, "--method", "pca")
    add_folder(store, "c", ("x.png", "y.png"))
    done = Outcome(collection="toy", slide_id="c", path="c", state="done", tiles=2)
    store.ledger.record([], [done])
    assert "18 tiles, lacks 1 slides" in run(store, command="ls").stdout
    assert "1 slide(s) of toy are not on its map" in run(store, command="status").stderr
    run(store)
    assert "20 tiles" in run(store, command="ls").stdout and "map" not in run(store, command="status").stderr
    removed = json.loads(run(store, "--map", "toy", "--yes", "--json", command="rm").stdout)
    assert removed["maps"] == ["toy"]
    assert not store.map("toy").exists()
    with pytest.raises(MapNotFoundError):
        run(store, "--map", "toy", "--yes", command="rm")


def test_a_colour_that_there_is_not_is_told_before_the_map_is_made(store: Store, tmp_path: Path):
    for by, error in (("nope", ConfigError), ("head:nope", HeadNotFoundError), ("label:nope", TaskNotFoundError)):
        with pytest.raises(error):
            run(store, "--method", "pca", "--out", tmp_path / "map.png", "--color-by", by)
    assert not store.map("toy").exists()
