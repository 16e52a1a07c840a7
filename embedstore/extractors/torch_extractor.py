"""Extractors that compute with torch, on the CPU or on a GPU."""

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from embedstore.errors import DeviceError
from embedstore.extractors.extractor import Extractor

log = logging.getLogger(__name__)


class TorchExtractor(Extractor):
    """An extractor whose work is one function of a batch of tiles on its device."""

    torch_device: torch.device = torch.device("cpu")
    #: Whether `forward` may be recorded as a CUDA graph: it never asks for a value on the device.
    recordable: bool = False
    _parts: int = 1  # of a batch, where the device's memory does not hold all of it

    def forward_in_parts(
        self, tiles: torch.Tensor, forward: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> torch.Tensor:
        """`forward`; where the device's memory is too small, in halves, quarters and so on, from then on.

        Args:
            forward: Another function of the tiles than `forward`.

        Raises:
            DeviceError: the memory does not hold a single tile.
        """
        forward = forward or self.forward
        while True:
            try:
                parts = [forward(part) for part in tiles.chunk(self._parts)]
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            except torch.cuda.OutOfMemoryError as error:
                reason = str(error).split(". ")[0]
            if self._parts >= len(tiles):
                raise DeviceError(
                    f"the memory of {self.device} does not hold one tile of {self.tile_px} px in extractor "
                    f"{self.name!r}: {reason}; free it from other programs, or choose a smaller network"
                )
            # Outside of the handler, whose error keeps the tensors of the failed pass alive.
            torch.cuda.empty_cache()
            self._parts *= 2
            log.warning(
                "%s: a batch of %d tiles does not fit into the memory of %s; it is computed in %d parts",
                self.name, len(tiles), self.device, self._parts,
            )  # fmt: skip

    def finite(self, rows: NDArray[np.float16], tiles: torch.Tensor) -> NDArray[np.float16]:
        """The rows; those that are not finite are computed again from their tiles, where that can help."""
        return rows

    @abstractmethod
    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Embed tiles on the device: (n, tile_px, tile_px, 3) uint8 to (n, dim) float16, with n above 0."""

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        return self.check_embeddings(self.embed_unchecked(pixels))

    def embed_unchecked(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        self.check_pixels(pixels)
        rows = np.empty((len(pixels), self.dim), np.float16)
        for start in range(0, len(pixels), self.batch_tiles):
            tiles = torch.from_numpy(np.ascontiguousarray(pixels[start : start + self.batch_tiles]))
            tiles = tiles.to(self.torch_device)
            rows[start : start + len(tiles)] = self.finite(self.forward_in_parts(tiles).cpu().numpy(), tiles)
        return rows


def sha256_of_tensors(tensors: dict[str, torch.Tensor], preprocessing: str) -> str:
    """`sha256:…` over tensors (name, type, shape, bytes; in the order of their names) and a record of preprocessing."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    digest.update(preprocessing.encode())
    return f"sha256:{digest.hexdigest()}"
