"""Vectors of other tools come into a store whole, once, and with a reason where they do not."""

from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import embedstore
from embedstore.api.importing import import_request, run_import
from embedstore.errors import LayoutError, SlideNotFoundError
from embedstore.progress import Progress
from synthetic_slides.pyramid import write_pyramid
from tests.layouts.files import places, vectors, write_clam, write_stamp, write_trident


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    write_trident(folder, "a")
    write_trident(folder, "b", edge_l0=1024, seed=1)
    return folder


def test_trident_arrives_as_it_was_written(job: Path, tmp_path: Path):
    store = embedstore.create(tmp_path / "store")
    result = store.import_features(job)
    assert (result.summary.done, len(result)) == (2, 0)
    (collection,) = store.collections
    assert (collection.name, collection.tiling.mpp, collection.tiling.tile_px) == ("uni_v1-256px-0.5mpp", 0.5, 256)
    tiles = collection.tiles(slide_id="b").to_pylist()
    assert [(tile["x"], tile["y"], tile["edge_l0"]) for tile in tiles] == [
        (x, y, 1024) for x, y in places(6, 1024).tolist()
    ]
    np.testing.assert_array_equal(collection.vectors(where="slide_id = 'a'"), vectors(6).astype(np.float16))
    slide = store.slide("b")
    assert (slide["width_l0"], slide["path"], slide["tissue_mm2"]) == (4096, "", None)


def test_progress_of_an_import_is_told_as_such(job: Path, tmp_path: Path):
    told: list[Progress] = []
    embedstore.create(tmp_path / "store").import_features(job, on_progress=told.append)
    assert {progress.stage for progress in told} == {"import"}
    assert not any("runs in" in progress.message for progress in told)  # nothing else is to be chosen


@pytest.mark.slow
def test_an_import_goes_on_where_it_ended(job: Path, tmp_path: Path):
    store = embedstore.create(tmp_path / "store")
    assert store.import_features(job, limit=1).summary.done == 1
    summary = store.import_features(job).summary
    assert (summary.done, summary.already) == (1, 1)
    assert store.collections[0].slides == {"a": 6, "b": 6}
    digest = store.collections[0].record.extractor.ref.digest
    assert digest.startswith("unknown:")
    assert [run["state"] for run in store.runs.to_pylist()] == ["done", "done"]


@pytest.mark.slow
def test_imports_that_begin_together_agree_on_the_digest(job: Path, tmp_path: Path):
    store = embedstore.create(tmp_path / "store")
    first, second = (import_request(job, store.uri) for _ in range(2))
    assert first.extractor != second.extractor
    assert run_import(first).summary.done == 2
    assert run_import(second).summary.already == 2
    write_trident(job, "c", seed=2)
    third = import_request(job, store.uri)
    assert (third.extractor, run_import(third).summary.done) == (first.extractor, 1)


@pytest.mark.slow
def test_tiles_of_several_sizes_on_one_slide_keep_theirs(tmp_path: Path):
    edges = np.array([256, 512])
    columns = {"x": [0, 512], "y": [0, 0], "edge_l0": edges, "features": list(vectors(2))}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    store = embedstore.create(tmp_path / "store")
    store.import_features(tmp_path / "a.parquet", extractor="net", tile_px=256, mpp=0.5)
    assert [tile["edge_l0"] for tile in store.collection().tiles()] == edges.tolist()


@pytest.mark.slow
def test_a_damaged_file_is_a_row(job: Path, tmp_path: Path):
    file = write_trident(job, "c")
    file.write_bytes(file.read_bytes()[:1500])
    write_trident(job, "d", features=vectors(5))
    write_trident(job, "e", features=vectors(0), coords=places(0))
    write_trident(job, "f", features=vectors(6) * 1e6)
    write_trident(job, "g", level0_width=512)
    tiling = write_trident(job, "h").parent.parent
    (tiling / "patches").mkdir()
    (tiling / "features_uni_v1" / "h.h5").rename(tiling / "patches" / "h_patches.h5")
    store = embedstore.create(tmp_path / "store")
    rows = {row["slide_id"]: row for row in store.import_features(job).to_pylist()}
    assert {slide: row["state"] for slide, row in rows.items()} == {
        "c": "failed", "d": "failed", "e": "empty", "f": "failed", "g": "failed", "h": "failed",
    }  # fmt: skip
    for slide, said in {
        "c": "cut short or damaged", "d": "5 vectors and 6 places", "f": "float16 cannot hold",
        "g": "outside of the", "h": "but no features",
    }.items():  # fmt: skip
        assert said in rows[slide]["reason"]
    assert store.collections[0].slides == {"a": 6, "b": 6}


def test_what_is_no_layout_says_what_is_there(tmp_path: Path):
    store = embedstore.create(tmp_path / "store")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(LayoutError, match=r"notes\.txt.*expected TRIDENT"):
        store.import_features(tmp_path)


def test_a_slide_keeps_what_an_earlier_run_knew_of_its_file(tmp_path: Path):
    from embedstore.store import SlideRow

    write_trident(tmp_path / "job", "a", level0_width="None")
    store = embedstore.create(tmp_path / "store")
    known = SlideRow(
        slide_id="deep/a.svs", path="/s/deep/a.svs", kind="wsi", width_l0=9000, height_l0=9000, slide_mpp=0.2
    )
    store._tables.ledger.record([known], [])
    store.import_features(tmp_path / "job")
    slide = store.slide("deep/a.svs")
    assert (slide["path"], slide["width_l0"], slide["slide_mpp"]) == ("/s/deep/a.svs", 9000, 0.2)
    assert store.collections[0].slides == {"deep/a.svs": 6}


def test_folders_that_cannot_be_read_and_names_that_are_none(tmp_path: Path):
    store = embedstore.create(tmp_path / "store")
    with pytest.raises(LayoutError, match=r"is an address.*copy or mount"):
        store.import_features("s3://bucket/job")
    with pytest.raises(LayoutError, match="there is no folder"):
        store.import_features(tmp_path / "nowhere")
    table = pa.table({"slide_id": ["a", " "], "x": [0, 0], "y": [0, 0], "features": list(vectors(2))})
    pyarrow.parquet.write_table(table, tmp_path / "all.parquet")
    with pytest.raises(LayoutError, match="slide without a name"):
        store.import_features(tmp_path / "all.parquet", extractor="net", tile_px=256, mpp=0.5, edge_l0=256)
    (tmp_path / "odd").mkdir()
    np.save(tmp_path / "odd" / "caf\udce9.npy", vectors(2))
    with pytest.raises(LayoutError, match="not in UTF-8; rename"):
        store.import_features(tmp_path / "odd", extractor="net", tile_px=256, mpp=0.5)


def test_places_may_lie_in_another_folder(tmp_path: Path):
    write_clam(tmp_path / "features", "a", kinds="h5", patch_level=0)
    write_clam(tmp_path / "step1", "a", kinds="patches", patch_level=0)
    store = embedstore.create(tmp_path / "store")
    with pytest.raises(LayoutError, match=r"which extractor.*--extractor NAME.*nor the edge of a tile.*nor the resol"):
        store.import_features(tmp_path / "features")
    store.import_features(tmp_path / "features", extractor="uni", mpp=0.5, coordinates=tmp_path / "step1" / "patches")
    collection = store.collection("uni-256px-0.5mpp")
    assert [(tile["x"], tile["edge_l0"]) for tile in collection.tiles(limit=2)] == [(0, 256), (256, 256)]
    with pytest.raises(LayoutError, match=r"no file of a slide's places; expected a\.h5"):
        store.import_features(tmp_path / "features", extractor="uni", mpp=0.5, coordinates=tmp_path)


@pytest.mark.slow
def test_a_slide_keeps_its_id_when_its_file_comes_later(tmp_path: Path):
    write_trident(tmp_path / "job", "a", tiles=1, edge_l0=256)
    store = embedstore.create(tmp_path / "store")
    store.import_features(tmp_path / "job")
    (tile,) = store.collection().tiles().to_pylist()
    with pytest.raises(SlideNotFoundError, match="imported without its file"):
        store.collection().pictures([tile])
    rows = [np.full((256, 1024, 3), 200, np.uint8)] * 4
    write_pyramid(tmp_path / "a.tiff", rows, size_px=(1024, 1024), mpp=0.5)
    assert store.import_features(tmp_path / "job", slides=tmp_path / "a.tiff").summary.already == 1
    assert store.collection().pictures([tile])[0].size == (256, 256)


@pytest.mark.slow
def test_a_resolution_from_the_slides_is_that_of_the_collection(tmp_path: Path):
    rows = [np.full((256, 1024, 3), 200, np.uint8)] * 4
    for name, mpp in (("b", 0.499), ("a", 0.253)):
        write_pyramid(tmp_path / f"{name}.tiff", rows, size_px=(1024, 1024), mpp=mpp)
    store, options = embedstore.create(tmp_path / "store"), {"extractor": "uni", "collection": "clam"}
    write_clam(tmp_path / "f", "b", tiles=4, kinds="h5 patches", patch_level=0, size=1024)
    store.import_features(tmp_path / "f", slides=[tmp_path / "b.tiff"], **options)
    assert store.collection().tiling.mpp == 0.5
    write_clam(tmp_path / "f", "a", tiles=4, kinds="h5 patches", patch_level=0, size=1024)
    added = store.import_features(tmp_path / "f", slides=[tmp_path / "a.tiff", tmp_path / "b.tiff"], **options)
    assert (
        added.summary.done == 1 and "its tiles have 0.253 µm/px, the collection 0.5" in added.summary.warned[0].reason
    )


def test_two_files_of_one_slide_are_an_error(tmp_path: Path):
    for ward in ("x", "y"):
        write_stamp(tmp_path / "stamp", f"{ward}/a", "2.4.0")
    write_pyramid(tmp_path / "a.tiff", [np.zeros((256, 256, 3), np.uint8)], size_px=(256, 256), mpp=0.5)
    store = embedstore.create(tmp_path / "store")
    with pytest.raises(LayoutError, match=r"'y/a' and 'x/a' are both features of slide 'a\.tiff'; give a list"):
        store.import_features(tmp_path / "stamp", slides=tmp_path / "a.tiff")


def test_micrometres_of_stamp_go_out_as_they_came(tmp_path: Path):
    write_stamp(tmp_path / "in", "a", "2.4.0")
    store = embedstore.create(tmp_path / "store")
    store.import_features(tmp_path / "in", slide_mpp=0.5)
    store.export_layout(tmp_path / "out", "stamp")
    (came,), (went,) = ((tmp_path / folder).rglob("*.h5") for folder in ("in", "out"))
    with h5py.File(came) as before, h5py.File(went) as after:
        assert after.attrs["tile_size_um"] == before.attrs["tile_size_um"] == 256.0
        np.testing.assert_array_equal(after["coords"], before["coords"])
