"""`embedstore suggest` and `embedstore mistakes` as they are typed."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import app
from embedstore import api
from embedstore.errors import EmbedStoreError
from embedstore.store import Store
from tests.heads.active.scene import make_active_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_active_store(tmp_path_factory.mktemp("cli"))


def run(store: Store, command: str, *arguments: str) -> Result:
    result = CliRunner().invoke(app, [command, "--store", store.uri, *arguments])
    if isinstance(result.exception, EmbedStoreError):
        raise result.exception
    return result


def rows(store: Store, command: str, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(run(store, command, "--json", *arguments).stdout)["tiles"]


def test_what_is_printed_is_what_python_gives(store: Store):
    opened = api.open(store.uri)
    options = ("-n", "4", "--strategy", "uncertainty", "--where", "x > 0", "--per-slide", "2")
    asked = {"n": 4, "strategy": "uncertainty", "where": "x > 0", "per_slide": 2}
    assert rows(store, "suggest", "--head", "folds", *options) == opened.head("folds").suggest(**asked).to_pylist()
    first = opened.collection().suggest(n=3, task="tissue", seed=5).to_pylist()
    assert rows(store, "suggest", "--task", "tissue", "-n", "3", "--seed", "5") == first
    wrong = opened.head("holdout").mistakes(n=2, label="tumour", part="train").to_pylist()
    assert rows(store, "mistakes", "--head", "holdout", "-n", "2", "--label", "tumour", "--part", "train") == wrong


def test_a_table_for_people_with_notes_beside_it(store: Store):
    result = run(store, "suggest", "-n", "2")
    lines = result.stdout.splitlines()
    assert len(lines) == 3 and "reason" in lines[0] and "probability" not in lines[0]  # without a head
    assert (
        "2 tiles to label, typical" in result.stderr
        and "192 tiles of 8 slides were asked for, labelled" in result.stderr
    )
    result = run(store, "mistakes", "--head", "folds", "-n", "3")
    assert len(result.stdout.splitlines()) == 4 and "authors" in result.stdout
    assert "note: the head disagrees with" in result.stderr


def test_head_and_collection_exclude_each_other(store: Store):
    for given in (("--collection", "toy"), ("--task", "tissue")):
        result = run(store, "suggest", "--head", "folds", *given)
        assert result.exit_code == 2 and "leave --collection and --task out" in result.stderr
