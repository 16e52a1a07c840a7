"""What came of a sample of tiles that went through every candidate."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedstore.extractors import ExtractorConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateEmbeddings:
    """The sample as one candidate sees it.

    Attributes:
        config: As it was asked for.
        name: Its own among the candidates.
        digest: Of its weights and preprocessing.
        dim: Length of an embedding.
        tile_px, mpp: Tiles that it was given: edge in pixels, and their resolution, µm/px.
        vectors: (n, dim) float16, one a tile of the sample; zeros where the tile is not readable.
        changed: Name of a change to (m, dim) float16, of the tiles at `changed_rows` after it; zeros likewise.
        tiles_per_s: Of embedding alone, in full batches, measured after a first one that is not counted.
        device: Where it ran: `cpu`, `cuda:0` …
    """

    config: ExtractorConfig
    name: str
    digest: str
    dim: int
    tile_px: int
    mpp: float
    vectors: NDArray[np.float16]
    changed: Mapping[str, NDArray[np.float16]]
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
    """A sample of tiles through every candidate.

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
