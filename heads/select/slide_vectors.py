"""Vectors of slides from the tiles of a sample, for comparing extractors on labels of slides."""

import numpy as np
from numpy.typing import NDArray

from embedstore.encoder_config import BuiltinEncoder, VisualWordsConfig
from embedstore.encoders.visual_words import FEWEST_TILES, Codebook, word_shares
from embedstore.errors import ConfigError
from embedstore.search.tile_sample import directions
from heads.bags import Bags


def slide_vectors(
    vectors: NDArray[np.floating], bags: Bags, encoder: BuiltinEncoder, *, seed: int
) -> NDArray[np.float32]:
    """Encode the slides of a sample.

    The codebook of `visual-words` is fitted to all tiles of the sample, as `encode-slides` fits it to those of a
    collection: it sees no label.

    Args:
        vectors: (rows, dim) of the tiles, slide by slide.
        bags: The tiles of each slide; none is empty.
        encoder: As of `encode-slides`.
        seed: Of the codebook.
    Returns:
        (slides, length of a slide's vector).
    """
    if encoder == "mean":
        return bags.means(vectors)
    codebook = Codebook.fit(directions(vectors)[0], VisualWordsConfig(seed=seed))
    parts = np.split(vectors, bags.start[1:-1])
    return word_shares(np.stack([codebook.counts(part) for part in parts]))


def require_tiles(bags: Bags, encoder: BuiltinEncoder) -> None:
    """Check that a sample has enough tiles for an encoder, before any is embedded.

    Raises:
        ConfigError: it has too few.
    """
    words = VisualWordsConfig().words
    if encoder == "visual-words" and len(bags.rows) < FEWEST_TILES * words:
        raise ConfigError(
            f"the sample has {len(bags.rows):,} tiles; visual-words tells {words} kinds of tiles apart and needs "
            f"{FEWEST_TILES * words:,} or more; take more of each slide (slide_tiles), label more slides, or take the "
            "encoder mean"
        )
