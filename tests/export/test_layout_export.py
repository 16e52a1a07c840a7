"""Slides are written whole, what stands is left, and files of others are never touched."""

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import h5py
import numpy as np
import pytest

from embedstore.errors import ConfigError, ExportError
from embedstore.export.layout_export import LayoutExportRequest, LayoutExportResult, export_layout
from embedstore.export_format import LayoutName
from embedstore.layouts.writing.slide_names import slide_names
from embedstore.progress import Progress
from embedstore.store import CollectionWriter, FragmentWriter, Store
from embedstore.store.removal import remove_slides
from tests.export.prediction_scene import DIM, EDGE, add_folder, grid, make_store

LAYOUTS = get_args(LayoutName)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path, {"a.svs": grid(2, 1), "b.svs": grid(3, 1)})


def export(store: Store, folder: Path, layout: LayoutName, **settings: object) -> LayoutExportResult:
    return export_layout(store, LayoutExportRequest(layout=layout, folder=folder, **settings))


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def replace(store: Store, slide_id: str, vectors: np.ndarray, edge_l0: int | np.ndarray = EDGE) -> None:
    """Write a slide's tiles anew, as an ingest with --force does."""
    collection = store.collection("toy")
    writer = FragmentWriter(
        table_uri=collection.table.uri, schema=collection.schema, collection="toy", slide_id=slide_id,
        xy_l0=np.array(grid(len(vectors), 1), np.int32), edge_l0=edge_l0,
        tissue=np.ones(len(vectors), np.float32),
    )  # fmt: skip
    writer.put(np.arange(len(vectors)), vectors)
    CollectionWriter(collection).commit([writer.finish()], replacing={slide_id})


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_stands_is_left_and_what_is_missing_is_made(store: Store, tmp_path: Path, layout: LayoutName):
    out = tmp_path / "out"
    first = export(store, out, layout)
    before = files(out)
    reports: list[Progress] = []
    again = export_layout(store, LayoutExportRequest(layout=layout, folder=out), on_progress=reports.append)
    assert [slide.stood for slide in first.slides] == [False, False]
    assert [slide.stood for slide in again.slides] == [True, True] and files(out) == before
    assert [(each.done, each.total) for each in reports] == [(1, 2), (2, 2)]
    assert not list(out.rglob("*.part*"))
    shutil.rmtree(out / "b.zarr", ignore_errors=True)
    for path in list(out.rglob("b*.*")):
        path.unlink()
    assert [slide.stood for slide in export(store, out, layout).slides] == [True, False]
    assert files(out).keys() == before.keys()


def test_a_slide_is_written_anew_where_its_vectors_are_new(store: Store, tmp_path: Path):
    export(store, tmp_path / "out", "clam")
    new = np.full((4, DIM), 7, np.float16)
    replace(store, "b.svs", new)
    result = export(store, tmp_path / "out", "clam")
    assert [(slide.slide_id, slide.stood, slide.tiles) for slide in result.slides] == [
        ("a.svs", True, 2), ("b.svs", False, 4),
    ]  # fmt: skip
    with h5py.File(result.slides[1].path) as file:
        assert (file["features"][:] == new).all()


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_of_others_stay(store: Store, tmp_path: Path, layout: LayoutName):
    out = tmp_path / "out"
    path = export(store, out, layout).slides[0].path
    if path.is_dir():
        (path / "zarr.json").write_text("{}")
    else:
        path.write_bytes(b"made by somebody else")
    before = files(out)
    result = export(store, out, layout)
    assert [slide.slide_id for slide in result.slides] == ["b.svs"] and files(out) == before
    assert f"{path} stands there already, and no export of embedstore wrote it" in result.failed["a.svs"]
    assert "a.svs" in repr(result)


def test_a_tensor_of_others_stays(store: Store, tmp_path: Path):
    tensor = tmp_path / "out" / "pt_files" / "a.pt"
    tensor.parent.mkdir(parents=True)
    tensor.write_bytes(b"theirs")
    assert "no export of embedstore wrote it" in export(store, tmp_path / "out", "clam").failed["a.svs"]
    assert tensor.read_bytes() == b"theirs"


def test_another_collection_needs_another_folder_and_shares_trident_s_patches(store: Store, tmp_path: Path):
    from embedstore.store import Collection
    from tests.collection_records import collection_record

    other = Collection.create(store.uri, "other", collection_record(DIM, name="another", digest="sha256:2"))
    writer = FragmentWriter(
        table_uri=other.table.uri, schema=other.schema, collection="other", slide_id="a.svs",
        xy_l0=np.array(grid(2, 1), np.int32), edge_l0=EDGE, tissue=np.ones(2, np.float32),
    )  # fmt: skip
    writer.put(np.arange(2), np.zeros((2, DIM), np.float16))
    CollectionWriter(other).commit([writer.finish()])
    for layout in ("clam", "trident"):
        export(store, tmp_path / layout, layout, collection="toy")
    assert "from collection 'toy'" in export(store, tmp_path / "clam", "clam", collection="other").failed["a.svs"]
    result = export(store, tmp_path / "trident", "trident", collection="other")
    assert not result.failed and result.slides[0].path.parent.name == "features_another"
    assert len(list((tmp_path / "trident").rglob("patches/*"))) == 2


def test_removed_slides_are_gone_and_chosen_ones_are_there(store: Store, tmp_path: Path):
    remove_slides(store, ["a.svs"])
    assert [slide.slide_id for slide in export(store, tmp_path / "1", "stamp").slides] == ["b.svs"]
    assert [slide.slide_id for slide in export(store, tmp_path / "2", "stamp", where="cohort = 'B'").slides] == [
        "b.svs"
    ]
    with pytest.raises(ExportError, match="nothing to export"):
        export(store, tmp_path / "3", "stamp", where="cohort = 'A'")


@pytest.mark.slow
def test_nothing_of_patients_leaves_unless_asked(store: Store, tmp_path: Path):
    for layout in LAYOUTS:
        export(store, tmp_path / "out" / layout, layout)
    everything = b"".join(files(tmp_path / "out").values())
    assert b"cohort" not in everything and b"patient" not in everything and str(tmp_path).encode() not in everything


def test_tiles_of_several_sizes_and_slides_without_mpp_are_told(store: Store, tmp_path: Path):
    replace(store, "a.svs", np.zeros((2, DIM), np.float16), np.array([128, 256], np.int32))
    result = export(store, tmp_path / "1", "trident")
    assert "has tiles of 128 to 256 level-0 pixels; TRIDENT keeps one size" in result.failed["a.svs"]
    assert [slide.slide_id for slide in result.slides] == ["b.svs"]
    assert not export(store, tmp_path / "2", "parquet").failed
    import dataclasses

    unknown = [dataclasses.replace(row, slide_mpp=None) for row in store.ledger.slides() if row.slide_id == "b.svs"]
    store.ledger.record(unknown, [])
    assert "has no mpp in the store" in export(store, tmp_path / "3", "stamp").failed["b.svs"]
    assert not export(store, tmp_path / "4", "clam", slides=("b.svs",)).failed


def test_folders_of_ready_made_tiles_have_no_place(store: Store, tmp_path: Path):
    add_folder(store, "patches", ("x.png", "y.png"))
    result = export(store, tmp_path / "1", "clam")
    assert len(result.slides) == 2 and "'patches' is a folder of ready-made tiles" in result.notes[0]
    with pytest.raises(ExportError, match="folder of ready-made tiles"):
        export(store, tmp_path / "2", "clam", slides=("patches",))
    assert [slide.tiles for slide in export(store, tmp_path / "3", "anndata", slides=("patches",)).slides] == [2]


def test_what_a_killed_run_began_is_deleted_after_an_hour(store: Store, tmp_path: Path):
    out = tmp_path / "out"
    (out / "sub" / f".{'b' * 16}.part").mkdir(parents=True)
    names = [f".{'a' * 16}.part", f".{'c' * 16}.part", "their.part", ".theirs.part"]
    for name in names:
        (out / name).write_text("x")
    for name in (names[0], names[2], names[3], f"sub/.{'b' * 16}.part"):
        os.utime(out / name, (0, 0))
    export(store, out, "parquet")
    assert sorted(path.name for path in out.rglob("*.part")) == sorted(names[1:])


def test_nothing_that_is_written_has_the_suffix_of_its_kind_before_its_end(store: Store, tmp_path: Path):
    seen: list[str] = []
    original = Path.replace

    def noted(self: Path, target: Path) -> Path:
        seen.append(self.name)
        return original(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", noted)
        for layout in set(LAYOUTS) - {"spatialdata"}:  # zarr renames files, too
            export(store, tmp_path / layout, layout)
    assert len(seen) == 2 * 8 and all(name.endswith(".part") for name in seen)


def test_a_slide_without_room_is_not_begun(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    room = iter([1 << 40, 1000])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=next(room)))
    with pytest.raises(ExportError, match=r"the next file takes up to 1 MB, and 1 KB are free; .* goes on there"):
        export(store, tmp_path / "out", "trident")
    monkeypatch.undo()
    assert [slide.stood for slide in export(store, tmp_path / "out", "trident").slides] == [True, False]


def test_requests_are_checked(store: Store, tmp_path: Path):
    with pytest.raises(ConfigError, match="layout is 'zip'; expected one of trident"):
        LayoutExportRequest(layout="zip", folder=tmp_path)
    with pytest.raises(ConfigError, match="clam has vectors and places, and no room for the predictions of a head"):
        LayoutExportRequest(layout="clam", folder=tmp_path, head="lesion")
    with pytest.raises(ConfigError, match="no room for columns of slides"):
        LayoutExportRequest(layout="stamp", folder=tmp_path, columns=("patient",))
    with pytest.raises(
        ConfigError, match=r"slides have no column 'nothing' to export; they have kind, patient, .*, cohort$"
    ):
        export(store, tmp_path, "parquet", columns=("nothing",))
    with pytest.raises(ConfigError, match="no column 'path'"):
        export(store, tmp_path, "parquet", columns=("path",))


def test_names_of_files_are_their_own_and_stay_in_the_folder():
    flat = slide_names(["x/a.svs", "y/a.ndpi", "b.svs", "../../etc/c.svs", "d.v2", ".."], flat=True)
    assert flat == {
        "x/a.svs": "x_a.svs", "y/a.ndpi": "y_a.ndpi", "b.svs": "b", "../../etc/c.svs": "c", "d.v2": "d.v2", "..": "_",
    }  # fmt: skip
    nested = slide_names(["x/a.svs", "y/a.svs", "/abs/b.svs", "../c.svs", "A.svs", "a.svs"], flat=False)
    assert nested == {
        "x/a.svs": "x/a", "y/a.svs": "y/a", "/abs/b.svs": "abs/b", "../c.svs": "_/c", "A.svs": "A.svs",
        "a.svs": "a.svs_",
    }  # fmt: skip
    long = slide_names(["é" * 300 + ".svs"], flat=True)
    assert all(len(f"{name}_patches.h5".encode()) <= 255 for name in long.values())


@pytest.mark.parametrize("layout", ["anndata", "spatialdata"])
def test_a_package_that_is_missing_is_named_with_the_extra_that_has_all(
    layout: LayoutName, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ExportError, match=rf"pip install 'embedstore\[{layout}\]'"):
        export(store, tmp_path / "out", layout)
