"""Files of vectors as TRIDENT, STAMP and CLAM write them, and plain tables of vectors: as `import` reads them."""

import io
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet
from hypothesis import strategies as st

from embedstore.layouts import Entry, FeatureConfig, SlideFacts, TileFacts, open_apart, place_tiles
from tests.fuzz.kind import Kind
from tests.fuzz.mutations import changed_bytes

WANTED = TileFacts(extractor="uni", dim=8, tile_px=256, mpp=0.5)
KNOWN = SlideFacts(mpp=0.5)


def _hdf5(vectors: str, *, chunks: bool, **attributes: object) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        rows = np.arange(48, dtype=np.float32).reshape(6, 8)
        opened.create_dataset(vectors, data=rows, chunks=(1, 8) if chunks else None)
        coords = opened.create_dataset("coords", data=np.arange(12).reshape(6, 2) * 224)
        (coords if vectors == "features" else opened).attrs.update(attributes)
    return file.getvalue()


def _tensor() -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(torch.arange(48.0).reshape(6, 8), file)
    return file.getvalue()


def _parquet() -> bytes:
    file = io.BytesIO()
    columns = {"x": np.arange(6), "y": np.arange(6), "vector": list(np.ones((6, 8), np.float32))}
    pyarrow.parquet.write_table(pa.table(columns), file)
    return file.getvalue()


TRIDENT = [
    _hdf5("features", chunks=chunks, patch_size=256, patch_size_level0=512, target_magnification=20, level0_width=4096)
    for chunks in (True, False)
]
STAMP = [
    _hdf5("feats", chunks=True, stamp_version="2.4.0", tile_size_um=128.0, tile_size_px=256, extractor="uni"),
    _hdf5("feats", chunks=False, extractor="STAMP-extract-1.0_uni"),
]


def _reader(layout: str, name: str) -> Callable[[Path], Callable[[bytes], object]]:
    def in_folder(folder: Path) -> Callable[[bytes], object]:
        path = folder / name

        def read(data: bytes) -> object:
            path.write_bytes(data)
            with open_apart(layout, Entry(slide="a", features=path), KNOWN, answer_s=5.0) as features:
                place_tiles("a", features, FeatureConfig(edge_l0=256), KNOWN, WANTED)
                return features.read(0, features.facts.tiles)

        return read

    return in_folder


KINDS = [
    Kind(name="trident", inputs=changed_bytes(st.sampled_from(TRIDENT)), reader=_reader("trident", "a.h5")),
    Kind(name="stamp", inputs=changed_bytes(st.sampled_from(STAMP)), reader=_reader("stamp", "a.h5")),
    Kind(name="clam-tensors", inputs=changed_bytes(st.just(_tensor())), reader=_reader("clam", "a.pt")),
    Kind(name="plain-parquet", inputs=changed_bytes(st.just(_parquet())), reader=_reader("plain", "a.parquet")),
]
