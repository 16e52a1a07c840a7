"""`embedstore index` as it is typed."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import app, main
from embedstore.errors import CollectionNotFoundError, StoreBusyError
from embedstore.store import Collection, Store, index_choice, index_facts
from tests.search.planted import RECORD, noise, plant


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return plant(tmp_path, {f"s{i}": noise(300, i) for i in range(4)})[0]


def index(store: Store, *args: object) -> Result:
    result = CliRunner().invoke(app, ["index", *map(str, args), "--store", store.uri])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def facts(store: Store, *args: object) -> dict[str, Any]:
    (row,) = json.loads(index(store, *args, "--json").stdout)
    return row


def test_a_small_collection_gets_no_index_by_default(store: Store):
    assert facts(store) == {
        "collection": "toy", "choice": "auto", "kind": "flat", "rows": 1200, "indexed": 0, "partitions": 0, "bits": 0,
        "parts": 0, "size_bytes": 0,
    }  # fmt: skip


def test_an_index_is_built_on_request(store: Store):
    row = facts(store, "--kind", "ivf_rq", "--partitions", 6, "--bits", 2)
    assert row.pop("size_bytes") > 1000
    assert row == {
        "collection": "toy", "choice": "ivf_rq", "kind": "IVF_RQ", "rows": 1200, "indexed": 1200, "partitions": 6,
        "bits": 2, "parts": 1,
    }  # fmt: skip


def test_the_choice_is_kept(store: Store):
    index(store, "--kind", "ivf_rq", "--partitions", 6)
    assert facts(store)["partitions"] == 6
    assert facts(store, "--rebuild")["partitions"] == 6
    assert facts(store, "--bits", 3)["partitions"] == 6
    kept = index_choice(Store.open(store.uri).collection())
    assert (kept.kind, kept.partitions, kept.bits) == ("ivf_rq", 6, 3)


def test_flat_takes_it_away_and_is_kept(store: Store):
    index(store, "--kind", "ivf_rq")
    assert facts(store, "--kind", "flat")["kind"] == "flat"
    assert facts(store)["kind"] == "flat"
    assert facts(store, "--rebuild")["kind"] == "flat"
    assert index_facts(store.collection()).indexed == 0
    assert facts(store, "--kind", "auto")["choice"] == "auto"


def test_a_flat_collection_has_no_partitions_to_choose(store: Store):
    index(store, "--kind", "flat")
    for args in (("--partitions", 6), ("--kind", "flat", "--bits", 2)):
        refused = index(store, *args)
        assert refused.exit_code == 2
        assert "is to have no index" in refused.stderr and "add --kind ivf_rq or auto" in refused.stderr
    assert index_choice(store.collection()).partitions is None


def test_all_collections_are_indexed_unless_one_is_named(store: Store):
    Collection.create(store.uri, "empty", RECORD)
    table = [line.split() for line in index(store, "--kind", "ivf_rq").stdout.splitlines()]
    assert table[0] == ["collection", "choice", "index", "tiles", "indexed", "partitions", "bits", "parts", "size"]
    assert [row[:5] for row in table[1:]] == [
        ["empty", "ivf_rq", "flat", "0", "0"], ["toy", "ivf_rq", "IVF_RQ", "1200", "1200"]
    ]  # fmt: skip
    assert facts(store, "-c", "empty", "--kind", "flat")["choice"] == "flat"
    assert index_choice(store.collection("toy")).kind == "ivf_rq"


def test_a_busy_store_is_an_error_that_names_the_writer(store: Store, monkeypatch, capsys):
    monkeypatch.setattr("embedstore.store.lease.TURN_S", 0.0)
    with store.lease("toy"):
        with pytest.raises(StoreBusyError):
            index(store, "--kind", "ivf_rq")
        monkeypatch.setattr("sys.argv", ["embedstore", "index", "--store", store.uri])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and f"'tiles-toy' is being written by process {os.getpid()}" in said
    assert "wait for it to end" in said
    assert index_choice(store.collection()).kind == "auto"
    assert facts(store)["kind"] == "flat"  # the lease is free again


def test_refusals(store: Store):
    for args, said in (
        (("--kind", "hnsw"), "'hnsw' is not one of 'auto', 'ivf_rq', 'flat'"),
        (("--bits", 10), "10 is not in the range 1<=x<=9"),
        (("--partitions", 0), "0 is not in the range 1<=x<=65536"),
    ):
        refused = index(store, *args)
        assert refused.exit_code == 2 and said in refused.stderr
    with pytest.raises(CollectionNotFoundError, match="no collection 'nope'"):
        index(store, "-c", "nope")
