"""The interface of every extractor: tiles in, embeddings out, and a digest of weights and preprocessing."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ExtractorError
from embedstore.extractors.text_tower import TextTower


class Extractor(ABC):
    """A frozen network (or fixed features) with its preprocessing. A user's own extractor may subclass this.

    Attributes:
        name: Its name in the store.
        dim: Length of an embedding.
        tile_px: Edge of the tiles that it takes, pixels.
        mpp: Resolution of the tiles that it was made for, micrometres per pixel; None where that is not known.
        device: `cpu`, `cuda:0` …
        digest: `sha256:…` over weights and preprocessing. The same digest means the same embeddings, to the
            tolerance of the device.
        batch_tiles: A sensible number of tiles for one forward pass on this device.
        text_tower: Embeds words into the space of its embeddings; None where it has no text side. A user's own
            extractor may have a method `embed_text`, and the attributes `text_digest` and `logit_scale`, instead.
    """

    name: str
    dim: int
    tile_px: int
    mpp: float | None
    device: str = "cpu"
    digest: str
    batch_tiles: int = 32
    text_tower: TextTower | None = None

    @abstractmethod
    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Embed tiles.

        Args:
            pixels: (n, tile_px, tile_px, 3) uint8 RGB; any n, 0 included.
        Returns:
            (n, dim) float16, not normalised.
        Raises:
            ExtractorError: pixels of another shape or type, or an embedding that float16 cannot hold.
        """

    def embed_unchecked(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        """`embed`, but what float16 cannot hold may come as it is, for a caller that looks which tiles it is of."""
        return self.embed(pixels)

    def record(self) -> dict[str, Any]:
        """Everything that determines the embeddings, as JSON values; it is stored with a collection."""
        text = {} if self.text_tower is None else {"text": self.text_tower.record()}
        return {
            "name": self.name, "dim": self.dim, "tile_px": self.tile_px, "mpp": self.mpp, "digest": self.digest, **text
        }  # fmt: skip

    def check_pixels(self, pixels: NDArray[np.uint8]) -> None:
        """Raise ExtractorError unless `pixels` is (n, tile_px, tile_px, 3) uint8."""
        expected = (self.tile_px, self.tile_px, 3)
        if pixels.ndim != 4 or pixels.shape[1:] != expected or pixels.dtype != np.uint8:
            raise ExtractorError(
                f"extractor {self.name!r} was given {pixels.dtype} pixels of shape {pixels.shape}; expected uint8 "
                f"(n, {self.tile_px}, {self.tile_px}, 3): cut tiles of {self.tile_px} px, or load it with "
                "another tile_px"
            )

    def check_embeddings(self, rows: NDArray[np.float16]) -> NDArray[np.float16]:
        """Return the rows; raise ExtractorError where one is not finite in float16."""
        if not np.isfinite(rows).all():
            raise ExtractorError(
                f"extractor {self.name!r} gave {int((~np.isfinite(rows)).any(axis=1).sum())} of {len(rows)} embeddings "
                "that float16 cannot hold (beyond ±65504, or NaN); on CUDA try precision bf16 or fp32, "
                "and check that the weights fit the architecture"
            )
        return rows
