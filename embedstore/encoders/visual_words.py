"""A bag of visual words: which share of a slide's tiles is of each kind of tile that the collection has.

Sivic and Zisserman, Video Google: a text retrieval approach to object matching in videos, ICCV 2003, on tile vectors in
place of local descriptors. The words are centres of k-means (Lloyd 1982, started as by Arthur and Vassilvitskii 2007)
on the principal components of the tiles' directions; the square root of the shares makes small ones count.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from embedstore.config import as_record
from embedstore.encoder_config import VisualWordsConfig
from embedstore.encoders.encoder import Bag, SlideEncoder
from embedstore.errors import ConfigError, EncoderMismatchError, VectorError
from embedstore.search.tile_sample import directions, sample_tiles
from embedstore.store import Collection

#: Rounds of k-means; the centres mostly stop moving after 20 to 60.
ROUNDS = 100
#: Rows whose products are summed at once: 50 MB at 1,536 dimensions.
BLOCK_ROWS = 4096
#: Tiles for each word that a codebook is fitted on, at least.
FEWEST_TILES = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Codebook:
    """K words in d components of the directions of tiles.

    Attributes:
        centre: (dim,) mean direction.
        axes: (dim, d) principal axes.
        words: (K, d).
    """

    centre: NDArray[np.float32]
    axes: NDArray[np.float32]
    words: NDArray[np.float32]

    @classmethod
    def fit(cls, vectors: NDArray[np.float32], config: VisualWordsConfig) -> "Codebook":
        """Fit it to directions (n, dim) of tiles. The same tiles give the same codebook."""
        centre = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        products = np.zeros((len(centre), len(centre)))
        for start in range(0, len(vectors), BLOCK_ROWS):
            centred = (vectors[start : start + BLOCK_ROWS] - centre).astype(np.float64)
            products += centred.T @ centred
        spread, axes = np.linalg.eigh(products)
        axes = axes[:, ::-1][:, : min(config.components, int((spread > 1e-12 * spread[-1]).sum()))]
        axes *= np.sign(
            axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
        )  # of two directions always the same
        axes = axes.astype(np.float32)
        x = ((vectors - centre) @ axes).astype(np.float64)
        words = _centres(x, config.words, np.random.default_rng(config.seed))
        return cls(centre=centre, axes=axes, words=words.astype(np.float32))

    def nearest(self, vectors: NDArray[np.float32]) -> NDArray[np.intp]:
        """(n,) index of the word of each direction (n, dim)."""
        return _nearest((vectors - self.centre) @ self.axes, self.words)

    def counts(self, vectors: NDArray[np.floating]) -> NDArray[np.int64]:
        """(K,) how many of the vectors (n, dim) are of each word; those of length 0 are of none."""
        unit, _ = directions(vectors)
        return np.bincount(self.nearest(unit), minlength=len(self.words))

    def to_bytes(self) -> bytes:
        """safetensors."""
        return save({name: np.ascontiguousarray(getattr(self, name)) for name in self.__dataclass_fields__})

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Codebook":
        """A codebook from what `to_bytes` gave."""
        return cls(**load(stored))


def _nearest(x: NDArray[Any], centres: NDArray[Any]) -> NDArray[np.intp]:
    return np.asarray((x @ centres.T - 0.5 * (centres**2).sum(axis=1)).argmax(axis=1))


def _centres(x: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Centres of k-means on (n, d), at most so many: there are fewer where fewer rows differ."""
    chosen = [int(rng.integers(len(x)))]
    distance = ((x - x[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < count and distance.sum() > 1e-9:
        chosen.append(int(rng.choice(len(x), p=distance / distance.sum())))
        distance = np.minimum(distance, ((x - x[chosen[-1]]) ** 2).sum(axis=1))
    centres = x[chosen]
    nearest = _nearest(x, centres)
    for _ in range(ROUNDS):
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, x)
        size = np.bincount(nearest, minlength=len(centres))[:, None]
        centres = np.where(size > 0, sums / np.maximum(size, 1), centres)
        before, nearest = nearest, _nearest(x, centres)
        if (before == nearest).all():
            break
    return centres


def word_shares(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """A slide's vector, or (n, K) of several: the square roots of the shares of its words; 0 where it has none."""
    return np.sqrt(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)).astype(np.float32)


class VisualWordsEncoder(SlideEncoder):
    """The square roots of the shares of a slide's tiles that are of each word: a vector of length 1.

    Args:
        config: How the codebook is fitted, where there is none yet; the defaults when None.
    """

    name = "visual-words"
    source = "builtin:visual-words"

    def __init__(self, config: VisualWordsConfig | None = None):
        self._given, self._config = config, config or VisualWordsConfig()
        self._details: dict[str, Any] = {}

    def prepare(self, collection: Collection, fitted: bytes) -> tuple[str, ...]:
        self.codebook = Codebook.from_bytes(fitted) if fitted else self._fit(collection)
        words, dim = len(self.codebook.words), len(self.codebook.centre)
        if dim != collection.dim:
            raise EncoderMismatchError(
                f"the codebook is of vectors of {dim} values; collection {collection.name!r} has {collection.dim}"
            )
        if fitted and self._given is not None and self._given.words != words:
            raise EncoderMismatchError(
                f"the codebook that there is has {words} words; expected {self._given.words}; leave the settings out "
                "to encode by it, make all anew with --rebuild, or choose another --name"
            )
        self.digest = f"sha256:{hashlib.sha256(b'visual words 1' + self.codebook.to_bytes()).hexdigest()}"
        return ()

    def _fit(self, collection: Collection) -> Codebook:
        config = self._config
        sample = sample_tiles(collection, config.tiles, seed=config.seed)
        if len(sample) < FEWEST_TILES * config.words:
            raise ConfigError(
                f"collection {collection.name!r} has {len(sample):,} tile(s) with a direction; a codebook of "
                f"{config.words} words needs {FEWEST_TILES * config.words:,} or more; take fewer words, or the encoder "
                "mean"
            )
        of_sample = {"tiles": len(sample), "slides": sample.slides, "collection": collection.name}
        self._details = {"config": as_record(config), "codebook_of": of_sample}
        return Codebook.fit(sample.vectors, config)

    def open_bag(self, tiles: int) -> Bag:
        return _WordsBag(self.codebook)

    def parameters(self) -> bytes:
        return self.codebook.to_bytes()

    def details(self) -> dict[str, Any]:
        return self._details


class _WordsBag(Bag):
    """Counts tiles by word."""

    def __init__(self, codebook: Codebook):
        self._codebook = codebook
        self._count = np.zeros(len(codebook.words), np.int64)

    def add(self, vectors: NDArray[np.float16], xy_l0: NDArray[np.int32], edge_l0: int) -> None:
        self._count += self._codebook.counts(vectors)

    def finish(self) -> NDArray[np.float32]:
        if not self._count.any():
            raise VectorError("all vectors of its tiles are zero; expected one with a direction")
        return word_shares(self._count)
