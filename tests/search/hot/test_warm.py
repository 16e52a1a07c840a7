"""A warm collection follows its collection, and leaves its folder to the next process."""

import builtins
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedstore
from embedstore.cache_folder import cache_folder
from embedstore.errors import ConfigError
from embedstore.search.hot import warm
from embedstore.store import Collection, CollectionWriter, Store
from embedstore.store.hot_folder import KEPT_S, forget_copies
from embedstore.store.removal import remove_slides
from tests.search.planted import DIM, noise, plant
from tests.store.test_index import add

QUERY = np.ones(DIM, np.float32)


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Collection]:
    monkeypatch.setenv("EMBEDSTORE_CACHE", str(tmp_path / "cache"))
    return plant(tmp_path, {f"s{i}": noise(20, i) for i in range(4)})


def folders(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("hot/*/*"))


def until(holds: Any) -> None:
    end = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def found(collection: embedstore.Collection, **settings: Any) -> set[str]:
    return set(collection.search(QUERY, k=100, **settings)["slide_id"])


def answers_hot(collection: embedstore.Collection) -> bool:
    facts = collection.warm_facts
    return facts is not None and facts.version == collection.summary().version


def test_every_collection_of_a_store_shares_what_is_warm(planted, tmp_path: Path):
    store = embedstore.open(planted[0].uri)
    assert store.collection().warm_facts is None
    facts = store.collection().warm(on_progress=lambda progress: None)
    assert (facts.state, facts.tiles, facts.reused) == ("ready", 80, False)
    assert facts.memory_bytes > 80 * 2 * DIM and facts.disk_bytes > 80 * 2 * DIM
    assert store.collection().warm_facts == facts and Path(facts.folder).parents[2] == tmp_path / "cache"
    assert oct(Path(facts.folder).stat().st_mode)[-3:] == "700"
    store.collection().cool()
    assert store.collection().warm_facts is None and found(store.collection()) == {"s0", "s1", "s2", "s3"}
    again = store.collection().warm(on_progress=lambda progress: None)
    assert again.reused and again.folder == facts.folder
    store.collection().cool()


def test_what_is_removed_is_gone_at_once_and_what_is_new_is_there(planted, monkeypatch):
    """Whoever removes it: the thread that keeps up is held back until the searches are over."""
    store = embedstore.open(planted[0].uri)
    collection = store.collection()
    collection.warm()
    go = threading.Event()
    advance = warm.brought_to
    monkeypatch.setattr(warm, "brought_to", lambda *args: (go.wait(300), advance(*args))[1])
    assert found(collection) == {"s0", "s1", "s2", "s3"} and answers_hot(collection)
    remove_slides(Store.open(planted[0].uri), ["s1"])
    assert found(collection) == {"s0", "s2", "s3"} and not answers_hot(collection)
    add(Collection(planted[0].uri, "toy"), {"new": noise(20, 5)})
    assert found(collection) == {"s0", "s2", "s3", "new"}
    go.set()
    until(lambda: answers_hot(collection))
    assert found(collection) == {"s0", "s2", "s3", "new"}
    assert collection.warm_facts.tiles == 80
    collection.cool()


def test_a_query_by_a_tile_that_was_removed_is_refused(planted):
    store = embedstore.open(planted[0].uri)
    collection = store.collection()
    collection.warm()
    tile = collection.tiles(slide_id="s1")["tile_id"][0]
    assert len(collection.search(tile)) == 10
    remove_slides(Store.open(planted[0].uri), ["s1"])
    with pytest.raises(embedstore.errors.TileNotFoundError):
        collection.search(tile)
    collection.cool()


def test_the_next_process_brings_what_was_left_up_to_date(planted, tmp_path: Path):
    kept = warm.WarmCollections()
    kept.warm(planted[1]).wait(lambda progress: None)
    kept.cool("toy")
    there = (folders(tmp_path)[0] / "vectors.f16").read_bytes()
    removed = there[20 * 2 * DIM : 40 * 2 * DIM]
    CollectionWriter(planted[1]).remove(["s1"])
    add(planted[1], {"new": noise(20, 5)})
    again = kept.warm(planted[1])
    again.wait(lambda progress: None)
    assert again.facts().reused and again.facts().tiles == 80 and len(folders(tmp_path)) == 1
    index = again.index_at(planted[1].dataset().version)
    assert index is not None and {index.rows.slides[code] for code in index.rows.slide[index.rows.address >= 0]} == {
        "s0", "s2", "s3", "new",
    }  # fmt: skip
    until(lambda: removed not in (folders(tmp_path)[0] / "vectors.f16").read_bytes())
    del index
    kept.cool("toy")


def test_two_at_once_have_a_folder_each_and_one_is_left(planted, tmp_path: Path):
    first, second = warm.WarmCollections(), warm.WarmCollections()
    for kept in (first, second):
        kept.warm(planted[1]).wait(lambda progress: None)
    assert len(folders(tmp_path)) == 2
    first.cool("toy")
    second.cool("toy")
    first.warm(planted[1]).wait(lambda progress: None)
    assert len(folders(tmp_path)) == 1 and first.get("toy").facts().reused
    first.cool("toy")


def test_a_folder_that_was_left_half_made_or_damaged_is_made_anew(planted, tmp_path: Path):
    kept = warm.WarmCollections()
    kept.warm(planted[1]).wait(lambda progress: None)
    kept.cool("toy")
    next(folders(tmp_path)[0].glob("codes-*")).write_bytes(b"damaged")
    kept.warm(planted[1]).wait(lambda progress: None)
    assert not kept.get("toy").facts().reused and kept.get("toy").facts().tiles == 80
    kept.cool("toy")
    (folders(tmp_path)[0] / "about.json").unlink()
    kept.warm(planted[1]).wait(lambda progress: None)
    assert not kept.get("toy").facts().reused and len(folders(tmp_path)) == 1
    kept.cool("toy")


def test_what_a_killed_process_had_not_wiped_or_saved_is_wiped_by_the_next(planted, tmp_path: Path):
    kept = warm.WarmCollections()
    kept.warm(planted[1]).wait(lambda progress: None)
    CollectionWriter(planted[1]).remove(["s1"])
    kept.cool("toy")
    vectors = folders(tmp_path)[0] / "vectors.f16"
    row_bytes, there = 2 * DIM, bytearray(vectors.read_bytes())
    there[20 * row_bytes : 40 * row_bytes] = bytes([1]) * 20 * row_bytes
    vectors.write_bytes(bytes(there) + bytes([1]) * 7 * row_bytes)
    kept.warm(planted[1]).wait(lambda progress: None)
    kept.cool("toy")
    left = vectors.read_bytes()
    assert len(left) == 80 * row_bytes and not any(left[20 * row_bytes : 40 * row_bytes])


@pytest.mark.slow
def test_so_much_was_removed_that_all_is_made_anew(planted, tmp_path: Path):
    kept = warm.WarmCollections()
    one = kept.warm(planted[1])
    one.wait(lambda progress: None)
    (before,) = folders(tmp_path)
    CollectionWriter(planted[1]).remove(["s1", "s2"])
    until(lambda: one.facts().tiles == 40)
    add(planted[1], {"new": noise(20, 5)})
    until(lambda: one.facts().tiles == 60 and before not in folders(tmp_path))
    (after,) = folders(tmp_path)
    assert (after / "vectors.f16").stat().st_size == 60 * 2 * DIM
    kept.cool("toy")


def test_old_folders_and_those_of_removed_slides_are_deleted(planted, tmp_path: Path):
    kept = warm.WarmCollections()
    kept.warm(planted[1]).wait(lambda progress: None)
    forget_copies(planted[0].uri, "toy")
    assert len(folders(tmp_path)) == 1  # in use
    kept.cool("toy")
    forget_copies(planted[0].uri, "other")
    assert len(folders(tmp_path)) == 1
    remove_slides(planted[0], ["s1"])
    assert folders(tmp_path) == []
    old = tmp_path / "cache" / "hot" / "of-another" / "folder"
    old.mkdir(parents=True)
    os.utime(old, (time.time() - KEPT_S - 9, time.time() - KEPT_S - 9))
    kept.warm(planted[1]).wait(lambda progress: None)
    assert len(folders(tmp_path)) == 1
    kept.cool("toy")


def test_without_faiss_the_next_step_is_told(planted, monkeypatch):
    original = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "faiss":
            raise ImportError
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    store = embedstore.open(planted[0].uri)
    with pytest.raises(ConfigError, match=r'pip install "embedstore\[fast-search\]"'):
        store.collection().warm(wait=False)
    assert store.collection().warm_facts is None and found(store.collection()) == {"s0", "s1", "s2", "s3"}


def test_an_old_faiss_is_refused(planted, monkeypatch):
    import faiss

    monkeypatch.delattr(faiss, "ZeroCopyIOReader")
    with pytest.raises(ConfigError, match=r"is too old for a warm collection; expected 1\.12 or newer"):
        embedstore.open(planted[0].uri).collection().warm()


def test_a_folder_that_cannot_be_written_to_is_told(planted, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written to: .*; pass folder=, or set EMBEDSTORE_CACHE"):
        embedstore.open(planted[0].uri).collection().warm(folder=tmp_path / "file")


def test_a_failure_is_told_and_searches_go_on(planted, monkeypatch, tmp_path: Path):
    def fails(*args: Any) -> Any:
        raise ConfigError("no room")

    monkeypatch.setattr(warm, "brought_to", fails)
    collection = embedstore.open(planted[0].uri).collection()
    with pytest.raises(ConfigError, match="no room"):
        collection.warm()
    assert collection.warm_facts.state == "failed" and "no room" in collection.warm_facts.error
    assert found(collection) == {"s0", "s1", "s2", "s3"}
    monkeypatch.undo()
    assert collection.warm(folder=tmp_path).state == "ready"
    collection.cool()
    assert not folders(tmp_path)  # what was half made is deleted


@pytest.mark.slow
def test_a_store_that_nobody_holds_any_more_keeps_nothing_warm(planted):
    store, of_others = embedstore.open(planted[0].uri), threading.enumerate()
    store.collection().warm()
    (thread,) = [each for each in threading.enumerate() if each.name == "warm-toy" and each not in of_others]
    del store
    gc.collect()
    thread.join(300)
    assert not thread.is_alive()


@pytest.mark.slow
def test_a_process_may_end_while_it_is_being_made(planted, tmp_path: Path):
    code = "import embedstore, sys; embedstore.open(sys.argv[1]).collection().warm(wait=False)"
    done = subprocess.run([sys.executable, "-c", code, planted[0].uri], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_cache_is_where_the_machine_says(monkeypatch, tmp_path: Path):
    monkeypatch.delenv("EMBEDSTORE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / "embedstore"
