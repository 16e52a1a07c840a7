"""The format of a store: older ones are read and migrated, newer ones are refused by everything that opens a store."""

import logging
from pathlib import Path

import lance
import pyarrow as pa
import pytest

import embedstore
from embedstore.errors import StoreBusyError, StoreFormatError
from embedstore.store import Lease, Store, schema
from embedstore.store.migrations import MIGRATIONS, bring_up_to_date
from embedstore.store.store_format import FORMAT, FORMAT_KEY, backup_tag, stated_format
from embedstore.store.table import Table
from tests.store.golden import make
from tests.store.golden.unpacked import VERSIONS, become_newer, files_of, unpack

TAG = backup_tag(FORMAT)


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return unpack("0.1.0-format-1", tmp_path)


def _format(store: Path | str) -> int:
    return stated_format(lance.dataset(f"{store}/slides.lance").schema.metadata, str(store))


def test_each_format_has_a_migration():
    assert [step.of for step in MIGRATIONS] == list(range(1, FORMAT))


def test_a_new_store_states_its_format(store: Store):
    assert _format(store.uri) == FORMAT
    store.ledger.admit_columns([{"patient": "p", "stage": 1}])
    store.ledger.tidy(keep_s=0)
    assert _format(store.uri) == FORMAT


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_store_is_read_without_a_write(version: str, tmp_path: Path):
    path = unpack(version, tmp_path)
    before = files_of(path)
    store = embedstore.open(path)
    collection = store.collection()
    tile = collection.tiles(limit=1).to_pylist()[0]
    assert len(store.slides) == len(make.SLIDES) == len(collection.slides)
    assert len(collection.search(tile["tile_id"], k=3)) == 3
    assert {row["author"] for row in store.labels.history()} == {"ann"}
    assert store.labels.tasks == ["areas", make.TASK, make.SLIDE_TASK]
    assert [len(head.predictions) for head in store.heads] == [len(collection), len(make.SLIDES)]
    assert len(collection.map()) == len(collection)
    assert [token.name for token in store._tables.tokens.all()] == ["ann", "ben"]
    assert [job.id for job in store._tables.jobs.all()] == ["b2", "a1"]
    assert len(store._tables.access_log.table()) == 2
    assert files_of(path) == before


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_store_goes_on(version: str, tmp_path: Path):
    store = embedstore.open(unpack(version, tmp_path))
    collection = store.collection()
    slide = make.write_slide(tmp_path / "seven.tif", seed=7)
    result = store.ingest(
        slide, extractors="colour-12", collections=[make.COLLECTION], tiling={"tile_px": make.TILE_PX, "mpp": 0.5},
        views=1, tissue={"method": "all"}, execution={"in_process": True},
    )  # fmt: skip
    assert result.summary.done == 1
    tile = store.tile_at("seven.tif", (70, 70))
    assert "one.tif" in set(collection.search(tile["tile_id"], k=20)["slide_id"])
    store.labels.add(make.TASK, [{"tile_id": tile["tile_id"], "label": "left"}], author="ann")
    head = store.fit_head(make.TASK, name="new", split={"folds": 3}, c=(1.0,))
    for each in (head, store.head("side")):
        each.predict()
        assert len(each.predictions) == len(collection)
    store.head("side").export(tmp_path / "side.parquet")
    assert (tmp_path / "side.parquet").stat().st_size
    assert store.remove(slides=["one.tif"])[make.COLLECTION] == 12
    store.compact(keep_hours=0)
    assert "one.tif" not in collection.slides and _format(store.uri) == FORMAT


def test_the_first_change_migrates_and_keeps_what_was(golden: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        store = embedstore.open(golden)
        store.labels.remove(task="areas")
        store.labels.remove(task=make.SLIDE_TASK)
    assert _format(golden) == FORMAT
    assert [TAG in record.getMessage() for record in caplog.records].count(True) == 1, "said once"
    slides = lance.dataset(str(golden / "slides.lance"), version=TAG)
    assert FORMAT_KEY not in (slides.schema.metadata or {})
    slides.restore()
    assert _format(golden) == 1
    leases = lance.dataset(str(golden / "leases.lance"))
    assert {"process"} == set(leases.schema.names) - set(leases.checkout_version(TAG).schema.names)


def test_compaction_keeps_what_was_until_all_old_versions_go(golden: Path):
    store = Store.open(golden)
    bring_up_to_date(store.uri)
    store.ledger.tidy(keep_s=60)
    assert TAG in lance.dataset(str(golden / "slides.lance")).tags.list()
    store.ledger.tidy(keep_s=0)
    slides = lance.dataset(str(golden / "slides.lance"))
    assert not slides.tags.list() and len(slides.versions()) == 1


def test_a_new_column_is_read_as_nothing_and_added_by_the_first_change(golden: Path, monkeypatch: pytest.MonkeyPatch):
    new = pa.schema([*schema.JOBS, pa.field("priority", pa.int64())])
    monkeypatch.setitem(schema.TABLES, "jobs", new)
    jobs = Table(str(golden), "jobs")
    assert jobs.rows(columns=["id", "priority"], where="id = 'a1'") == [{"id": "a1", "priority": None}]
    assert {row["priority"] for row in jobs.rows()} == {None}
    bring_up_to_date(str(golden))
    assert lance.dataset(jobs.uri).schema.names == new.names
    assert "priority" not in lance.dataset(jobs.uri, version=TAG).schema.names


def test_an_interrupted_migration_is_finished(golden: Path, monkeypatch: pytest.MonkeyPatch):
    version = lance.dataset(str(golden / "slides.lance")).version

    def die(table: Table, metadata: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Table, "state", die)
        bring_up_to_date(str(golden))
    assert _format(golden) == 1
    bring_up_to_date(str(golden))
    assert _format(golden) == FORMAT
    assert lance.dataset(str(golden / "slides.lance")).tags.list()[TAG]["version"] == version


def test_a_store_that_an_older_version_writes_to_is_left_alone(golden: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as older:
        older.setattr("embedstore.store.table.before_change", [])
        lease = Lease(str(golden), "tiles-golden", wait_s=0)
    with lease:
        with pytest.raises(StoreBusyError, match="is writing to tiles-golden; wait for it to end"):
            bring_up_to_date(str(golden))
        assert _format(golden) == 1


def test_a_newer_store_is_refused_also_by_whoever_has_it_open(golden: Path):
    store = embedstore.open(golden)
    assert len(store.slides) == len(make.SLIDES)
    become_newer(golden)
    before = files_of(golden)
    said = r"has format 3, of embedstore 9\.8\.7; this is .* reads formats 1 to 2; install embedstore 9\.8\.7 or a"
    for use in (
        lambda: embedstore.open(golden),
        lambda: embedstore.create(golden),
        lambda: store.slides,
        lambda: store.labels.remove(task="areas"),
        lambda: Lease(str(golden), "tiles-golden", wait_s=0),
    ):
        with pytest.raises(StoreFormatError, match=said):
            use()
    assert files_of(golden) == before


@pytest.mark.parametrize("said", ["", "{}", "[1]", '{"format": "2", "written_by": ""}', '{"format": true}'])
def test_a_store_that_states_no_format_is_refused(said: str):
    with pytest.raises(StoreFormatError, match="does not state its format"):
        stated_format({FORMAT_KEY: said.encode()}, "store")
