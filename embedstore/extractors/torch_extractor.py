"""Extractors that compute with torch, on the CPU or on a GPU."""

import hashlib
from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray

from embedstore.extractors.extractor import Extractor


class TorchExtractor(Extractor):
    """An extractor whose work is one function of a batch of tiles on its device."""

    torch_device: torch.device = torch.device("cpu")

    @abstractmethod
    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Embed tiles on the device: (n, tile_px, tile_px, 3) uint8 to (n, dim) float16, with n above 0."""

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        self.check_pixels(pixels)
        rows = np.empty((len(pixels), self.dim), np.float16)
        for start in range(0, len(pixels), self.batch_tiles):
            tiles = torch.from_numpy(np.ascontiguousarray(pixels[start : start + self.batch_tiles]))
            rows[start : start + len(tiles)] = self.forward(tiles.to(self.torch_device)).cpu().numpy()
        return self.check_embeddings(rows)


def sha256_of_tensors(tensors: dict[str, torch.Tensor], preprocessing: str) -> str:
    """`sha256:…` over tensors (name, type, shape, bytes; in the order of their names) and a record of preprocessing."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    digest.update(preprocessing.encode())
    return f"sha256:{digest.hexdigest()}"
