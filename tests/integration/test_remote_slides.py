"""Slides in a bucket give the same store as slides on a disk, and every command opens them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from embedstore.store import Store
from tests.bucket_files import put, remove
from tests.integration.conftest import embedstore
from tests.object_store import Faults, ObjectStore

pytestmark = pytest.mark.slow

NAME = "stain-texture-256px-0.5mpp"


@pytest.fixture
def in_bucket(slides: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of slides at an address, and an empty cache."""
    monkeypatch.setenv("EMBEDSTORE_CACHE", str(tmp_path / "cache"))
    return put(f"{bucket}/slides", slides)


def rows(store: str | Path) -> list[dict]:
    table = Store(store).collection(NAME).tiles(columns=["tile_id", "slide_id", "x", "y", "vector"])
    return sorted(table.to_pylist(), key=lambda row: row["tile_id"])


def test_bucket_to_bucket_gives_the_rows_of_disk_to_disk(in_bucket, slides, bucket, tmp_path):
    here, there = tmp_path / "store", f"{bucket}/store"
    assert embedstore("ingest", slides, "--store", here, "--in-process").code == 3
    ended = embedstore("ingest", f"{in_bucket}/", "--store", there, "--in-process")
    assert ended.code == 3 and f"no reader opens slide '{in_bucket}/torn.svs'" in ended.err
    assert rows(here) == rows(there) and len(rows(there)) > 20
    assert [path.name for path in (tmp_path / "cache" / "slides").iterdir()] == ["lock"]
    slide = next(row for row in Store(there).ledger.slides() if row.slide_id == "s0.svs")
    assert (slide.path, slide.patient) == (f"{in_bucket}/s0.svs", "P0")
    # the same slides at the other place are the same slides
    assert "3 already there" in embedstore("ingest", slides, "--store", there, "--in-process").out
    assert "3 already there" in embedstore("ingest", in_bucket, "--store", there, "--in-process").out

    pictures = []
    for store in (here, there):
        picture = tmp_path / "tile.png"
        assert embedstore("show", "--store", store, "--slide", "s0.svs", "--out", picture).code == 0
        pictures.append(cv2.imread(str(picture)))
    assert np.array_equal(*pictures)
    image = put(f"{bucket}/query.png", picture)
    found = embedstore("search", "--store", there, "--image", image, "-k", 3, "--montage", tmp_path / "m.png")
    assert found.code == 0 and "s0.svs" in found.out and (tmp_path / "m.png").exists()
    assert embedstore("tissue", f"{in_bucket}/s1.svs", "--out", tmp_path).code == 0
    assert (tmp_path / "s1.svs.tissue.png").exists()

    remove(f"{in_bucket}/s0.svs")
    gone = embedstore("show", "--store", there, "--slide", "s0.svs", "--out", tmp_path / "tile.png")
    assert gone.code == 1 and f"there is no object {in_bucket}/s0.svs" in gone.err
    put(f"{in_bucket}/s1.svs", slides / "s2.svs")
    other = embedstore("show", "--store", there, "--slide", "s1.svs", "--out", tmp_path / "tile.png")
    assert other.code == 1 and "changed" in other.err


def test_a_driver_killed_while_it_fetches_leaves_what_the_next_one_goes_on_with(
    in_bucket, bucket, object_store: ObjectStore, tmp_path
):
    cache, store = tmp_path / "cache" / "slides", tmp_path / "store"
    large = np.random.default_rng(0).integers(0, 256, 40 << 20, np.uint8).tobytes()
    put(f"{bucket}/large/a.svs", large)
    # Some parts come; the others do not before the driver is killed.
    object_store.fail(Faults(delay_s=1000, methods="GET", key="large/a.svs", after=2))
    command = [sys.executable, "-m", "cli.main", "ingest", f"{bucket}/large", "--store", store, "--in-process"]
    driver = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not any(file.stat().st_size for file in cache.glob("*/files/*")):
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    (part,) = cache.glob("*/files/*")
    assert 0 < part.stat().st_size < len(large)
    os.utime(part.parent.parent / "used")
    object_store.fail()
    ended = embedstore("ingest", f"{bucket}/large", in_bucket, "--store", store, "--in-process")
    assert ended.code == 3 and f"slide '{bucket}/large/a.svs'" in ended.err and "3 slide(s) done" in ended.out
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_refused_credentials_are_told_before_anything_starts(in_bucket, bucket, object_store: ObjectStore, tmp_path):
    listed = tmp_path / "list.csv"
    listed.write_text(f"path\n{in_bucket}/s0.svs\n")
    object_store.fail(Faults(refuse=True))
    for what in (in_bucket, listed):
        ended = embedstore("ingest", what, "--store", tmp_path / "store")
        assert ended.code == 1 and "403 Forbidden (InvalidAccessKeyId)" in ended.err and "Traceback" not in ended.err
        assert not (tmp_path / "store").exists()
