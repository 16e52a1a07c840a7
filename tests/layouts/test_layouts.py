"""Each layout is recognised, alone, and its vectors and places are those that were written."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch

from embedstore.api.ingest import ingest_request
from embedstore.errors import FeatureFileError, LayoutError, SlideNotFoundError
from embedstore.layouts import (
    Entry,
    FeatureConfig,
    Features,
    SlideFacts,
    TileFacts,
    layout_named,
    layout_of,
    look_apart,
    open_apart,
    place_tiles,
    tile_facts,
)
from tests.layouts.files import DIM, places, vectors, write_clam, write_hdf5, write_stamp, write_trident

UM = SlideFacts(mpp=0.5)


def opened(folder: Path, slide: SlideFacts = UM, *, name: str | None = None, at: int = 0) -> Features:
    layout = layout_of(folder, name)
    return layout.open(layout.slides(folder)[at], slide)


def read(features: Features) -> np.ndarray:
    """All vectors, read in two ranges."""
    with features:
        half = features.facts.tiles // 2
        return np.concatenate([features.read(0, half), features.read(half, features.facts.tiles)])


@pytest.mark.parametrize("kinds", ["h5 pt patches", "h5 patches", "pt patches", "pt"])
def test_clam(tmp_path: Path, kinds: str):
    write_clam(tmp_path, "a", kinds=kinds)
    assert layout_of(tmp_path).name == "clam"
    features = opened(tmp_path)
    np.testing.assert_array_equal(read(features), vectors(6))
    if "patches" in kinds:
        assert (features.facts.tile_px, features.edge_l0) == (256, 1024)
        np.testing.assert_array_equal(features.xy_l0, places(6, 1024))
    else:
        assert (features.xy_l0, features.edge_l0, features.facts.tile_px) == (None, None, None)


@pytest.mark.parametrize("write", [write_trident, write_clam])
def test_what_a_user_says_of_tiles_counts_before_what_files_say(tmp_path: Path, write):
    write(tmp_path, "a")
    said = FeatureConfig(extractor="mine", tile_px=512, mpp=0.25, edge_l0=640)
    with opened(tmp_path) as features:
        assert features.edge_l0 != 640
        facts = tile_facts("a", features, said, UM)
        assert facts == TileFacts(extractor="mine", dim=DIM, tile_px=512, mpp=0.25)
        placed = place_tiles("a", features, said, UM, facts)
        assert (placed.edge_l0, placed.edges_l0) == (640, None)
        without_mpp = replace(said, mpp=None)
        if features.facts.mpp is None:  # it follows from the edge
            assert tile_facts("a", features, without_mpp, UM).mpp == pytest.approx(0.5 * 640 / 512, rel=0.01)


def test_an_empty_slide_of_trident_has_no_tile(tmp_path: Path):
    write_trident(tmp_path, "a", features=np.empty(0, np.float32), coords=np.empty((0, 2), np.int64))
    assert opened(tmp_path).facts.tiles == 0


def test_clam_without_features_has_a_slide_all_the_same(tmp_path: Path):
    write_clam(tmp_path, "a", kinds="patches")
    with pytest.raises(FeatureFileError, match=r"coordinates .* but no features"):
        opened(tmp_path)


@pytest.mark.parametrize("version", ["1.1.0", "2.0.0", "2.1.0", "2.4.0"])
def test_stamp(tmp_path: Path, version: str):
    write_stamp(tmp_path, "ward/a", version)
    layout = layout_of(tmp_path)
    assert (layout.name, [entry.slide for entry in layout.slides(tmp_path)]) == ("stamp", ["ward/a"])
    features = opened(tmp_path)
    np.testing.assert_array_equal(read(features), vectors(6).astype(np.float16))
    np.testing.assert_array_equal(features.xy_l0, places(6, 512))
    assert (features.edge_l0, features.facts.extractor) == (512, "uni")
    assert features.facts.tile_px == (None if version == "2.0.0" else 224)
    with pytest.raises(FeatureFileError, match="in micrometres; give the slides with --slides, or --slide-mpp"):
        opened(tmp_path, SlideFacts())


def test_augmented_tiles_of_stamp_1_are_left_out(tmp_path: Path):
    arrays = {"feats": vectors(6), "coords": places(6, 224), "augmented": np.array([0, 1, 0, 1, 0, 1], bool)}
    write_hdf5(tmp_path / "a.h5", arrays, {"": {"extractor": "STAMP-extract-1.0_ctranspath"}})
    features = opened(tmp_path)
    np.testing.assert_array_equal(read(features), vectors(6)[::2])
    assert (len(features.xy_l0), features.facts.extractor) == (3, "ctranspath")
    assert features.facts.warnings == ("3 augmented tiles are left out",)


def test_stamp_without_a_unit_and_features_of_slides_are_refused(tmp_path: Path):
    path = write_hdf5(tmp_path / "a.h5", {"feats": vectors(6), "coords": places(6, 100)})
    with pytest.raises(FeatureFileError, match="in which unit"):
        opened(tmp_path)
    write_hdf5(path, {"feats": vectors(1)}, {"": {"feat_type": "slide"}})
    with pytest.raises(FeatureFileError, match="whole slide"):
        opened(tmp_path)
    write_hdf5(path, {"feats": vectors(1)[0]})
    with pytest.raises(FeatureFileError, match="one vector of 8 values"):
        opened(tmp_path)


def _table(tiles: int = 6, *, lists: bool = True, slides: int = 1) -> pa.Table:
    columns = {"x": places(tiles)[:, 0], "Y": places(tiles)[:, 1].astype(float), "edge_l0": np.full(tiles, 512)}
    if lists:
        columns["vector"] = pa.FixedSizeListArray.from_arrays(vectors(tiles).ravel(), DIM)
    else:
        columns |= {f"feat{i}": vectors(tiles)[:, i] for i in range(DIM)}
    if slides > 1:
        columns["slide_id"] = [f"s{i % slides}" for i in range(tiles)]
    return pa.table(columns)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "arrow", "h5", "npy"])
def test_plain_tables(tmp_path: Path, suffix: str):
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        pyarrow.parquet.write_table(_table(), path)
    elif suffix == "csv":
        pyarrow.csv.write_csv(_table(lists=False), path)
    elif suffix == "arrow":
        with pa.ipc.new_file(path, _table().schema) as file:
            file.write_table(_table())
    elif suffix == "h5":
        write_hdf5(path, {"embeddings": vectors(6), "coords": places(6)})
    else:
        np.save(path, vectors(6))
        np.save(tmp_path / "a_coords.npy", places(6))
    assert layout_of(tmp_path).name == "plain"
    features = opened(tmp_path)
    np.testing.assert_allclose(read(features), vectors(6), rtol=1e-6)
    np.testing.assert_array_equal(features.xy_l0, places(6))
    if suffix in ("parquet", "csv", "arrow"):
        np.testing.assert_array_equal(features.edge_l0, [512] * 6)


@pytest.mark.parametrize("lists", [True, False])
def test_one_table_of_many_slides(tmp_path: Path, lists: bool):
    path = tmp_path / "all.parquet"
    pyarrow.parquet.write_table(_table(lists=lists, slides=2), path, row_group_size=2)
    layout = layout_of(path)
    assert [entry.slide for entry in layout.slides(path)] == ["s0", "s1"]
    np.testing.assert_array_equal(read(opened(path, at=1)), vectors(6)[1::2])


def test_slides_of_a_csv_are_called_as_it_is_written(tmp_path: Path):
    """Also where all names look like numbers, dates or truths."""
    path, names = tmp_path / "all.csv", ("007", "010", "1e5")
    for written in (names, ("2021-01-02", "2021-01-03", "2021-01-04"), ("FALSE", "TRUE", "true")):
        table = _table(lists=False).append_column("Slide", pa.array([name for name in written for _ in range(2)]))
        pyarrow.csv.write_csv(table, path, pyarrow.csv.WriteOptions(quoting_style="none"))
        os.utime(path, ns=(0, time.time_ns()))
        assert [entry.slide for entry in layout_of(path).slides(path)] == sorted(written)
        np.testing.assert_allclose(read(opened(path, at=1)), vectors(6)[2:4], rtol=1e-6)


def test_a_pickle_with_code_is_refused(tmp_path: Path):
    write_clam(tmp_path, "a", kinds="pt")
    torch.save(Path("x"), tmp_path / "pt_files" / "b.pt")
    torch.save({"features": torch.zeros(2, 3)}, tmp_path / "pt_files" / "c.pt")
    with pytest.raises(FeatureFileError, match=r"could run code.*none was read"):
        opened(tmp_path, at=1)
    with pytest.raises(FeatureFileError, match="holds a dict"):
        opened(tmp_path, at=2)
    (tmp_path / "pt_files" / "c.pt").write_bytes((tmp_path / "pt_files" / "a.pt").read_bytes()[:200])
    with pytest.raises(FeatureFileError, match="cut short or damaged"):
        opened(tmp_path, at=2)


def test_two_layouts_in_one_folder_are_named(tmp_path: Path):
    write_trident(tmp_path, "a")
    write_clam(tmp_path, "a", kinds="h5")
    with pytest.raises(
        LayoutError, match="TRIDENT and CLAM; say which is meant with --layout trident or --layout clam"
    ):
        layout_of(tmp_path)
    assert layout_of(tmp_path, "clam").slides(tmp_path)[0].features == tmp_path / "h5_files" / "a.h5"
    write_trident(tmp_path, "a", encoder="conch_v15")
    with pytest.raises(LayoutError, match=r"holds 2 sets of features.*features_conch_v15.*give the folder of one"):
        layout_of(tmp_path, "trident").slides(tmp_path)


def test_a_store_is_told_from_files(tmp_path: Path):
    (tmp_path / "my-store" / "slides.lance").mkdir(parents=True)
    for folder in (tmp_path / "my-store", tmp_path / "my-store" / "slides.lance"):
        with pytest.raises(LayoutError, match=r"my-store is a store of embedstore: name it with --store"):
            layout_of(folder)
        with pytest.raises(LayoutError, match=r"my-store is a store of embedstore"):
            layout_of(folder, "trident")
        with pytest.raises(SlideNotFoundError, match=r"my-store is a store of embedstore"):
            ingest_request(str(folder), str(tmp_path / "other"))
    with pytest.raises(LayoutError, match="holds no features"):
        layout_of(tmp_path)
    write_trident(tmp_path / "my-store", "a")  # beside the tables
    assert layout_of(tmp_path / "my-store").name == layout_of(tmp_path / "my-store", "trident").name == "trident"


def test_folders_without_anything_and_names_twice(tmp_path: Path):
    with pytest.raises(LayoutError, match="it is empty"):
        layout_of(tmp_path)
    with pytest.raises(LayoutError, match="no layout 'tridant'; expected one of trident, clam"):
        layout_of(tmp_path, "tridant")
    pyarrow.parquet.write_table(_table(), tmp_path / "a.parquet")
    pyarrow.csv.write_csv(_table(lists=False), tmp_path / "a.csv")
    with pytest.raises(LayoutError, match=r"slide 'a' has vectors in .*a\.csv and in .*a\.parquet"):
        layout_of(tmp_path).slides(tmp_path)


def test_arrays_of_other_files_are_not_read(tmp_path: Path):
    import h5py

    write_hdf5(tmp_path / "secret.h5", {"features": vectors(6), "coords": places(6)})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "features")
        file["coords"] = places(6)
    with pytest.raises(FeatureFileError, match="no dataset of this file"):
        layout_named("trident").open(Entry(slide="a", features=tmp_path / "a.h5"), UM)


@pytest.mark.slow
def test_a_file_that_ends_or_hangs_its_process_costs_its_slide(tmp_path: Path):
    path = write_trident(tmp_path, "a")
    entry = Entry(slide="a", features=path)
    with open_apart("trident", entry, UM) as features:
        features._process._process.kill()
        with pytest.raises(FeatureFileError, match=r"the process that read it was killed.*--retry-failed"):
            features.read(0, 6)
    with open_apart("trident", entry, UM) as features:
        os.kill(features._process._process.pid, signal.SIGSTOP)
        features._answer_s = 0.1
        with pytest.raises(FeatureFileError, match=r"gave no answer within 0\.1 s"):
            features.read(0, 6)
    with open_apart("trident", entry, UM) as features:
        np.testing.assert_array_equal(features.read(0, 6), vectors(6))


@pytest.mark.slow
def test_a_relative_folder_is_one_of_the_working_folder_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The process that looked at the first waits for the second, and was started in another working folder."""
    for folder, slide in (("first", "a"), ("second", "b")):
        write_trident(tmp_path / folder / "job", slide)
        monkeypatch.chdir(tmp_path / folder)
        assert [entry.slide for entry in look_apart(Path("job"), None, None)[1]] == [slide]
