"""`stain-texture`: classical features of stain and texture, without a network."""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from embedstore.errors import ConfigError
from embedstore.extractors.builtin.stain_separation import separate_stains, stain_matrix
from embedstore.extractors.builtin.texture import BLOCKS, texture_features
from embedstore.extractors.torch_extractor import TorchExtractor

VERSION = 1  # of the computation, in the digest; raised whenever an embedding changes
WORKING_MPP = 1.0  # a nucleus is 6 to 10 pixels wide; finer detail costs four times and is mostly JPEG
MIN_EDGE_PX = 32  # at the working resolution; the coarsest scale then has 8 × 8 pixels
# Of the blocks of `texture_features`: with these no block dominates the others. Chosen on PCam's train and validation
# tiles (neighbours in other slides, in repainted tiles, and in tiles of other colours).
BLOCK_WEIGHTS = (1.0, 1.0, 0.5, 1.0)
MAX_DEVIATIONS = 8.0  # standard deviations; a blank or black tile lies far outside, and must not overflow
CHUNK_PIXELS = 4 * 128 * 128  # at a time on the CPU, so that the working set stays in the cache


class StainTexture(TorchExtractor):
    """Colour deconvolution, then texture at three scales (`texture.py`), standardised by fixed constants.

    The constants are the means and standard deviations of the features over PatchCamelyon's training tiles (CC0),
    computed by `benchmarks/stain_texture.py --constants`. Without them the cosine is dominated by the features of
    largest variance.

    Args:
        name: Its name in the store.
        tile_px: Edge of the tiles, pixels.
        mpp: Their resolution: tiles are averaged to about 1 µm/px before anything else. None takes them as they are.
        device: Where to compute.
    """

    dim = sum(BLOCKS)

    def __init__(
        self,
        *,
        name: str = "stain-texture",
        tile_px: int = 256,
        mpp: float | None = 0.5,
        device: torch.device | None = None,
    ) -> None:
        self.name, self.tile_px, self.mpp = name, tile_px, mpp
        self.torch_device = device or torch.device("cpu")
        self.device = str(self.torch_device)
        self.batch_tiles = 256 if self.torch_device.type == "cuda" else 16
        self.shrink = max(1, round(WORKING_MPP / mpp)) if mpp else 1
        if tile_px // self.shrink < MIN_EDGE_PX:
            raise ConfigError(
                f"a tile of {tile_px} px at {mpp} µm/px is {tile_px // self.shrink} px wide at the 1 µm/px that "
                f"stain-texture works at; expected {MIN_EDGE_PX} or more: cut larger tiles"
            )
        constants = resources.files("embedstore.extractors.builtin").joinpath("stain_texture.json").read_bytes()
        identity = f"stain-texture {VERSION} {tile_px} {self.shrink} {hashlib.sha256(constants).hexdigest()}"
        self.digest = f"sha256:{hashlib.sha256(identity.encode()).hexdigest()}"
        self._threads = TileThreads()
        self._chunk_tiles = max(1, CHUNK_PIXELS // (tile_px // self.shrink) ** 2)
        self._matrix = stain_matrix().to(self.torch_device)
        self._centre, self._scale = (part.to(self.torch_device) for part in _standardisation(json.loads(constants)))

    def record(self) -> dict[str, Any]:
        facts = {"source": "builtin", "arch": "stain-texture", "version": VERSION, "licence": "Apache-2.0"}
        return {**super().record(), **facts, "shrink": self.shrink}

    def forward(self, tiles: Tensor) -> Tensor:
        if tiles.is_cuda:
            return self._standardised(tiles)
        return torch.cat(self._threads.map(self._standardised, tiles.split(self._chunk_tiles)))

    def features(self, tiles: Tensor) -> Tensor:
        """The features before standardisation, (n, dim) float32."""
        return texture_features(separate_stains(tiles, self._matrix, shrink=self.shrink))

    @torch.inference_mode()
    def _standardised(self, tiles: Tensor) -> Tensor:
        deviations = (self.features(tiles) - self._centre) * self._scale[0]
        return (deviations.clamp_(-MAX_DEVIATIONS, MAX_DEVIATIONS) * self._scale[1]).to(torch.float16)


def _standardisation(constants: dict[str, list[float]]) -> tuple[Tensor, Tensor]:
    """The mean (dim,), and the two factors (2, dim): one over the deviation, and the weight of the block."""
    weights = torch.cat(
        [torch.full((size,), weight / size**0.5) for size, weight in zip(BLOCKS, BLOCK_WEIGHTS, strict=True)]
    )
    centre = torch.tensor(constants["mean"])
    # About unit length for a typical tile, so that no value comes near the ends of float16.
    return centre, torch.stack([1 / torch.tensor(constants["std"]), weights])


class TileThreads:
    """As many threads as torch may use in this process, each of which takes other tiles.

    For work of many small operations: the threads of one operation would spend longer on meeting than on the work. The
    threads are kept, since each new one begins with memory of its own.
    """

    def __init__(self) -> None:
        self._pool, self._threads = ThreadPoolExecutor(1), 1

    def map(self, work: Callable[[Tensor], Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
        """`[work(part) for part in parts]`, each part on one thread."""
        threads = torch.get_num_threads()
        if threads == 1 or len(parts) == 1:
            return [work(part) for part in parts]
        if threads != self._threads:
            self._pool, self._threads = ThreadPoolExecutor(threads), threads
        torch.set_num_threads(1)  # within each of them
        try:
            return list(self._pool.map(work, parts))
        finally:
            torch.set_num_threads(threads)
