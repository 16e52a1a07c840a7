"""What a node says of itself, and what follows from it."""

from pathlib import Path

import pytest

from actors import nodes
from actors.nodes import ClusterNode, NodeReport, RunInputs
from embedstore.errors import ClusterError, ConfigError
from embedstore.store import Store
from embedstore.version import __version__
from tests.object_store import Faults, ObjectStore

NODE = ClusterNode(node_id="abcdef0123456789", host="10.0.0.9", cpus=4, gpus=0)


def report(**found: object) -> NodeReport:
    return NodeReport(node=NODE, **found)  # type: ignore[arg-type]


def test_a_folder_is_proven_to_be_shared_by_a_new_file_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nodes, "MARKER_S", 0.0)
    store = Store.create(tmp_path / "store")
    with nodes.marker(store.uri) as mark:
        assert mark is not None
        assert nodes.inspect_here(store.uri, mark, (), open_store=True)["store_fault"] is None
    fault = nodes.inspect_here(store.uri, mark, (), open_store=True)["store_fault"]
    assert fault == f"does not see the folder {store.uri} of this machine"
    told = report(store_fault=fault).error
    assert isinstance(told, ConfigError)
    assert str(told).startswith(f"node 10.0.0.9 (abcdef01) of the cluster does not see the folder {store.uri}")
    assert "expected a store that every node reaches" in str(told)
    assert not list(Path(store.uri).glob(".shared-*"))


def test_a_store_behind_a_uri_is_opened_there(monkeypatch: pytest.MonkeyPatch):
    def refuse(uri: str) -> None:
        raise PermissionError(13, "Permission denied", uri)

    with nodes.marker("s3://bucket/store") as mark:
        assert mark is None
    monkeypatch.setattr("embedstore.store.Store.open", refuse)
    fault = nodes.inspect_here("s3://bucket/store", None, (), open_store=False)["store_fault"]
    assert fault.startswith("cannot open the store: 's3://bucket/store' cannot be read or written")


def test_files_that_a_node_cannot_read_are_named(tmp_path: Path):
    (tmp_path / "a.svs").touch()
    paths = (str(tmp_path / "a.svs"), str(tmp_path / "b.svs"))
    assert nodes.inspect_here(None, None, paths, open_store=False)["unseen"] == paths[1:]
    told = report(files=2, unseen=paths[1:]).error
    assert isinstance(told, ConfigError) and f"cannot read 1 of 2 files that were tried: {paths[1]}; " in str(told)


def test_a_bucket_that_a_node_may_not_read_is_named(bucket: str, object_store: ObjectStore):
    address = f"{bucket}/slides/a.svs"
    assert nodes.inspect_here(None, None, (address,), open_store=False)["unseen"] == ()  # gone, which is told later
    object_store.fail(Faults(refuse=True))
    assert nodes.inspect_here(None, None, (address,), open_store=False)["unseen"] == (address,)


def test_a_few_files_stand_for_all():
    assert RunInputs(files=("a", "b")).sample() == ("a", "b")
    many = RunInputs(files=tuple(map(str, range(20_000)))).sample()
    assert len(many) == nodes.SAMPLE and many[-1] == "19000"


def test_another_version_is_told_before_anything_of_it_is_loaded(monkeypatch: pytest.MonkeyPatch):
    inspect = nodes._inspection()
    assert inspect("9.9", None, None, (), False)["fault"] == f"has embedstore {__version__}"
    assert inspect(__version__, None, None, (), False)["unseen"] == ()
    monkeypatch.setitem(__import__("sys").modules, "embedstore.version", None)
    found = inspect(__version__, None, None, (), False)
    assert found["fault"].startswith("has no embedstore (Python 3.")
    told = report(**found).error
    assert isinstance(told, ClusterError) and "start all from one container image" in str(told)


def test_a_node_that_says_nothing_is_not_blamed_for_its_version():
    told = report(fault="did not answer within 60 s").error
    assert isinstance(told, ClusterError)
    assert "did not answer within 60 s; look at its memory" in str(told) and "version" not in str(told)
