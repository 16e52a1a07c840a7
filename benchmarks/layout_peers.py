"""The peers of `layout_round_trip.py`: an exported folder read, and trained on, by the code of the tool itself.

    python benchmarks/layout_peers.py LAYOUT FOLDER SLIDES.json [SOURCE...]

Run by the Python of an environment that has what the tool needs; it needs nothing of embedstore. SOURCE is put on the
path: TRIDENT's and Patho-Bench's, CLAM's, or STAMP's, where the tool is no installed package. SLIDES.json is
{name: {"mpp": micrometres a pixel}}. The last line of stdout is JSON: {"slides": {name: {"vectors", "places", "edge"}},
"did": what the tool did}; digests are those of `digest` below.

- trident: `trident.IO.read_coords` for patches, Patho-Bench's `PatchEmbeddingsDataset` for features, and an optimiser's
  step of TRIDENT's ABMIL on its bags.
- clam: `Generic_MIL_Dataset`, its tensors and its HDF5, `Whole_Slide_Bag_FP` on patches, and a step of `CLAM_SB`.
- stamp: `get_coords`, `detect_feature_type`, `tile_bag_dataloader`, and a step of STAMP's vision transformer.
- anndata: `anndata.read_h5ad`; parquet: pandas; spatialdata: `spatialdata.read_zarr`, `match_table_to_element`, and
  wsidata's `TileSpec` and `open_wsi`-free `agg_wsi` over all stores.
"""

import hashlib
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")
CLASSES = 2


def digest(vectors: np.ndarray, xy_l0: np.ndarray, edge_l0: int) -> dict[str, Any]:
    """What a slide's vectors and places are compared by; vectors must be float16 without loss."""
    half = np.ascontiguousarray(vectors.astype(np.float16))
    assert (half == vectors).all(), "vectors are not those of the store"
    places = np.ascontiguousarray(xy_l0.astype(np.int32))
    return {
        "vectors": hashlib.sha256(half.tobytes()).hexdigest(), "places": hashlib.sha256(places.tobytes()).hexdigest(),
        "edge": int(edge_l0),
    }  # fmt: skip


def trident(folder: Path, slides: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    import torch
    from patho_bench.datasets.PatchEmbeddingsDataset import PatchEmbeddingsDataset
    from trident.IO import read_coords
    from trident.slide_encoder_models.load import ABMILSlideEncoder

    (features,) = folder.glob("*/features_*")

    split = SimpleNamespace(num_folds=1, data=[{"id": name, "slide_id": [name]} for name in slides])
    bags = PatchEmbeddingsDataset(split, str(features))
    model = None
    for name in slides:
        bag = bags[name]
        attributes, coords = read_coords(str(features.parent / "patches" / f"{name}_patches.h5"))
        assert (bag["coords"].numpy() == coords).all()
        edge = bag["attributes"]["patch_size_level0"]
        # What TRIDENT's patcher cuts from these magnifications.
        ratio = attributes["level0_magnification"] / attributes["target_magnification"]
        assert round(attributes["patch_size"] * ratio) == edge == attributes["patch_size_level0"]
        if model is None:
            dim = bag["features"].shape[1]
            model = ABMILSlideEncoder(
                input_feature_dim=dim, n_heads=1, head_dim=64, dropout=0.1, gated=True, freeze=False
            )
            model({"features": bag["features"].unsqueeze(0)}, device="cpu").square().mean().backward()
            torch.optim.AdamW(model.parameters()).step()
        yield name, digest(bag["features"].numpy(), coords, edge)


def clam(folder: Path, slides: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    import torch
    from dataset_modules.dataset_generic import Generic_MIL_Dataset
    from dataset_modules.dataset_h5 import Whole_Slide_Bag_FP
    from models.model_clam import CLAM_SB

    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch, "slides.csv")
        names = list(slides)
        labels = ["ab"[i % 2] for i in range(len(names))]
        pd.DataFrame({"case_id": names, "slide_id": names, "label": labels}).to_csv(table, index=False)
        bags = Generic_MIL_Dataset(
            data_dir=str(folder), csv_path=str(table), label_dict={"a": 0, "b": 1}, print_info=False
        )
    model = None
    for i, name in enumerate(names):
        bags.load_from_h5(False)
        tensor, label = bags[i]
        bags.load_from_h5(True)
        features, _, coords = bags[i]
        assert torch.equal(tensor, features) and bags.slide_data["slide_id"][i] == name
        patches = Whole_Slide_Bag_FP(str(folder / "patches" / f"{name}.h5"), wsi=None)
        assert len(patches) == len(coords) and patches.patch_level == 0
        if model is None:
            model = CLAM_SB(embed_dim=features.shape[1], n_classes=CLASSES)
            logits, _, _, _, instances = model(tensor, label=torch.tensor([label]), instance_eval=True)
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor([label])) + instances["instance_loss"]
            loss.backward()
            torch.optim.Adam(model.parameters()).step()
        yield name, digest(features.numpy(), coords, patches.patch_size)


def stamp(folder: Path, slides: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    import h5py
    import torch
    from stamp.modeling.data import PatientData, detect_feature_type, get_coords, tile_bag_dataloader
    from stamp.modeling.models.vision_tranformer import VisionTransformer

    (features,) = [path for path in folder.iterdir() if path.is_dir()]
    assert detect_feature_type(features) == "tile"
    paths = [features / f"{name}.h5" for name in slides]
    patients = [PatientData(ground_truth="ab"[i % 2], feature_files=[path]) for i, path in enumerate(paths)]
    loader, _ = tile_bag_dataloader(
        patient_data=patients, bag_size=None, task="classification", batch_size=1, shuffle=False, num_workers=0,
        transform=None,
    )  # fmt: skip
    model = None
    for (name, about), path, (bag, coords_um, sizes, targets) in zip(slides.items(), paths, loader, strict=True):
        with h5py.File(path) as file:
            info = get_coords(file)
        assert sizes.item() == bag.shape[1] and info.mpp > 0
        if model is None:
            model = VisionTransformer(
                dim_output=CLASSES, dim_input=bag.shape[2], dim_model=64, n_layers=1, n_heads=2, dim_feedforward=64,
                dropout=0.1, use_alibi=False,
            )  # fmt: skip
            logits = model(bag[:, :256], coords=coords_um[:, :256], mask=None)
            torch.nn.functional.cross_entropy(logits, targets).backward()
            torch.optim.Adam(model.parameters()).step()
        # As STAMP's heat maps come to pixels.
        xy_l0 = torch.round(coords_um[0].double() / about["mpp"]).long().numpy()
        yield name, digest(bag[0].numpy(), xy_l0, round(info.tile_size_um / about["mpp"]))


def anndata(folder: Path, slides: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    from anndata import read_h5ad

    for name in slides:
        read = read_h5ad(folder / f"{name}.h5ad")
        (edge,) = set(read.obs["edge_l0"])
        assert (read.obsm["spatial"] == read.obs[["x", "y"]].to_numpy() + edge / 2).all()
        yield name, digest(read.X, read.obs[["x", "y"]].to_numpy(), edge)


def parquet(folder: Path, slides: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in slides:
        read = pd.read_parquet(folder / f"{name}.parquet")
        (edge,) = set(read["edge_l0"])
        yield name, digest(np.stack(read["vector"]), read[["x", "y"]].to_numpy(), edge)


def spatialdata(folder: Path, slides: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    from spatialdata import match_table_to_element, read_zarr
    from wsidata import TileSpec

    for name in slides:
        read = read_zarr(folder / f"{name}.zarr")
        ((key, table),) = read.tables.items()
        assert key.endswith("_tiles") and (match_table_to_element(read, "tiles", key).X == table.X).all()
        spec = TileSpec(**read.attrs["tile_spec"]["tiles"])
        bounds = read["tiles"].bounds.to_numpy()
        assert (bounds[:, 2:] - bounds[:, :2] == spec.base_width).all()
        yield name, digest(np.asarray(table.X), bounds[:, :2], spec.base_width)


def main() -> None:
    layout, folder, listed, *sources = sys.argv[1:]
    sys.path[:0] = sources
    slides = json.loads(Path(listed).read_text())
    read = {"trident": trident, "clam": clam, "stamp": stamp, "anndata": anndata, "parquet": parquet,
            "spatialdata": spatialdata}[layout]  # fmt: skip
    print()
    print(json.dumps(dict(read(Path(folder), slides))))


if __name__ == "__main__":
    main()
