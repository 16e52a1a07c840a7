"""`embedstore ingest` and what follows, through the command line."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from embedstore.export.pictures.tile_pictures import tile_pictures
from embedstore.extractors.builtin.colour_statistics import ColourStatistics
from embedstore.store import Store
from tests.slides.drawings import tissue_picture, write_tiff

from .conftest import HELD, PROGRAM, embedstore, embedstore_process

pytestmark = pytest.mark.slow
COLLECTION = "colour-12-256px-0.5mpp"


def table(store: Path, collection: str = COLLECTION) -> pa.Table:
    """All rows, slides in the order of their names, each slide's in its own order."""
    found = lance.dataset(f"{store}/tiles-{collection}.lance").to_table()
    return found.take(np.argsort(found.column("slide_id").to_numpy(zero_copy_only=False), kind="stable"))


def vectors(rows: pa.Table) -> np.ndarray:
    return np.asarray(rows.column("vector").combine_chunks().flatten())


@pytest.fixture(scope="module")
def ingested(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("ingested") / "store"
    done = embedstore("ingest", slides / "slides.csv", "-s", store, "-e", "colour-12", "--in-process", "--json")
    assert done.code == 3, done.err
    summary = done.json()
    assert summary["done"] == 3
    assert [slide for slide, _ in summary["failed"]] == ["torn.svs"]
    return store


def test_a_second_run_does_nothing_over(ingested: Path, slides: Path):
    before = lance.dataset(f"{ingested}/tiles-{COLLECTION}.lance").version
    done = embedstore("ingest", slides / "slides.csv", "-s", ingested, "-e", "colour-12", "--in-process", "--json")
    assert done.code == 3
    assert done.json()["already"] == 3
    assert done.json()["left_failed"][0][0] == "torn.svs"
    assert lance.dataset(f"{ingested}/tiles-{COLLECTION}.lance").version == before


def test_another_request_for_complete_slides_is_looked_into(ingested: Path, slides: Path):
    run = ("ingest", slides / "s0.svs", "-s", ingested, "-e", "colour-12", "--in-process", "-c", COLLECTION)
    assert embedstore(*run).code == 0
    done = embedstore(*run, "--min-tissue", 0.1)
    assert done.code == 1
    assert "tiling.min_tissue is 0.5 there and 0.1 here" in done.err


def test_status_says_why_a_slide_failed(ingested: Path):
    rows = embedstore("status", "-s", ingested, "--state", "failed", "--json").json()
    assert [row["slide_id"] for row in rows] == ["torn.svs"]
    assert rows[0]["error"] == "SlideFormatError"
    assert "torn.svs" in rows[0]["reason"]
    shown = embedstore("status", "-s", ingested)
    assert "tiff" in shown.out
    assert "3 done, 0 empty, 1 failed" in shown.err


def test_the_installed_command_keeps_data_from_talk_and_ends_with_its_code(ingested: Path, tmp_path: Path):
    shown = embedstore_process("status", "-s", ingested)
    assert shown.code == 0
    assert "torn.svs" in shown.out and "3 done" not in shown.out and "3 done, 0 empty, 1 failed" in shown.err
    failed = embedstore_process("status", "-s", tmp_path / "none")
    assert (failed.code, failed.out, failed.err.count("\n")) == (1, "", 1) and failed.err.startswith("error: ")
    assert embedstore_process("status", "--no-such-option").code == 2


def test_a_collection_keeps_how_its_tiles_were_made_smaller(tmp_path: Path):
    slide = write_tiff(tmp_path / "s.svs", tissue_picture(1400, 1100), factors=(1, 4))
    made, store = {}, tmp_path / "dct"
    for downsample in ("area", "dct"):
        run = ("ingest", slide, "-s", tmp_path / downsample, "-e", "colour-12", "--in-process", "--tile-px", 64)
        assert embedstore(*run, "--downsample", downsample).code == 0
        made[downsample] = table(tmp_path / downsample, "colour-12-64px-0.5mpp")
    assert made["dct"]["tile_id"].equals(made["area"]["tile_id"])
    assert not made["dct"]["vector"].equals(made["area"]["vector"])
    done = embedstore(*run[:3], store, *run[4:])
    assert done.code == 1 and "tiling.downsample is 'dct' there and 'area' here" in done.err
    assert embedstore("ls", "-s", store, "--json").json()["collections"][0]["downsample"] == "dct"
    pictures = tile_pictures(Store(str(store)), "colour-12-64px-0.5mpp", made["dct"].to_pylist())
    again = ColourStatistics(tile_px=64).embed(np.stack(pictures))
    np.testing.assert_array_equal(again, vectors(made["dct"]).reshape(again.shape))


def test_ls_and_show(ingested: Path, tmp_path: Path):
    listed = embedstore("ls", "-s", ingested, "--json").json()
    assert listed["collections"][0]["slides"] == 3
    tile = embedstore("ls", "-s", ingested, "--tiles", 3, "--json").json()[2]
    picture = tmp_path / "tile.png"
    shown = embedstore("show", tile["tile_id"], "-s", ingested, "--out", picture, "--json").json()
    assert (shown["slide_id"], shown["x"], shown["y"]) == (tile["slide_id"], tile["x"], tile["y"])
    assert shown["slide"]["stain"] == "HE"
    from PIL import Image

    with Image.open(picture) as opened:
        assert opened.size == (256, 256)


def test_stored_rows_are_the_embeddings_of_the_pictures_shown(ingested: Path, slides: Path):
    from embedstore.export import tile_pictures
    from embedstore.extractors import load_extractor
    from embedstore.store import Store

    store = Store.open(ingested)
    rows = store.collection(COLLECTION).tiles(limit=20).to_pylist()
    again = load_extractor("colour-12", device="cpu").embed(np.stack(tile_pictures(store, COLLECTION, rows)))
    np.testing.assert_allclose(again, np.array([row["vector"] for row in rows]), rtol=1e-3)


def test_another_tiling_into_the_same_collection_is_refused(ingested: Path, slides: Path):
    done = embedstore(
        "ingest", slides / "s0.svs", "-s", ingested, "-e", "colour-12", "--in-process",
        "--stride-px", 128, "-c", COLLECTION, "--force", "s0.svs",
    )  # fmt: skip
    assert done.code == 1
    assert "tiling.stride_px is 256 there and 128 here" in done.err


def test_removing_and_compacting(ingested: Path, slides: Path, tmp_path: Path):
    store = shutil.copytree(ingested, tmp_path / "store")
    assert embedstore("rm", "-s", store, "--patient", "P0", "--yes", "--json").json()["slides"] == ["s0.svs", "s1.svs"]
    assert set(table(store)["slide_id"].to_pylist()) == {"s2.svs"}
    assert embedstore("compact", "-s", store, "--keep-hours", 0).code == 0
    assert embedstore("rm", "-s", store, "--slide", "nope", "--yes").code == 1
    back = embedstore("ingest", slides / "slides.csv", "-s", store, "-e", "colour-12", "--in-process", "--json").json()
    assert (back["done"], back["already"]) == (2, 1)


def test_force_embeds_a_slide_again(ingested: Path, slides: Path, tmp_path: Path):
    store = shutil.copytree(ingested, tmp_path / "store")
    run = ("ingest", slides / "s0.svs", "-s", store, "-e", "colour-12", "--in-process", "--json")
    version = lance.dataset(f"{store}/tiles-{COLLECTION}.lance").version
    assert embedstore("map", "-s", store, "--method", "pca").code == 0
    forced = embedstore(*run, "--force", "s0.svs").json()
    assert (forced["done"], forced["off_map"]) == (1, {COLLECTION: 1})
    assert table(store).equals(table(ingested))
    assert lance.dataset(f"{store}/tiles-{COLLECTION}.lance").version > version


def test_dry_run_writes_nothing_and_names_what_will_fail(slides: Path, tmp_path: Path):
    store = tmp_path / "store"
    found = embedstore("ingest", slides / "slides.csv", "-s", store, "-e", "colour-12", "--dry-run", "--json").json()
    assert found["passes"][0]["slides"] == 3
    assert found["passes"][0]["tiles"] > 10
    assert [slide["slide_id"] for slide in found["unfit"]] == ["torn.svs"]
    assert not store.exists()


def test_a_folder_of_tiles_is_a_slide_with_labels(tmp_path: Path):
    import cv2

    folder = tmp_path / "tiles"
    for name in ("tumour", "normal"):
        (folder / name).mkdir(parents=True)
        for i in range(3):
            cv2.imwrite(str(folder / name / f"{i}.png"), np.full((96, 96, 3), 40 * i + len(name), np.uint8))
    store = tmp_path / "store"
    done = embedstore("ingest", folder, "-s", store, "-e", "colour-12", "--in-process", "--json")
    assert done.code == 0, done.err
    found = table(store)
    assert found["name"].to_pylist() == [f"{c}/{i}.png" for c in ("normal", "tumour") for i in range(3)]
    from embedstore.store import Store

    labels = {row["name"]: row["label"] for row in Store.open(store).labels.table(task="tiles").to_pylist()}
    assert labels["tumour/0.png"] == "tumour"
    assert len(labels) == 6


def test_ctrl_c_keeps_what_is_finished(slides: Path, tmp_path: Path):
    store, extractor, hold, said = (tmp_path / name for name in ("store", "slow.py", "hold", "err"))
    extractor.write_text(HELD.format(batches=3, hold=str(hold)))
    hold.touch()
    command = [PROGRAM, "ingest", slides, "-s", store, "-e", f"{extractor}:make", "--in-process", "--batch-tiles", "4"]
    with said.open("w") as err:
        process = subprocess.Popen(command, stderr=err)

    def until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 300
        while not holds():
            assert process.poll() is None and time.monotonic() < deadline, said.read_text()
            time.sleep(0.05)

    until(hold.with_suffix(".reached").exists)
    process.send_signal(signal.SIGINT)
    until(lambda: "stopping: finished slides are committed" in said.read_text())
    hold.unlink()
    assert process.wait(timeout=300) == 130, said.read_text()
    assert "remain" in said.read_text()
    done = embedstore("ingest", slides, "-s", store, "-e", f"{extractor}:make", "--in-process", "--json")
    assert done.code == 3
    assert done.json()["done"] + done.json()["already"] == 3


@pytest.mark.ray
def test_a_missing_cluster_is_named(slides: Path, tmp_path: Path):
    done = embedstore_process("ingest", slides, "-s", tmp_path / "store", "-e", "colour-12", "--address", "127.0.0.1:1")
    assert done.code == 1
    assert "no Ray cluster at 127.0.0.1:1" in done.err
    assert json.dumps(done.out) == '""'
