"""Words on the command line."""

import json

import pytest
from click.testing import CliRunner

from cli.main import app
from embedstore.store import Store
from tests.two_towers import SLIDES, colour_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return colour_store(tmp_path_factory.mktemp("words"))[0]


def test_search_by_words(store: Store):
    args = ["search", "--store", store.uri, "--text", "red", "--text", "orange", "-k", "3", "--trust-extractor"]
    said = CliRunner().invoke(app, [*args, "--json"])
    found = json.loads(said.stdout)
    assert found["query"] == 'the mean of 2 texts ("red", "orange")'
    assert {SLIDES[hit["slide_id"]][hit["x"] // 512] for hit in found["hits"]} == {"red", "orange"}


def test_words_with_tiles_that_are_wanted_and_not(store: Store):
    rows = store.collection("toy").tiles(columns=["tile_id", "slide_id", "x"]).to_pylist()
    of = {SLIDES[row["slide_id"]][row["x"] // 512]: str(row["tile_id"]) for row in rows}

    def found(*more: str) -> list[str]:
        args = ["search", "--store", store.uri, "--text", "red", "--trust-extractor", "--json", "-k", "3", *more]
        said = CliRunner().invoke(app, args)
        assert said.exit_code == 0, said.stderr
        return [SLIDES[hit["slide_id"]][hit["x"] // 512] for hit in json.loads(said.stdout)["hits"]]

    assert found() == ["red", "red", "orange"]
    assert found("--more-like", of["green"])[0] == "orange"  # it lies between red and green
    assert "orange" not in found("--not", of["orange"])
    refused = CliRunner().invoke(
        app, ["search", "--store", store.uri, "--text", "red", "--trust-extractor", "--exclude-same", "slide"]
    )
    assert "is of no slide" in str(refused.exception)


@pytest.mark.parametrize(
    ("args", "said"),
    [(["--text", "red", "--at", "1", "1"], "one of these only"), (["--trust-extractor", "12"], "--image or --text"),
     (["--text", "red", "--slide", "a.svs"], "takes no --text"),
     (["--text", "red", "--mpp", "1"], "goes with --image")],
)  # fmt: skip
def test_usage(store: Store, args: list[str], said: str):
    result = CliRunner().invoke(app, ["search", "--store", store.uri, *args])
    assert result.exit_code == 2 and said in result.stderr


def test_zero_shot_makes_a_head_and_predicts(store: Store):
    words = ["zero-shot", "--store", store.uri, "--task", "colour", "--trust-extractor"]
    classes = ["--class", "warm=red|orange", "--class", "cold=blue"]
    said = CliRunner().invoke(app, [*words, *classes, "--template", "a {} tile"])
    assert said.exit_code == 0, said.output
    assert "colour-zero-shot: zero-shot head for 'colour' on toy" in said.stdout
    assert "made of 3 prompts for 2 classes; measured on 0 tiles" in said.stdout
    assert "colour-zero-shot: 9 rows of 3 slide(s)" in said.stdout and "has no labels" in said.stderr
    card = CliRunner().invoke(app, ["heads", "show", "colour-zero-shot", "--store", store.uri])
    assert card.exit_code == 0 and "red | orange" in card.stdout and "sha256:words" in card.stdout
    listed = CliRunner().invoke(app, ["heads", "--store", store.uri])
    assert listed.exit_code == 0 and "zero-shot" in listed.stdout
    again = CliRunner().invoke(app, [*words, *classes, "--replace", "--no-predict", "--json"])
    assert json.loads(again.stdout)["predicted"] is None
    missing = CliRunner().invoke(app, words)
    assert missing.exit_code == 2 and "give the classes with --class" in missing.stderr
    both = CliRunner().invoke(app, [*words, *classes, "--prompts", __file__])
    assert both.exit_code == 2 and "one of these only" in both.stderr
