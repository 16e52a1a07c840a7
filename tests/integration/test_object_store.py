"""A store in an object store: every command does there what it does in a folder."""

import os
import subprocess
from pathlib import Path

import pytest

from embedstore.store import Store
from synthetic_slides import write_slide
from tests.faults.world import assert_same, contents
from tests.object_store import Faults, ObjectStore

from .conftest import PROGRAM, Ended, embedstore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def three_slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    for i in range(3):
        write_slide(folder / f"s{i}.svs", size_px=(1024, 768), seed=i)
    rows = ["path,patient", *(f"s{i}.svs,P{i}" for i in range(3))]
    (folder / "slides.csv").write_text("\n".join(rows) + "\n")
    return folder


def _all_commands(slides: Path, store: str) -> list[Ended]:
    """Run each, and return what those said that tell of the store."""
    ended = []
    at = ("-s", store)
    for said, command in (
        (False, ("ingest", slides / "slides.csv", *at, "-e", "colour-12", "-c", "c", "--in-process", "--tile-px", 128)),
        (False, ("label", "import", *sorted(slides.glob("*.geojson")), *at, "--task", "t", "--only", "dense nuclei",
                 "--negative", "other", "--author", "a")),
        (False, ("fit-head", *at, "--task", "t", "--positive", "dense nuclei", "--name", "h", "--folds", 3)),
        (False, ("predict", *at, "--head", "h")),
        (False, ("map", *at, "--method", "pca")),
        (False, ("index", *at, "--kind", "ivf_rq")),
        (True, ("search", *at, "--slide", "s0.svs", "--at", 300, 300, "--json")),
        (False, ("rm", *at, "--slide", "s1.svs", "--yes")),
        (False, ("compact", *at, "--keep-hours", 0)),
        (True, ("search", *at, "--slide", "s0.svs", "--at", 300, 300, "--json")),
        (True, ("status", *at, "--json")),
        (True, ("ls", *at, "--tiles", 500, "--json")),
    ):  # fmt: skip
        done = embedstore(*command)
        assert done.code == 0, f"{command}: {done.err}"
        if said:
            ended.append(done)
    return ended


def test_every_command_does_what_it_does_in_a_folder(three_slides: Path, bucket: str, tmp_path: Path):
    there, here = f"{bucket}/a/store", str(tmp_path / "store")
    told, expected = _all_commands(three_slides, there), _all_commands(three_slides, here)
    assert_same(contents(there), contents(here))
    assert told[-1].json() == expected[-1].json()
    for ours, local in zip(told[:2], expected[:2], strict=True):
        assert [hit["tile_id"] for hit in ours.json()["hits"]] == [hit["tile_id"] for hit in local.json()["hits"]]
    assert Store.open(there).collection("c").slides().keys() == {"s0.svs", "s2.svs"}


def test_what_an_object_store_refuses_or_cannot_serve_is_one_sentence(
    three_slides: Path, object_store: ObjectStore, bucket: str
):
    run = ("ingest", three_slides / "s0.svs", "-e", "colour-12", "-c", "c", "--in-process", "-s", f"{bucket}/store")
    assert embedstore(*run).code == 0
    for faults, words in (
        (Faults(refuse=True), "(InvalidAccessKeyId); check that the bucket is there"),
        (Faults(unavailable=1), "answered 503"),
        (Faults(reset=1), "the object store does not answer; check AWS_ENDPOINT"),
    ):
        object_store.fail(faults)
        for command in (("status", "-s", f"{bucket}/store"), (*run, "--force", "s0.svs")):
            done = embedstore(*command)
            assert done.code == 1 and words in done.err and done.err.count("\n") <= 4, f"{command}: {done.err}"
    object_store.fail()
    missing = embedstore("ls", "-s", "s3://no-such-bucket/store")
    assert missing.code == 1 and "404" in missing.err


def test_a_command_on_an_object_store_that_hangs_ends(
    three_slides: Path, object_store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
):
    object_store.fail(Faults(delay_s=1000))
    done = subprocess.run(
        [PROGRAM, "ls", "-s", f"{bucket}/store"], capture_output=True, text=True, timeout=300,
        env=os.environ | {"AWS_READ_TIMEOUT": "1s", "OBJECT_STORE_CLIENT_RETRY_TIMEOUT": "1"},
    )  # fmt: skip
    assert done.returncode == 1 and "the object store does not answer" in done.stderr, done.stderr
