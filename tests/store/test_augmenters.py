"""Latent augmenters in the store: kept, found, replaced, and gone without a trace."""

from pathlib import Path
from typing import Any

import pytest

from embedstore.errors import AugmenterExistsError, AugmenterNotFoundError, ConfigError
from embedstore.store import Store, StoredAugmenter
from embedstore.store.compaction import compact

RECORD = {"extractor": {"digest": "sha256:1"}, "report": {"all": 0.9}}


def augmenter(name: str = "mine", **changes: Any) -> StoredAugmenter:
    values = {"name": name, "collection": "toy", "digest": "d1", "record": RECORD, "parameters": b"\0weights"}
    return StoredAugmenter(**{**values, **changes})


def test_an_augmenter_comes_back_as_it_was_saved(store: Store):
    store.augmenters.save(augmenter())
    found = Store.open(store.uri).augmenters.get("mine")
    assert found.created_at is not None
    assert found == augmenter(created_at=found.created_at)


def test_augmenters_are_listed_by_name_without_their_parameters(store: Store):
    assert store.augmenters.names() == [] and store.augmenters.summaries() == []
    store.augmenters.save(augmenter("b", collection="other"))
    store.augmenters.save(augmenter("a"))
    assert store.augmenters.names() == ["a", "b"]
    found = store.augmenters.summaries()
    assert [(one.name, one.collection, one.record, one.parameters) for one in found] == [
        ("a", "toy", RECORD, b""),
        ("b", "other", RECORD, b""),
    ]


def test_heads_and_augmenters_do_not_meet(store: Store):
    store.augmenters.save(augmenter())
    assert store.heads.names() == []
    assert store.collection_names() == []


def test_one_that_is_not_there_is_named_with_those_that_are(store: Store):
    with pytest.raises(
        AugmenterNotFoundError, match=r"no augmenter 'x' in .*; it has none; `embedstore fit-augmenter`"
    ):
        store.augmenters.get("x")
    store.augmenters.save(augmenter())
    with pytest.raises(AugmenterNotFoundError, match=r"no augmenter 'x' in .*; it has mine;"):
        store.augmenters.remove("x")


def test_a_name_is_free_until_an_augmenter_has_it(store: Store):
    assert store.augmenters.require_free("mine") == "mine"
    store.augmenters.save(augmenter())
    with pytest.raises(AugmenterExistsError, match=r"has an augmenter 'mine' already; pass another --name, or --repl"):
        store.augmenters.require_free("mine")
    store.augmenters.save(augmenter(digest="d2"))
    assert store.augmenters.get("mine").digest == "d2"
    with pytest.raises(ConfigError, match=r"augmenter name 'a/b' cannot name a table.*--name"):
        store.augmenters.require_free("a/b")


def test_a_removed_augmenter_leaves_no_trace_after_compaction(store: Store):
    store.augmenters.save(augmenter("secret-name", parameters=b"secret-bytes"))
    store.augmenters.save(augmenter("other"))
    store.augmenters.remove("secret-name")
    assert store.augmenters.names() == ["other"]
    compact(store, keep_s=0)
    assert store.augmenters.get("other").parameters == b"\0weights"
    files = [path for path in Path(store.uri).rglob("*") if path.is_file()]
    traces = [path for path in files if any(text in path.read_bytes() for text in (b"secret-name", b"secret-bytes"))]
    assert [str(path.relative_to(store.uri)) for path in traces] == []
