"""Slides are fetched whole, once, into a bounded folder, and never read where they did not come whole."""

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.errors import AccessError, SlideCacheFullError, SlideChangedError, SlideFetchError, SlideNotFoundError
from embedstore.slides import (
    SlideSource,
    TileReader,
    discard_copy,
    end_requests,
    fetch_ahead,
    limit_slide_cache,
    local_copy,
    open_slide,
    plan_slide,
)
from embedstore.slides.remote import fetching, objects
from tests.object_store import Faults
from tests.slides.drawings import tissue_picture, write_dicom, write_ome_zarr

CONTENT = np.random.default_rng(0).integers(0, 256, 10_000, np.uint8).tobytes()


@pytest.fixture
def small_parts(monkeypatch):
    """Objects are fetched in requests of 1,000 bytes."""
    monkeypatch.setattr(fetching, "PART_BYTES", 1000)


def names(cache) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tiff", "dicom", "zarr"])
def test_slide_in_a_bucket_is_planned_and_read_as_the_file_is(kind, tmp_path, drawn_slide, put, cache):
    file = drawn_slide("rgb", False)
    uri = put("set/slide.tif", file)
    if kind == "dicom":
        (tmp_path / "d").mkdir()
        file = write_dicom(tmp_path / "d" / "level-0.dcm", tissue_picture(512, 384), series="1.2.3")
        write_dicom(tmp_path / "d" / "other.dcm", tissue_picture(64, 64), series="9.9.9")
        uri = put("d", tmp_path / "d") + "/level-0.dcm"
    if kind == "zarr":
        folder = write_ome_zarr(tmp_path / "z.zarr", tissue_picture(512, 384), chunk_px=256)
        file, uri = folder / "zarr.json", put("z.zarr", folder) + "/zarr.json"
    tiling = TilingConfig(tile_px=64, min_tissue=0.1)
    read = []
    for path in (str(file), uri):
        source = SlideSource(slide_id="a", path=path, kind="wsi", mpp=0.5)
        plan = plan_slide(source, tiling=tiling, tissue=TissueConfig(method="all"), reading=ReadingConfig())
        with TileReader(plan, tiling) as reader:
            read.append((plan.fingerprint, plan.reader, len(plan), reader.read(0, len(plan))[0]))
    assert read[0][:3] == read[1][:3] and np.array_equal(read[0][3], read[1][3])
    assert plan.source.version and len(names(cache)) == 1
    put(uri.split("/", 3)[3], b"changed")
    with pytest.raises(SlideChangedError, match=f"{uri} was changed"):
        TileReader(plan, tiling)


def test_errors_name_the_address_and_not_the_copy(put, cache):
    uri = put("a/broken.svs", b"not a slide")
    with pytest.raises(Exception, match=f"no reader opens slide '{uri}'") as told:
        open_slide(uri)
    assert str(cache) not in str(told.value)
    with pytest.raises(SlideNotFoundError, match=f"{uri}x"):
        open_slide(uri + "x")


def test_copies_are_shared_and_deleted_when_the_last_user_lets_go(put, cache, object_store, small_parts):
    uri = put("one.svs", CONTENT)
    before = object_store.counts()["GET"]
    with ThreadPoolExecutor(4) as threads:
        copies = list(threads.map(lambda _: local_copy(uri), range(4)))
    assert {Path(copy.path).read_bytes() for copy in copies} == {CONTENT}
    assert object_store.counts()["GET"] - before == 10
    discard_copy(uri)
    for copy in copies:
        assert len(names(cache)) == 1
        copy.close()
    assert names(cache) == []


@pytest.mark.parametrize("fault", [Faults(unavailable=0.3), Faults(reset=0.3), Faults(lost=0.3)], ids=str)
def test_requests_that_fail_are_tried_again(fault, put, object_store, small_parts):
    uri = put("one.svs", CONTENT)
    object_store.fail(fault)
    with local_copy(uri) as copy:
        assert Path(copy.path).read_bytes() == CONTENT


def test_a_fetch_that_broke_off_goes_on_where_it_was_and_is_not_read_before(put, cache, object_store, small_parts):
    uri = put("one.svs", CONTENT)
    object_store.fail(Faults(unavailable=1.0, methods="GET", after=5))
    with pytest.raises(SlideFetchError, match=f"{uri} does not come: it answered 503.*in 5 tries"):
        local_copy(uri)
    (entry,) = cache.glob("*-10000")
    held = (entry / "files" / "one.svs").stat().st_size
    assert 1000 <= held <= 5000 and not (entry / "whole").exists()
    object_store.fail()
    before = object_store.counts()["GET"]
    with local_copy(uri) as copy:
        assert Path(copy.path).read_bytes() == CONTENT
    assert object_store.counts()["GET"] - before == 10 - held // 1000


def test_an_object_that_changes_during_the_fetch_is_not_mixed(put, object_store, small_parts, monkeypatch):
    uri = put("one.svs", CONTENT)
    read, changed = fetching.read_part, threading.Event()

    def read_part(found, start, stop, **settings):
        if start >= 3000 and not changed.is_set():
            changed.set()
            put("one.svs", CONTENT[::-1])
        return read(found, start, stop, **settings)

    monkeypatch.setattr(fetching, "read_part", read_part)
    with pytest.raises(SlideChangedError, match=f"{uri} was changed while it was read"):
        local_copy(uri)
    with local_copy(uri) as copy:
        assert Path(copy.path).read_bytes() == CONTENT[::-1]


def test_refused_credentials_are_an_error_of_the_store_and_not_of_the_slide(put, object_store):
    uri = put("one.svs", CONTENT)
    object_store.fail(Faults(refuse=True))
    with pytest.raises(AccessError, match="refuses to show"):
        local_copy(uri)


def test_copies_take_no_more_than_they_may(put, cache):
    uris = [put(f"{i}.svs", CONTENT) for i in range(4)]
    limit_slide_cache(25e-6, wait_s=0.0)
    first, second = local_copy(uris[0]), local_copy(uris[1])
    with pytest.raises(SlideCacheFullError, match=r"take 20 KB of the 25 KB.*--slide-cache-gb"):
        local_copy(uris[2])
    first.close()
    with local_copy(uris[2]):  # in the place of the first
        assert len(names(cache)) == 2
    second.close()
    limit_slide_cache(9e-6, wait_s=0.0)
    with pytest.raises(SlideFetchError, match=f"{uris[3]} has 10 KB, and the cache .* may hold 9 KB; raise"):
        local_copy(uris[3])


def test_a_folder_that_cannot_be_written_is_told_as_such(put, cache, monkeypatch):
    uri = put("one.svs", CONTENT)

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "_fetch_object", full)
        with pytest.raises(AccessError, match=f"{cache} for fetched slides cannot be written: No space .*free some"):
            local_copy(uri)
    monkeypatch.setenv("EMBEDSTORE_CACHE", str(cache / "lock"))
    with pytest.raises(AccessError, match=r"lock/slides for fetched slides .* Not a directory.*EMBEDSTORE_CACHE"):
        local_copy(uri)


def test_what_a_process_that_was_killed_left_is_deleted(put, cache):
    left = local_copy(put("left.svs", CONTENT))
    os.close(left._pin._lock)  # as the system does
    (used,) = cache.glob("*/used")
    os.utime(used, (0, time.time() - 4000))
    (cache / f"{'0' * 32}-5").mkdir()  # was killed before it locked it
    with local_copy(put("next.svs", CONTENT)):
        assert len(names(cache)) == 1


def test_the_next_slide_is_fetched_while_another_is_read(put, cache, object_store):
    uri = put("next.svs", CONTENT)
    fetch_ahead(uri)
    fetch_ahead(uri + "-missing")  # told to whoever opens it
    deadline = time.monotonic() + 300
    while not list(cache.glob("*/whole")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    before = object_store.counts()["GET"]
    with local_copy(uri) as copy:
        assert Path(copy.path).read_bytes() == CONTENT
    assert object_store.counts()["GET"] == before


def test_a_fetch_ends_with_the_run(put, object_store, small_parts, monkeypatch):
    uri = put("one.svs", CONTENT)
    monkeypatch.setattr(objects, "PAUSES_S", (10_000.0,) * 4)
    object_store.fail(Faults(unavailable=1.0, methods="GET", after=2))
    before, deadline = object_store.counts()["unavailable"], time.monotonic() + 300
    with ThreadPoolExecutor(1) as threads:
        fetch = threads.submit(local_copy, uri)
        while object_store.counts()["unavailable"] == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        end_requests()
        with pytest.raises(SlideFetchError):
            fetch.result(timeout=300)
    object_store.fail()
    with local_copy(uri) as copy:  # one that begins later
        assert Path(copy.path).read_bytes() == CONTENT


def test_a_part_that_begins_after_its_fetch_has_ended_is_not_waited_for(put, object_store, monkeypatch):
    found = objects.find_object(put("one.svs", CONTENT))
    assert found is not None
    fetch = objects.lease()
    end_requests()
    monkeypatch.setattr(objects, "PAUSES_S", (10_000.0,) * 4)
    object_store.fail(Faults(unavailable=1.0, methods="GET"))
    with pytest.raises(SlideFetchError):
        objects.read_part(found, 0, 10, may_go_on=fetch)
