"""Vectors of slides from the tiles of a sample."""

import numpy as np
import pytest

from embedstore.errors import ConfigError
from heads.bags import Bags
from heads.config import SelectConfig
from heads.select.slide_vectors import require_tiles, slide_vectors

DIM, TILES = 16, 40


def slides_of_mixtures() -> tuple[np.ndarray, Bags, np.ndarray]:
    """Slides with the same mean: of one kind of tiles, or of two that lie on either side of it."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    middle, aside = 5 * directions[0], 3 * directions[1]
    mixed = np.arange(12) % 2
    tiles = [middle + side * aside * m for m in mixed for side in [-1, 1] * (TILES // 2)]
    bags = Bags.of_rows([np.arange(TILES) + TILES * slide for slide in range(len(mixed))])
    return np.array(tiles, np.float32) + rng.normal(0, 0.05, (len(tiles), DIM)), bags, mixed


def test_words_tell_slides_apart_whose_means_are_alike():
    vectors, bags, mixed = slides_of_mixtures()
    means = slide_vectors(vectors, bags, "mean", seed=0)
    np.testing.assert_allclose(means, bags.means(vectors))
    assert np.abs(means[mixed == 1].mean(axis=0) - means[mixed == 0].mean(axis=0)).max() < 0.05
    words = slide_vectors(vectors, bags, "visual-words", seed=0)
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1, rtol=1e-6)
    alike = words @ words.T
    assert alike[mixed == 0][:, mixed == 0].min() > 0.5 > 1e-6 > alike[mixed == 0][:, mixed == 1].max()
    np.testing.assert_array_equal(words, slide_vectors(vectors, bags, "visual-words", seed=0))


def test_tiles_without_a_direction_are_of_no_word():
    vectors, bags, _ = slides_of_mixtures()
    vectors[:TILES], vectors[TILES] = 0, 0
    words = slide_vectors(vectors, bags, "visual-words", seed=0)
    assert not words[0].any() and np.linalg.norm(words[1]) == pytest.approx(1)


def test_what_cannot_be_encoded_is_refused_before_the_work():
    few = Bags.of_rows([np.arange(10), np.arange(10, 20)])
    require_tiles(few, "mean")
    with pytest.raises(ConfigError, match=r"has 20 tiles; visual-words .* needs 160 or more"):
        require_tiles(few, "visual-words")
    with pytest.raises(ConfigError, match="it goes with level 'slide'"):
        SelectConfig(encoder="visual-words")
