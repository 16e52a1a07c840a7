"""What embedding a sample of tiles with every candidate gives."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedstore.extractors import ExtractorConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateEmbeddings:
    """The embeddings of a sample by one candidate.

    Attributes:
        config: The candidate as it was requested.
        name: Its name, unique among the candidates.
        digest: Of its weights and preprocessing.
        dim: Length of an embedding.
        tile_px, mpp: The tiles that it was given: edge in pixels, and resolution in µm/px.
        vectors: (n, dim) float16, one for each tile of the sample; zeros where the tile is not readable.
        perturbed: For each perturbation by name (m, dim) float16, of the tiles at `perturbed_rows`; zeros likewise.
        tiles_per_s: Speed of embedding alone, in full batches, measured after a first batch as warm-up.
        device: Where it ran: `cpu`, `cuda:0` …
    """

    config: ExtractorConfig
    name: str
    digest: str
    dim: int
    tile_px: int
    mpp: float
    vectors: NDArray[np.float16]
    perturbed: Mapping[str, NDArray[np.float16]]
    tiles_per_s: float
    device: str


@dataclass(frozen=True, kw_only=True)
class FailedCandidate:
    """A candidate that could not be described, loaded or run; `error` is the class and the message, in one line."""

    config: ExtractorConfig
    name: str
    error: str


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleEmbeddings:
    """The embeddings of a sample by all candidates.

    Attributes:
        readable: (n,) bool; a tile that cannot be read for one candidate is readable for none, so that all are
            compared on the same tiles.
        embedded: In the order of the candidates.
        failed: Likewise.
        read_s: Time for the pass over the pixels, seconds.
        notes: What a user should know.
    """

    readable: NDArray[np.bool_]
    embedded: tuple[CandidateEmbeddings, ...]
    failed: tuple[FailedCandidate, ...]
    read_s: float
    notes: tuple[str, ...]
