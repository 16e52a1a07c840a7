"""`embedstore tissue`."""

import json

import cv2
import pytest
from click.testing import CliRunner

from cli.tissue import command
from embedstore.errors import ResolutionError
from tests.slides.drawings import tissue_picture, write_tiff


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory):
    return write_tiff(tmp_path_factory.mktemp("command") / "case 1.svs", tissue_picture(1400, 1100), factors=(1, 4))


OPTIONS = ["--tile-px", "64", "--tissue-mpp", "2", "--min-area-um2", "500"]


@pytest.mark.slow
def test_it_writes_picture_and_mask_and_says_what_it_found(slide_path, tmp_path):
    done = CliRunner().invoke(command, [str(slide_path), "--out", str(tmp_path / "o"), "--json", *OPTIONS])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["reader"] == "tiff"
    assert found["tiles"] > 20
    assert found["no_tile"] is None
    assert found["tissue_mm2"] == pytest.approx(0.048, rel=0.05)
    picture = cv2.imread(found["picture"])
    assert max(picture.shape) == 1400
    assert ((picture == (60, 150, 0)).all(axis=2)).sum() > 1000  # the outline
    mask = tmp_path / "o" / "case 1.svs.tissue.geojson"
    assert len(json.loads(mask.read_text())["features"]) == 1
    again = CliRunner().invoke(
        command, [str(slide_path), "--out", str(tmp_path / "p"), "--mask", str(mask), "--json", *OPTIONS]
    )
    assert json.loads(again.stdout)["tiles"] == pytest.approx(found["tiles"], abs=2)


def test_a_slide_without_a_tile_still_gets_its_picture(slide_path, tmp_path):
    done = CliRunner().invoke(command, [str(slide_path), "--out", str(tmp_path), "--tile-px", "2048"])
    assert done.exit_code == 0
    assert "0 tiles" in done.stdout
    assert "takes 4096×4096" in done.stderr
    assert (tmp_path / "case 1.svs.tissue.png").is_file()


def test_an_error_is_embedstores_own(tmp_path):
    path = write_tiff(tmp_path / "a.svs", tissue_picture(300, 300), factors=(1,), mpp=None)
    done = CliRunner().invoke(command, [str(path), "--out", str(tmp_path)])
    assert isinstance(done.exception, ResolutionError)
