"""What is in the files of each layout, read by h5py, torch, anndata, zarr and pyarrow themselves."""

import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
import torch
import zarr

from embedstore.export.layout_export import LayoutExportRequest, export_layout
from embedstore.export_format import LayoutName
from embedstore.store import Store
from tests.export.prediction_scene import DIM, EDGE, grid, make_store, vectors
from tests.store.predicted import facts, predict, two

CORNERS = grid(3, 2, at=(1000, 70))
VECTORS = vectors("in/a.svs", 6)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A slide of six tiles of 256 pixels at 0.5 µm/px, as 128 pixels of level 0 at 0.5; and another."""
    store = make_store(tmp_path_factory.mktemp("scene"), {"in/a.svs": CORNERS, "b.svs": grid(1, 1)})
    predict(store, facts(), {"in/a.svs": two(np.linspace(0, 1, 6)), "b.svs": two([0.5])})
    return store


def export(store: Store, folder: Path, layout: LayoutName, **settings: object) -> Path:
    """Write the first slide; returns its file."""
    result = export_layout(
        store, LayoutExportRequest(layout=layout, folder=folder, slides=("in/a.svs",), **settings)
    )  # fmt: skip
    assert not result.failed and [slide.tiles for slide in result.slides] == [6]
    return result.slides[0].path


def test_trident(store: Store, tmp_path: Path):
    path = export(store, tmp_path, "trident")
    assert path == tmp_path / "20x_256px_0px_overlap" / "features_toy" / "a.h5"
    for each in (path, tmp_path / "20x_256px_0px_overlap" / "patches" / "a_patches.h5"):
        with h5py.File(each) as file:
            assert file["coords"].dtype == np.int64 and file["coords"][:].tolist() == [list(xy) for xy in CORNERS]
            about = dict(file["coords"].attrs)
            assert about.pop("savetodir") == "" and about == {
                "patch_size": 256, "patch_size_level0": EDGE, "level0_magnification": 10, "target_magnification": 20,
                "overlap": 0, "name": "a", "level0_width": 4096, "level0_height": 4096,
            }  # fmt: skip
    with h5py.File(path) as file:
        assert file["features"].dtype == np.float32 and (file["features"][:] == VECTORS).all()
        assert file["features"].attrs["encoder"] == "toy"


def test_clam(store: Store, tmp_path: Path):
    path = export(store, tmp_path, "clam")
    assert path == tmp_path / "h5_files" / "a.h5"
    with h5py.File(path) as file:
        assert file["features"].dtype == np.float32 and (file["features"][:] == VECTORS).all()
        assert file["coords"].dtype == np.int32 and file["coords"][:].tolist() == [list(xy) for xy in CORNERS]
    tensor = torch.load(tmp_path / "pt_files" / "a.pt", weights_only=True)
    assert tensor.dtype == torch.float32 and (tensor.numpy() == VECTORS).all()
    with h5py.File(tmp_path / "patches" / "a.h5") as file:
        about = file["coords"].attrs
        assert (about["patch_size"], about["patch_level"], list(about["level_dim"])) == (EDGE, 0, [4096, 4096])


def test_stamp(store: Store, tmp_path: Path):
    path = export(store, tmp_path, "stamp")
    assert path == tmp_path / "toy" / "in" / "a.h5"
    with h5py.File(path) as file:
        assert file["feats"].dtype == np.float16 and (file["feats"][:] == VECTORS).all()
        assert file["coords"].dtype == np.float32 and (file["coords"][:] == np.array(CORNERS) * 0.5).all()
        about = dict(file.attrs)
        # 128 pixels of level 0 are 64 µm, whatever 256 pixels at 0.5 would be.
        assert (about["unit"], about["tile_size_um"], about["tile_size_px"]) == ("um", EDGE * 0.5, 256)
        assert (about["extractor"], about["feat_type"], about["stamp_version"]) == ("toy", "tile", "2.0.0")


def test_anndata(store: Store, tmp_path: Path):
    import anndata  # half a second that no other test has to wait for

    path = export(store, tmp_path, "anndata", head="lesion", columns=("patient",))
    assert path == tmp_path / "in" / "a.h5ad"
    read = anndata.read_h5ad(path)
    assert read.X.dtype == np.float32 and (read.X == VECTORS).all() and list(read.var_names) == ["d0", "d1", "d2", "d3"]
    assert read.obs[["x", "y"]].to_numpy().tolist() == [list(xy) for xy in CORNERS]
    assert (read.obsm["spatial"] == np.array(CORNERS) + EDGE / 2).all()
    assert set(read.obs["patient"]) == {"P0"} and read.obs["p_tumour"].tolist() == pytest.approx(np.linspace(0, 1, 6))
    assert read.uns["embedstore"]["collection"] == "toy" and read.uns["embedstore"]["head"]["head"] == "lesion"


def test_parquet(store: Store, tmp_path: Path):
    path = export(store, tmp_path, "parquet", head="lesion")
    table = pq.read_table(path)
    assert path == tmp_path / "in" / "a.parquet" and set(table["slide_id"].to_pylist()) == {"in/a.svs"}
    assert (np.stack(table["vector"].to_numpy()) == VECTORS).all()
    assert list(zip(table["x"].to_pylist(), table["y"].to_pylist(), strict=True)) == CORNERS
    assert set(table["edge_l0"].to_pylist()) == {EDGE} and table["label"].to_pylist()[-1] == "tumour"
    assert json.loads(table.schema.metadata[b"embedstore.about"])["extractor"]["digest"] == "sha256:1"


def test_spatialdata(store: Store, tmp_path: Path):
    import anndata  # half a second that no other test has to wait for

    path = export(store, tmp_path, "spatialdata", head="lesion")
    assert path == tmp_path / "in" / "a.zarr"
    root = zarr.open_group(path, mode="r")
    spec = root.attrs["tile_spec"]["tiles"]
    assert int(spec["width"] * spec["base_downsample"]) == EDGE and spec["mpp"] == 0.5
    assert root.attrs["slide_properties"] == {"mpp": 0.5, "shape": [4096, 4096], "bounds": [0, 0, 1024, 768]}
    assert root.attrs["embedstore.about"]["head"]["head"] == "lesion"
    squares = pq.read_table(path / "shapes" / "tiles" / "shapes.parquet")
    boxes = shapely.from_wkb(squares["geometry"].to_numpy(zero_copy_only=False))
    assert (shapely.bounds(boxes) == [[x, y, x + EDGE, y + EDGE] for x, y in CORNERS]).all()
    assert squares["tile_id"].to_pylist() == list(range(6)) and squares["label"].to_pylist()[-1] == "tumour"
    assert json.loads(squares.schema.metadata[b"geo"])["primary_column"] == "geometry"
    table = anndata.io.read_elem(root["tables/toy_tiles"])
    assert (table.X == VECTORS).all() and table.shape == (6, DIM)
    assert table.obs["tile_id"].tolist() == list(range(6)) and set(table.obs["library_id"]) == {"tiles"}
    assert table.obs["embedstore_id"].dtype == np.int64
    linked = {name: root["tables/toy_tiles"].attrs[name] for name in ("region", "region_key", "instance_key")}
    assert linked == table.uns["spatialdata_attrs"]


@pytest.mark.parametrize("tile_px", [224, 256, 448, 512])
def test_wsidata_reads_the_same_squares_again(tile_px: int):
    """It cuts what is behind the point of width x base_downsample."""
    from types import SimpleNamespace

    from embedstore.config import TilingConfig
    from embedstore.layouts.writing.spatialdata import tile_spec

    for edge in range(97, 1300, 7):
        tiles = SimpleNamespace(tiling=TilingConfig(tile_px=tile_px), edge_l0=lambda layout, edge=edge: edge)
        assert int(tile_px * tile_spec(tiles)["base_downsample"]) == edge
