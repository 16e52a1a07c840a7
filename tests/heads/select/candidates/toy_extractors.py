"""Small slides and folders of tiles in a store, and a file of toy extractors."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from actors.ingest import ingest
from actors.request import IngestRequest, group_by_tiling
from embedstore.config import ExecutionConfig, IngestConfig, RunConfig, TissueConfig
from embedstore.extractors import ExtractorConfig
from embedstore.slides import find_slides
from embedstore.store import Collection, Store
from tests.slides.drawings import tissue_picture, write_tiff

ROW = ["tile_id", "slide_id", "x", "y", "edge_l0", "name"]

TOYS = """
    import numpy as np
    from embedstore.extractors import CustomNetwork, Extractor

    class Blocks(Extractor):
        '''Means of the 4 x 4 blocks of a tile.'''
        name, dim, tile_px, mpp, digest, batch_tiles = "blocks", 48, 64, 0.5, "sha256:blocks", 5

        def embed(self, pixels):
            self.check_pixels(pixels)
            edge = self.tile_px // 4
            return pixels.reshape(-1, 4, edge, 4, edge, 3).mean(axis=(2, 4)).reshape(-1, 48).astype(np.float16)

    class Fine(Blocks):
        name, tile_px, mpp, digest = "fine", 32, 0.25, "sha256:fine"

    class Wide(Blocks):
        name, tile_px, mpp, digest = "wide", 96, 1.0, "sha256:wide"

    class Finest(Blocks):
        name, mpp, digest = "finest", 0.1, "sha256:finest"

    class Overflowing(Blocks):
        def embed(self, pixels):
            return np.full((len(pixels), 48), np.inf, np.float16)

    class Short(Blocks):
        def embed(self, pixels):
            return super().embed(pixels)[:, :7]

    class OutOfMemory(Blocks):
        def embed(self, pixels):
            raise RuntimeError("CUDA out of memory.\\n  Tried to allocate 2 GiB")

    def odd():
        raise KeyError("a user's own mistake")

    def pooled(scale=1.0):
        import torch
        class Pool(torch.nn.Module):
            def forward(self, images):
                return scale * torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)
        return CustomNetwork(module=Pool(), tile_px=48, mpp=0.5)

    def bare():
        import torch
        return torch.nn.Flatten()
"""


def toys(folder: Path) -> Path:
    """The file of toy extractors."""
    path = folder / "toys.py"
    path.write_text(textwrap.dedent(TOYS))
    return path


def toy(path: Path, name: str, **more: Any) -> ExtractorConfig:
    return ExtractorConfig(ref=f"{path}:{name}", **more)


def write_slides(folder: Path, *, mpp: float = 0.25) -> Path:
    """Two slides with tissue all over."""
    folder.mkdir(exist_ok=True)
    for i, size in enumerate([(1000, 760), (700, 900)]):
        picture = tissue_picture(*size, seed=i)
        picture[picture > 235] -= 40
        write_tiff(folder / f"s{i}.svs", picture, mpp=mpp)
    return folder


def write_tiles(folder: Path, *, count: int = 6, edge: int = 80) -> Path:
    """A folder of ready-made tiles in two classes."""
    for i in range(count):
        path = folder / ("tumour" if i % 2 else "normal") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), tissue_picture(edge, edge, seed=i))
    return folder


def ingested(
    uri: Path, slides: Path, extractor: ExtractorConfig, **tiling: Any
) -> tuple[Store, Collection, list[dict[str, Any]]]:
    """The store, its one collection, and the collection's rows with their vectors."""
    request = IngestRequest(
        sources=find_slides([slides]).sources,
        store_uri=str(uri),
        groups=group_by_tiling([extractor], {"min_tissue": 0.0, **tiling}, ["c"]),
        config=IngestConfig(tissue=TissueConfig(method="all")),
        run=RunConfig(readers=1, extractors=1),
        execution=ExecutionConfig(in_process=True),
    )
    ingest(request)
    store = Store(str(uri))
    collection = store.collection("c")
    return store, collection, collection.tiles(columns=[*ROW, "vector"]).to_pylist()


def vectors(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    return np.array([row["vector"] for row in rows], np.float16)
