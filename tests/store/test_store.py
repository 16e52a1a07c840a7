"""Opening, listing, removing and compacting a store; the ledger; leases."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from embedstore.errors import (
    AccessError,
    SlideListError,
    SlideNotInStoreError,
    StoreBusyError,
    StoreError,
    StoreNotFoundError,
    TileNotFoundError,
)
from embedstore.store import Collection, CollectionWriter, Label, Lease, Outcome, SlideFragments, SlideRow, Store
from embedstore.store.compaction import compact
from embedstore.store.location import require_put_if_absent, table_names
from embedstore.store.removal import remove_slides
from embedstore.store.table import Table

Deliver = Callable[..., SlideFragments]


def fact(slide_id: str, **metadata) -> SlideRow:
    return SlideRow(slide_id=slide_id, path=f"/slides/{slide_id}", kind="wsi", fingerprint="f", metadata=metadata)


def outcome(slide_id: str, state="done", **values) -> Outcome:
    return Outcome(collection="toy", slide_id=slide_id, path=f"/slides/{slide_id}", state=state, **values)


def test_opening_nothing_says_where_and_what_next(tmp_path: Path):
    with pytest.raises(StoreNotFoundError, match=r"no store at .*nowhere.*embedstore ingest"):
        Store.open(tmp_path / "nowhere")


def test_a_table_that_a_crash_kept_from_being_made_is_not_there(store: Store, collection: Collection):
    for folder in ("tiles-half.lance/_versions", "tiles-less.lance/_transactions", "predictions-h.lance/data"):
        Path(store.uri, folder).mkdir(parents=True)
    assert store.collection_names() == [collection.name] and store.prediction_names() == []


def test_a_file_is_no_store(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        Store.create(tmp_path / "file")


def test_creating_twice_is_opening(store: Store):
    store.ledger.record([fact("a")], [outcome("a")])
    assert Store.create(store.uri).ledger.slides()[0].slide_id == "a"


def test_user_columns_become_columns_of_slides(store: Store):
    store.ledger.admit_columns([{"patient": "p1", "age": 61, "stain": "HE"}, {"patient": 7, "age": 58.5}])
    store.ledger.record([fact("a", patient="p1", age=61, stain="HE"), fact("b", patient=7, age=58.5)], [])
    assert [row.metadata["age"] for row in store.ledger.slides()] == [61.0, 58.5]
    assert store.ledger.slides_of_patient("7") == ["b"]
    store.ledger.admit_columns([{"cohort": "x"}])
    store.ledger.record([fact("c", cohort="x")], [])
    assert [row.metadata["cohort"] for row in store.ledger.slides()] == [None, None, "x"]


def test_a_column_of_another_type_or_a_reserved_name_is_refused(store: Store):
    store.ledger.admit_columns([{"age": 61}])
    with pytest.raises(SlideListError, match=r"'age'.*string.*int64"):
        store.ledger.admit_columns([{"age": "old"}])
    with pytest.raises(SlideListError, match="fingerprint"):
        store.ledger.admit_columns([{"fingerprint": "x"}])


def test_whole_numbers_fit_a_column_of_integers_and_of_text(store: Store):
    store.ledger.admit_columns([{"block": 101, "case": "20E4567"}])
    store.ledger.admit_columns([{"block": 102.0, "case": 7.0}])
    store.ledger.record([fact("a", block=102.0, case=7.0)], [])
    assert store.ledger.slides()[0].metadata == {"patient": None, "block": 102, "case": "7"}
    with pytest.raises(SlideListError, match=r"'block'.*rm --column"):
        store.ledger.admit_columns([{"block": 1.5}])


UNUSABLE = ["", "back`tick", "_rowid", "_rowaddr", "_rowoffset", "_row_created_at_version"]


@pytest.mark.parametrize("name", [*UNUSABLE, "patient.id", "nul\0"])
def test_a_column_that_lance_cannot_hold_is_refused_before_anything_changes(store: Store, name: str):
    before = store.ledger.slide_schema()
    with pytest.raises(SlideListError, match=r"has column\(s\) .*; expected names with a letter"):
        store.ledger.admit_columns([{"cohort": "x"}, {name: "y"}])
    assert store.ledger.slide_schema() == before


@pytest.mark.parametrize("names", [["", "_rowid"], ["back`tick", "good"]])
def test_a_store_that_such_a_column_broke_says_so_and_is_mended(store: Store, names: list[str]):
    store.ledger.admit_columns([{"patient": "p", "cohort": "x"}])
    store.ledger.record([fact("a", patient="p", cohort="x")], [outcome("a")])
    lance.dataset(f"{store.uri}/slides.lance").add_columns(pa.schema([pa.field(name, pa.string()) for name in names]))
    broken = Store.open(store.uri)
    for use in (broken.ledger.slides, broken.ledger.create, broken.ledger.patients):
        with pytest.raises(StoreError, match=r"because of the name of its column.*`embedstore rm --column"):
            use()
    broken.ledger.drop_columns(names)
    assert Store.open(store.uri).ledger.slides()[0].metadata == {"patient": "p", "cohort": "x"}
    store.ledger.record([fact("a", patient="q"), fact("b")], [])
    assert broken.ledger.patients() == {"a": "q", "b": None}


def test_columns_that_are_the_stores_own_or_not_there_are_not_taken_out(store: Store):
    store.ledger.admit_columns([{"cohort": "x"}])
    with pytest.raises(StoreError, match="fingerprint of slides are the store's own"):
        store.ledger.drop_columns(["fingerprint"])
    with pytest.raises(StoreError, match="no column 'site'; the columns from lists are 'cohort'"):
        store.ledger.drop_columns(["site"])


def test_recording_twice_is_recording_once(store: Store):
    for _ in range(2):
        store.ledger.record([fact("a")], [outcome("a", tiles=3), outcome("b", "failed", reason="torn")])
    assert [(row.slide_id, row.state) for row in store.ledger.outcomes()] == [("a", "done"), ("b", "failed")]
    assert [row.reason for row in store.ledger.outcomes(states=("failed",))] == ["torn"]


def test_a_run_that_knows_no_patient_leaves_the_patient_there(store: Store):
    store.ledger.admit_columns([{"patient": "p", "cohort": "x", "age": 61}])
    store.ledger.record([fact("a", patient="p1", cohort="x", age=61), fact("b", patient="p2")], [])
    moved = SlideRow(
        slide_id="a", path="/elsewhere/a", kind="wsi", slide_mpp=0.5, metadata={"cohort": "y", "age": None}
    )
    store.ledger.record([moved], [])
    a, b = store.ledger.slides()
    assert (a.patient, a.metadata["cohort"], a.metadata["age"]) == ("p1", "y", 61)
    assert (a.path, a.slide_mpp, a.fingerprint) == ("/elsewhere/a", 0.5, None), "what the file is, comes from the run"
    assert (b.patient, b.fingerprint) == ("p2", "f")


def test_repair_follows_the_rows(store: Store):
    store.ledger.record([fact("b")], [outcome("b", "failed", reason="torn")])
    assert store.ledger.repair("toy", {"a": 3, "b": 4}, "run") == 2
    assert [(row.slide_id, row.state, row.tiles) for row in store.ledger.outcomes()] == [
        ("a", "done", 3),
        ("b", "done", 4),
    ]
    assert store.ledger.repair("toy", {"a": 3, "b": 4}, "run") == 0
    assert [row.slide_id for row in store.ledger.slides()] == ["a", "b"]


def test_removing_a_patient_leaves_no_trace_after_compaction(store: Store, collection: Collection, deliver: Deliver):
    CollectionWriter(collection).commit([deliver("secret-slide", 3), deliver("b", 4)])
    store.ledger.admit_columns([{"patient": "p"}])
    store.ledger.record(
        [fact("secret-slide", patient="secret-patient"), fact("b", patient="p2")],
        [outcome("secret-slide"), outcome("b")],
    )
    store.labels.record(
        [
            Label(task="t", slide_id="secret-slide", name="x.png", label="tumour", patient="secret-patient"),
            Label(task="t", slide_id="secret-slide", kind="area", geometry=b"secret-place", label="tumour"),
            Label(task="t", kind="patient", patient="secret-patient", label="tumour"),
            Label(task="t", kind="patient", patient="p2", label="tumour"),
        ]
    )
    chosen = store.ledger.resolve_slides(patients=["secret-patient"])
    assert remove_slides(store, chosen) == {"toy": 3}
    assert collection.slides() == {"b": 4}
    assert [row["patient"] for row in store.labels.table().to_pylist()] == ["p2"]
    assert [row.slide_id for row in store.ledger.outcomes()] == ["b"]
    report = compact(store, keep_s=0)
    assert (report["toy"].after.rows, report["toy"].after.versions) == (4, 1)
    files = [path for path in Path(store.uri).rglob("*") if path.is_file()]
    secrets = (b"secret-slide", b"secret-patient", b"secret-place")
    traces = [path for path in files if any(secret in path.read_bytes() for secret in secrets)]
    assert [str(p.relative_to(store.uri)) for p in traces] == []


def test_a_removal_that_the_disk_cuts_short_can_be_asked_for_again(store: Store, monkeypatch: pytest.MonkeyPatch):
    store.ledger.record([fact("a"), fact("b")], [outcome("a"), outcome("b")])
    delete, tables = Table.delete, []

    def full(table: Table, filter_sql: str) -> None:
        tables.append(table.name)
        if table.name in ("slides", "outcomes") and len(tables) > 1:
            raise OSError(28, "No space left on device")
        delete(table, filter_sql)

    monkeypatch.setattr(Table, "delete", full)
    with pytest.raises(OSError):
        store.ledger.forget(["a"])
    monkeypatch.setattr(Table, "delete", delete)
    assert store.ledger.resolve_slides(slides=["a"]) == ["a"]
    store.ledger.forget(["a"])
    assert {row.slide_id for row in store.ledger.outcomes()} == {"b"} == store.ledger.slide_ids()


def test_removing_what_is_not_there_removes_nothing(store: Store):
    store.ledger.record([fact("sub/Slide-7.svs")], [])
    with pytest.raises(SlideNotInStoreError, match=r"no slide 'slide-7'.*close names: sub/Slide-7.svs"):
        store.ledger.resolve_slides(slides=["slide-7"])
    with pytest.raises(SlideNotInStoreError, match="patient 'p9'"):
        store.ledger.resolve_slides(patients=["p9"])


def test_a_tile_is_found_by_its_id(store: Store, collection: Collection, deliver: Deliver):
    CollectionWriter(collection).commit([deliver("a", 3)])
    tile_id = collection.tiles(columns=["tile_id"]).column(0)[1].as_py()
    assert store.tile(tile_id).location.x == 512
    with pytest.raises(TileNotFoundError, match="no tile 5 in toy"):
        store.tile(5)
    for tile_id in (1 << 64, -(1 << 63)):  # of which Lance's SQL has no literal
        with pytest.raises(TileNotFoundError, match=f"no tile {tile_id} in toy: ids of tiles have 64 bits"):
            store.tile(tile_id)


def test_a_tile_is_found_by_a_pixel_that_it_holds(store: Store, collection: Collection, deliver: Deliver):
    CollectionWriter(collection).commit([deliver("a", 3), deliver("b", 3)])
    found = store.tile_at("b", (1023, 511))
    assert (found.collection, found.location.slide_id, found.location.x) == ("toy", "b", 512)
    assert store.tile_at("b", None).location.x == 0
    with pytest.raises(TileNotFoundError, match="'b' has no tile at 9999, 0 in toy"):
        store.tile_at("b", (9999, 0))


def test_a_collection_must_be_named_when_there_are_several_or_none(store: Store):
    with pytest.raises(StoreError, match="has no collection yet"):
        store.collection()


@pytest.mark.parametrize("closed", ["store", "slides.lance", "slides.lance/_versions"])
def test_a_store_that_cannot_be_written_is_told_before_the_work(store: Store, monkeypatch, closed: str):
    store.require_writable()
    access = os.access
    monkeypatch.setattr(
        "embedstore.store.location.os.access",
        lambda path, mode, **options: not str(path).endswith(closed) and access(path, mode),
    )
    with pytest.raises(
        AccessError, match=rf"the store .* cannot be written: no permission for .*{closed}; ask its owner"
    ):
        store.require_writable()


def test_a_store_that_may_not_be_read_is_not_said_to_be_missing(store: Store, tmp_path: Path, monkeypatch):
    def closed(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    assert table_names(str(tmp_path / "nowhere")) == []
    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(PermissionError):
        Store.open(store.uri)


def test_a_lease_keeps_a_second_run_out_until_released(store: Store):
    first = Lease(store.uri, "t", wait_s=0)
    with pytest.raises(StoreBusyError, match=f"process {os.getpid()}"):
        Lease(store.uri, "t", wait_s=0)
    first.release()
    Lease(store.uri, "t", wait_s=0).release()


def test_a_lease_that_cannot_be_removed_holds_nobody_of_this_process_up(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def full(self: Table, filter_sql: str) -> None:
        raise OSError(28, "No space left on device", "leases.lance")

    caplog.set_level("INFO")
    with monkeypatch.context() as patched:
        patched.setattr(Table, "delete", full)
        Lease(store.uri, "t", wait_s=0).release()
    assert "the lease on t stays for 120 s: 'leases.lance' cannot be" in caplog.text
    Lease(store.uri, "t", wait_s=0).release()


def test_a_lease_is_renewed_while_the_committer_asks_for_it(store: Store, monkeypatch: pytest.MonkeyPatch):
    """One thread renews, another checks: an open Lance dataset must not be used by both at once."""
    monkeypatch.setattr("embedstore.store.lease.RENEWAL_S", 0.0)
    with Lease(store.uri, "t", wait_s=0) as lease:
        for _ in range(60):
            lease.check()
        assert lease._renewal.is_alive()


def test_a_list_that_says_more_is_taken_up_for_known_slides(store: Store):
    store.ledger.record([fact("a"), fact("b")], [])
    store.ledger.admit_columns([{"cohort": "x"}])
    said = [("a", "/slides/a", {"patient": "p1", "cohort": "x"}), ("b", "/slides/b", {}), ("new", "/slides/new", {})]
    assert store.ledger.refresh(said) == 1
    assert store.ledger.slides_of_patient("p1") == ["a"]
    assert [row.slide_id for row in store.ledger.slides()] == ["a", "b"]
    assert store.ledger.refresh(said) == 0


def _hold_and_die(uri: str) -> None:
    Lease(uri, "t", wait_s=0)
    os._exit(1)


def _race(uri: str, gate, outcomes) -> None:
    gate.wait()
    try:
        Lease(uri, "t", wait_s=0)
    except StoreBusyError:
        outcomes.put("lost")
        return
    outcomes.put("won")
    gate.wait()  # holds it until all have tried


@pytest.mark.slow
def test_a_process_that_ends_in_the_middle_of_a_renewal_ends_well(store: Store):
    """Python unwinds threads that come back from native code at its end, and Rust aborts the process for it."""
    ends = "import sys, time; from embedstore.store import lease; lease.RENEWAL_S = 0.0; "
    ends += "held = lease.Lease(sys.argv[1], 't'); time.sleep(0.3)"
    for number in range(3):  # without care, nine of ten processes end with SIGABRT
        uri = f"{store.uri}/{number}"
        ended = subprocess.run([sys.executable, "-c", ends, uri], check=False, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_a_dead_owner_loses_the_lease_at_once(store: Store):
    spawn = multiprocessing.get_context("spawn")  # Lance is not fork-safe
    holder = spawn.Process(target=_hold_and_die, args=(store.uri,))
    holder.start()
    holder.join()
    Lease(store.uri, "t", wait_s=5).release()


@pytest.mark.slow
def test_one_of_several_racers_wins_a_lease(store: Store):
    Lease(store.uri, "warm", wait_s=0).release()
    spawn = multiprocessing.get_context("spawn")
    gate, outcomes = spawn.Barrier(4), spawn.Queue()
    racers = [spawn.Process(target=_race, args=(store.uri, gate, outcomes), daemon=True) for _ in range(4)]
    for racer in racers:
        racer.start()
    assert sorted(outcomes.get(timeout=300) for _ in racers) == ["lost", "lost", "lost", "won"]
    for racer in racers:
        racer.kill()


def test_a_store_that_keeps_every_racing_commit_passes_the_probe(tmp_path: Path):
    require_put_if_absent(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_loses_commits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from embedstore.store import location

    write, count = location.lance.write_dataset, iter(range(100))

    def forgetful(rows, uri, mode="create"):
        """Every third append is overwritten by another."""
        return None if mode == "append" and next(count) % 3 == 0 else write(rows, uri, mode=mode)

    monkeypatch.setattr(location.lance, "write_dataset", forgetful)
    with pytest.raises(StoreError, match="lost 3 of 8 commits"):
        require_put_if_absent(str(tmp_path))


def test_the_ledger_is_read_again_where_it_has_changed(store: Store) -> None:
    for columns in (["slide_id"], ["slide_id", "patient"], ["path"], ["kind"], ["vendor"]):
        assert len(store.ledger.slide_table(columns)) == 0
    store.ledger.record([SlideRow(slide_id="a", path="/a", kind="wsi", metadata={"patient": "P1"})], [])
    assert store.ledger.slide_table(["slide_id", "patient"]).to_pylist() == [{"slide_id": "a", "patient": "P1"}]
    kept = store.ledger.slide_table(["slide_id"])
    assert store.ledger.slide_table(["slide_id"]) is kept
    Store.open(store.uri).ledger.record([SlideRow(slide_id="b", path="/b", kind="wsi")], [])
    assert store.ledger.slide_table(["slide_id"])["slide_id"].to_pylist() == ["a", "b"]


@pytest.mark.slow
def test_what_lance_keeps_of_a_store_is_bounded_however_many_versions_are_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    keeps_all, bound = Store(store.uri), 100_000
    monkeypatch.setattr("embedstore.store.table.METADATA_CACHE_BYTES", bound)
    bounded = Store(store.uri)
    readers = keeps_all, bounded, bounded.again()
    for number in range(8):
        store.labels.record([Label(task="t", label="yes", slide_id=f"{number}.svs", author="ann", source="a.csv")])
        store.ledger.record([fact(f"{number}.svs")], [])
        for reader in readers:
            assert len(reader.labels.of_task("t")) == len(reader.ledger.slides()) == number + 1
    tables = [table for reader in readers for table in (reader.labels._table, reader.ledger._slides)]
    _, unbounded, kept, *same = (table.open().session() for table in tables)
    assert unbounded.size_bytes() > 1.5 * bound
    assert kept.size_bytes() < 1.2 * bound  # what is to go, and the index cache, are counted for a moment
    assert all(session.is_same_as(kept) for session in same)
