"""Fitted heads in the store: kept, found, replaced, and gone without a trace."""

from pathlib import Path
from typing import Any

import pytest

from embedstore.errors import ConfigError, HeadExistsError, HeadNotFoundError
from embedstore.store import Store, StoredHead
from embedstore.store.compaction import compact

RECORD = {"metrics": {"f1": [0.9, 0.8, 0.95]}, "classes": ["normal", "tumour"], "version": 7}


def head(name: str = "lesion", **changes: Any) -> StoredHead:
    values: dict[str, Any] = {
        "name": name,
        "task": "t",
        "collection": "toy",
        "model": "linear",
        "level": "tile",
        "digest": "sha256:1",
        "record": RECORD,
        "parameters": b"\0weights",
        "examples": b"\1tile ids",
    }
    return StoredHead(**{**values, **changes})


def test_a_head_comes_back_as_it_was_saved(store: Store):
    store.heads.save(head())
    found = Store.open(store.uri).heads.get("lesion")
    assert found.created_at is not None
    assert found == head(created_at=found.created_at)


def test_heads_are_listed_by_name_without_their_bytes(store: Store):
    assert store.heads.names() == [] and store.heads.summaries() == []
    store.heads.save(head("b", model="mlp"))
    store.heads.save(head("a"))
    assert store.heads.names() == ["a", "b"]
    found = store.heads.summaries()
    assert [(one.name, one.model, one.record) for one in found] == [("a", "linear", RECORD), ("b", "mlp", RECORD)]
    assert {one.parameters for one in found} == {b""}


def test_a_head_of_the_same_name_is_replaced(store: Store):
    store.heads.save(head())
    store.heads.save(head(digest="sha256:2", parameters=b"new"))
    assert store.heads.names() == ["lesion"]
    assert (store.heads.get("lesion").digest, store.heads.get("lesion").parameters) == ("sha256:2", b"new")


def test_a_head_that_is_not_there_is_named_with_those_that_are(store: Store):
    with pytest.raises(HeadNotFoundError, match=r"no head 'x' in .*; it has none; `embedstore fit-head"):
        store.heads.get("x")
    store.heads.save(head("it's"))
    assert store.heads.get("it's").name == "it's"
    with pytest.raises(HeadNotFoundError, match=r"no head 'x' in .*; it has it's;"):
        store.heads.remove("x")


def test_a_name_is_free_until_a_head_has_it(store: Store):
    assert store.heads.require_free("lesion") == "lesion"
    store.heads.save(head())
    with pytest.raises(HeadExistsError, match=r"has a head 'lesion' already; pass another --name, or --replace"):
        store.heads.require_free("lesion")
    store.heads.remove("lesion")
    assert store.heads.require_free("lesion") == "lesion"
    with pytest.raises(ConfigError, match=r"head name 'a/b' cannot name a table.*--name"):
        store.heads.require_free("a/b")
    with pytest.raises(ConfigError, match="a/b"):
        store.heads.require_free("a/b", replace=True)


def test_a_removed_head_leaves_no_trace_after_compaction(store: Store):
    store.heads.save(head("secret-head", parameters=b"secret-bytes"))
    store.heads.save(head("other"))
    store.heads.remove("secret-head")
    assert store.heads.names() == ["other"]
    compact(store, keep_s=0)
    assert store.heads.get("other").parameters == b"\0weights"
    files = [path for path in Path(store.uri).rglob("*") if path.is_file()]
    traces = [path for path in files if any(text in path.read_bytes() for text in (b"secret-head", b"secret-bytes"))]
    assert [str(path.relative_to(store.uri)) for path in traces] == []
