"""Who holds a lease, or runs: told apart over containers, other machines, clocks that are wrong, and older versions."""

import datetime as dt
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import lance
import pyarrow as pa
import pytest

from embedstore import process_identity
from embedstore.errors import StoreBusyError
from embedstore.process_identity import this_process
from embedstore.store import CollectionWriter, Lease, Observer, Run, Store, removal
from embedstore.store.lease_rows import is_held
from embedstore.store.liveness import EXPIRY_S
from embedstore.store.schema import LEASES
from embedstore.store.table import Table, now
from tests.collection_records import collection_record

ELSEWHERE = "another-boot/4026531836/1/77"  # the process number of every container's first process


def hold(store: Store, *, process: str | None, age_s: float = 0.0, schema: pa.Schema = LEASES) -> None:
    """Leave the lease of somebody behind, last renewed some seconds ago by their clock."""
    beat = now() - dt.timedelta(seconds=age_s)
    row = {"name": "t", "owner": "them", "host": "node", "pid": 1, "since": beat, "beat": beat, "process": process}
    lance.write_dataset(pa.Table.from_pylist([row], schema=schema), f"{store.uri}/leases.lance", mode="append")


def test_a_process_knows_itself_and_not_one_that_had_its_number():
    here = this_process()
    assert here is not None and here == this_process() and here.split("/")[-2] == str(os.getpid())
    assert process_identity.runs(here) is True
    space, pid, started = here.rsplit("/", 2)
    assert process_identity.runs(f"{space}/{pid}/{int(started) + 1}") is False
    assert process_identity.runs(f"{space}/{2**22 + 1}/{started}") is False  # beyond the largest number of a process
    assert process_identity.runs(ELSEWHERE) is None
    assert process_identity.runs(None) is None


def test_a_zombie_does_not_run():
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    while state := process_identity.runs(
        this_process().rsplit("/", 2)[0] + f"/{child.pid}/{process_identity._started(child.pid)}"
    ):
        time.sleep(0.01)
    assert state is False
    child.wait()


def test_only_a_beat_that_does_not_change_is_of_the_dead(monkeypatch: pytest.MonkeyPatch):
    """Whatever the beat says, and however long this process slept between a question and its answer."""
    clock = [1000.0]
    monkeypatch.setattr("embedstore.store.liveness.time", SimpleNamespace(monotonic=lambda: clock[0]))
    observer, beat = Observer(), now() - dt.timedelta(days=300)
    assert observer.may_be_dead("them", beat)
    asked_at = clock[0]
    clock[0] += 2 * EXPIRY_S  # the answer took so long
    assert not observer.is_dead("them", beat, asked_at=asked_at)
    clock[0] += EXPIRY_S - 1
    assert not observer.is_dead("them", beat, asked_at=clock[0])
    beat += dt.timedelta(seconds=20)
    assert not observer.is_dead("them", beat, asked_at=clock[0])
    assert not observer.may_be_dead("them", beat)  # it is old by our clock, and was seen to change
    clock[0] += EXPIRY_S + 1
    assert observer.is_dead("them", beat, asked_at=clock[0])


@pytest.mark.slow
def test_a_lease_of_another_machine_is_waited_for_until_its_owner_is_surely_dead(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    Lease(store.uri, "t").release()
    hold(store, process=ELSEWHERE)
    with monkeypatch.context() as patch, pytest.raises(StoreBusyError, match="process 1 on node since"):
        clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: pytest.fail("it was waited for"))
        patch.setattr("embedstore.store.lease.time", clock)
        Lease(store.uri, "t", wait_s=0)  # its beat is new
    Table(store.uri, "leases").delete("true")
    monkeypatch.setattr("embedstore.store.lease.EXPIRY_S", 0.2)
    monkeypatch.setattr("embedstore.store.liveness.EXPIRY_S", 0.2)
    stopped = this_process()  # it runs, and says nothing
    monkeypatch.setattr("embedstore.store.lease_rows.held_here", {"them"})
    for process, age_s in ((ELSEWHERE, 1000.0), (ELSEWHERE, -1000.0), (stopped, 1000.0)):  # also one of the future
        hold(store, process=process, age_s=age_s)
        began = time.monotonic()
        Lease(store.uri, "t", wait_s=0).release()
        assert time.monotonic() - began > 0.2


@pytest.mark.slow
def test_leases_of_an_older_version_are_understood(store: Store, monkeypatch: pytest.MonkeyPatch):
    """They do not tell which process holds them: their beats do."""
    hold(store, process=None, schema=pa.schema([field for field in LEASES if field.name != "process"]))
    assert is_held(store.uri, "t")
    with pytest.raises(StoreBusyError, match="process 1 on node since"):
        Lease(store.uri, "t", wait_s=0)
    monkeypatch.setattr("embedstore.store.liveness.EXPIRY_S", 0.2)
    Lease(store.uri, "t", wait_s=60).release()
    assert "process" in Table(store.uri, "leases").column_names()
    assert not is_held(store.uri, "t")


def test_nothing_is_removed_from_under_a_run(store: Store):
    from embedstore.store import Collection

    Collection.create(store.uri, "toy", collection_record(8))
    run = Run(run_id="r1", collections=("toy",))
    store.runs.begin(run)
    for refused in (lambda: removal.remove_slides(store, ["a"]), lambda: removal.remove_slides(store, [])):
        with pytest.raises(StoreBusyError, match=f"run r1 .process {os.getpid()}.* has been adding slides to toy"):
            refused()
    store.runs.left("r1")  # as if its process were dead
    assert removal.remove_slides(store, ["a"]) == {"toy": 0}
    store.runs.begin(Run(run_id="r2", collections=("toy",)))
    assert {run.run_id: run.state for run in store.runs.all()} == {"r1": "lost", "r2": "running"}
    store.runs.left("r2")


def test_a_removed_slide_is_in_no_row_of_a_run(store: Store):
    store.runs.begin(Run(run_id="r1", collections=("toy",)))
    store.runs.record(
        Run(run_id="r1", collections=("toy",), state="failed", in_hand=("secret", "b"), error="OSError: secret is bad")
    )
    store.runs.forget(["secret"])
    (run,) = store.runs.all()
    assert "secret" not in str(run.row())
    assert run.state == "failed"
    store.runs.left("r1")


def test_only_new_rows_are_read_after_the_commits_of_others(collection, deliver, monkeypatch):
    mine, other = CollectionWriter(collection), CollectionWriter(collection)
    monkeypatch.setattr(type(collection), "slides", lambda _: pytest.fail("the whole table is read"))
    other.commit([deliver("a"), deliver("b")])
    other.commit([deliver("c")])
    assert mine.present() == {"a", "b", "c"}
    assert mine.commits == 2
    other.remove(["b"])
    assert mine.present() == {"a", "c"}
    other.compact(keep_s=0.0)
    assert mine.present() == {"a", "c"}
    assert mine.commits == 0


CONTAINER = """
import os, sys
from embedstore.store.lease import Lease
assert os.getpid() == 1, os.getpid()
held = Lease(sys.argv[1], "t", wait_s=float(sys.argv[2]))
print("taken", flush=True)
sys.stdin.read()
held.release()
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare")
def test_of_two_containers_with_one_host_name_the_second_does_not_take_the_lease_of_the_first(store: Store):
    """Both have process 1 on one host; the first one's process number means nothing in the second."""
    container = ["unshare", "-rpf", "--mount-proc", sys.executable, "-c", CONTAINER, store.uri]
    if subprocess.run([*container[:3], "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody make namespaces")
    first = subprocess.Popen([*container, "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "taken\n"
    second = subprocess.run([*container, "1"], check=False, capture_output=True, text=True, input="")
    assert "StoreBusyError: table 't' is being written by process 1 on" in second.stderr
    first.communicate("", timeout=300)
    assert first.returncode == 0
    third = subprocess.run([*container, "1"], check=False, capture_output=True, text=True, input="")
    assert third.stdout == "taken\n", third.stderr
