"""`embedstore rm --collection` as it is typed."""

from pathlib import Path

from click.testing import CliRunner, Result

from cli.main import app
from embedstore.store import Store
from tests.heads.scene import make_store


def run(store: Store, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["rm", "--store", store.uri, *arguments])


def test_a_collection_is_asked_for_and_no_slides_beside(tmp_path: Path):
    store = make_store(tmp_path, slides=2, tiles=4)
    unsaid = run(store, "--collection", "toy", "--slide", "s00.svs", "--yes")
    assert unsaid.exit_code == 2 and "give one or the other" in unsaid.stderr
    assert "collection toy, 8 tiles" in run(store, "--collection", "toy").stderr
    assert store.collection_names() == ["toy"]
    done = run(store, "--collection", "toy", "--yes")
    assert done.exit_code == 0 and done.stdout == "toy: collection removed, 8 tiles\n"
    assert store.collection_names() == [] and len(store.ledger.slide_ids()) == 2
