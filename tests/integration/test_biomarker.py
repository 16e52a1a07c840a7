"""A new biomarker as a user makes it, through the command line: slides, annotations, head, predictions, heat map."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from synthetic_slides import SlideRecipe, StainMix, write_slide

from .conftest import embedstore

pytestmark = pytest.mark.slow
RECIPE = SlideRecipe(mix=StainMix(), glands=0.2, dense=0.45, fat=0.05, pen=None)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four annotated slides of four patients."""
    folder = tmp_path_factory.mktemp("biomarker")
    for i in range(4):
        write_slide(folder / f"s{i}.svs", size_px=(2560, 2048), seed=i, recipe=RECIPE)
    rows = ["path,patient", *(f"s{i}.svs,P{i}" for i in range(4))]
    (folder / "slides.csv").write_text("\n".join(rows) + "\n")
    done = embedstore("ingest", folder / "slides.csv", "-s", folder / "store", "-e", "colour-12", "--in-process")
    assert done.code == 0, done.err
    found = embedstore(
        "label", "import", folder, "-s", folder / "store", "--task", "dense", "--only", "dense nuclei",
        "--negative", "other", "--author", "me", "--json",
    )  # fmt: skip
    assert found.code == 0, found.err
    return folder


def test_from_annotations_to_heat_maps(labelled: Path, tmp_path: Path):
    store = labelled / "store"
    fitted = embedstore(
        "fit-head", "-s", store, "--task", "dense", "--positive", "dense nuclei", "--folds", 4, "--json"
    )  # fmt: skip
    assert fitted.code == 0, fitted.err
    head = fitted.json()[0]
    assert head["name"] == "dense-linear"
    assert head["groups"] == 4
    assert head["report"]["metrics"]["auroc"]["value"] > 0.9

    assert embedstore("fit-head", "-s", store, "--again", "dense-linear", "--json").json()["same"]
    listed = embedstore("heads", "-s", store)
    assert "dense-linear" in listed.out
    shown = embedstore("heads", "show", "dense-linear", "-s", store, "--curves", tmp_path)
    assert "confusion" in shown.out and "extractor" in shown.out
    assert len(list((tmp_path / "dense-linear").glob("*.png"))) == 5
    split = embedstore("heads", "show", "dense-linear", "-s", store, "--split").out
    part_of = {(row["fold"], row["split"], row["patient"]) for row in csv.DictReader(split.splitlines())}
    assert len({(fold, patient) for fold, _, patient in part_of}) == len(part_of) == 16

    predicted = embedstore("predict", "-s", store, "--head", "dense-linear", "--json").json()
    assert predicted["rows"] == head["examples"]
    out = tmp_path / "out"
    assert embedstore("export", "-s", store, "--head", "dense-linear", "--format", "png", "--out", out).code == 0
    with Image.open(out / "s0.svs.png") as picture:
        assert picture.width > 500
    drawn = tmp_path / "qupath.geojson"
    done = embedstore(
        "export", "-s", store, "--head", "dense-linear", "--slide", "s1.svs", "--format", "geojson", "--out", drawn
    )
    assert done.code == 0, done.err
    names = {f["properties"]["classification"]["name"] for f in json.loads(drawn.read_text())["features"]}
    assert names == {"dense nuclei", "other"}
    assert embedstore("heads", "rm", "dense-linear", "-s", store, "--yes").code == 0
    assert not list(store.glob("predictions-*"))


def test_refusals_name_what_was_found(labelled: Path):
    store = labelled / "store"
    unknown = embedstore("fit-head", "-s", store, "--task", "tumour")
    assert unknown.code == 1
    assert "dense" in unknown.err and "label import" in unknown.err
    folds = embedstore("fit-head", "-s", store, "--task", "dense", "--folds", 9)
    assert folds.code == 1
    assert "4 patients" in folds.err
    assert embedstore("fit-head", "-s", store).code == 2
    assert embedstore("fit-head", "-s", store, "--task", "dense", "--augment", "blur=1").code == 2
