"""`embedstore audit`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.audit import command
from cli.main import main
from embedstore.errors import HeadNotFoundError
from tests.heads.test_head_split import head
from tests.search.planted import noise, plant


def audit(*args: object) -> Result:
    result = CliRunner().invoke(command, [str(each) for each in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def slides(*, leak: bool) -> dict:
    found = {f"s{i}": noise(40, i) for i in range(5)}
    if leak:
        found["s4"][:25] = found["s0"][:25]
        found["s2"][3] *= -1
    return found


PATIENTS = {f"s{i}": f"P{i}" for i in range(5)}


def test_nothing_found_is_exit_code_0(tmp_path: Path):
    store, _ = plant(tmp_path, slides(leak=False), patients=PATIENTS)
    done = audit("-s", store.uri)
    assert done.exit_code == 0 and done.stderr == ""
    assert done.stdout.splitlines() == [
        line for line in done.stdout.splitlines() if line.startswith(("leaks: 0", "duplicates: 0", "outliers: 0"))
    ]


@pytest.mark.slow
def test_all_three_are_printed_and_something_found_is_exit_code_3(tmp_path: Path):
    store, collection = plant(tmp_path, slides(leak=True), patients=PATIENTS)
    done = audit("-s", store.uri, "--sample", 0)
    assert done.exit_code == 3
    for text in (
        "leaks: 50 of 200 tiles looked at (200 in all) have a near-duplicate across patients",
        "patient P0  patient P4     50",
        "… and 40 more; --json prints all",
        "duplicates: 1 pair(s) of slides are the same",
        "outliers: 1 of 200 tiles looked at",
        "s2 1536, 0",
    ):
        assert text in done.stdout
    report = json.loads(audit("-s", store.uri, "--sample", 0, "--json").stdout)
    assert report["collection"] == "toy" and len(report["leaks"]["pairs"]) == 50
    assert [pair["same_file"] for pair in report["duplicates"]["pairs"]] == [False]
    gone = collection.tiles(where="slide_id = 's2' AND x = 1536 AND y = 0", columns=["tile_id"])["tile_id"][0].as_py()
    assert [tile["tile_id"] for tile in report["outliers"]["tiles"]] == [gone]


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["leaks", "outliers", "duplicates"])
def test_only_the_named_audit_runs(tmp_path: Path, flag: str):
    store, _ = plant(tmp_path, slides(leak=True), patients=PATIENTS)
    done = audit("-s", store.uri, f"--{flag}", "--json")
    assert done.exit_code == 3
    assert set(json.loads(done.stdout)) == {"store", "collection", flag}


def test_missing_patients_are_noted_on_stderr(tmp_path: Path):
    store, _ = plant(tmp_path, slides(leak=False))
    assert "note: NO PATIENT IS KNOWN for 5 of 5 slide(s)" in audit("-s", store.uri, "--leaks").stderr


def test_leaks_across_the_split_of_a_head(tmp_path: Path):
    store, collection = plant(tmp_path, slides(leak=True), patients=PATIENTS)
    tiles = collection.tiles(columns=["tile_id", "slide_id"])
    part = {"s0": 0, "s1": 0, "s2": 0, "s3": 1, "s4": 2}
    parts = [part[slide] for slide in tiles["slide_id"].to_pylist()]
    store.heads.save(head("tile", tiles["tile_id"].to_numpy(), parts))
    done = audit("-s", store.uri, "--head", "h", "--json")
    assert done.exit_code == 3 and set(json.loads(done.stdout)) == {"store", "collection", "leaks"}
    assert json.loads(done.stdout)["leaks"]["between"] == [{"side": "test", "other_side": "train", "tiles": 50}]


def test_the_exit_code_reaches_the_shell(tmp_path: Path, monkeypatch):
    store, _ = plant(tmp_path, slides(leak=True), patients=PATIENTS)
    monkeypatch.setattr("sys.argv", ["embedstore", "audit", "--store", store.uri, "--duplicates"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3


def test_refusals(tmp_path: Path):
    store, _ = plant(tmp_path, slides(leak=False))
    assert audit("-s", store.uri, "--head", "h", "--outliers").exit_code == 2
    assert audit("-s", store.uri, "--distance", 3).exit_code == 2
    with pytest.raises(HeadNotFoundError):
        audit("-s", store.uri, "--head", "h")
