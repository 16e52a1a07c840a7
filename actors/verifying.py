"""Whether vectors are those of the extractor that is said to have made them: a few tiles are embedded again."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.feature_reader import FeatureReader, FeatureSource
from actors.importing import ImportRequest
from embedstore.errors import ConfigError, EmbedStoreError, VerificationError
from embedstore.extractors import load_extractor
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.quantities import first_few
from embedstore.slides import Pixels, Slide, best_level, open_slide

#: Fewer tiles say nothing of how far different ones lie apart.
LEAST_TILES = 4
#: Distance of a tile from itself, as the tool embedded it, over that between different tiles: at the median, and of
#: one tile; so many tiles may be beyond. `docs/decisions/verify-import.md` has the measurements.
MOST_RELATIVE, MOST_OF_A_TILE, MOST_BEYOND = 0.25, 0.5, 0.1
#: Slides that are tried beyond those that are needed, where some cannot be read.
SPARE_SLIDES = 10


@dataclass(frozen=True, kw_only=True)
class VerifiedTile:
    """A tile that was embedded again.

    Attributes:
        slide_id: Its slide.
        x, y: Its corner, level-0 pixels.
        edge_l0: Its edge, level-0 pixels.
        cosine: Between the vector of the file and the one that was made now.
        relative: Their distance, 1 - cosine, over the median distance between different tiles that were made now.
    """

    slide_id: str
    x: int
    y: int
    edge_l0: int
    cosine: float
    relative: float


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What embedding tiles again has shown.

    Attributes:
        extractor: Name of the extractor.
        digest: Its digest.
        tiles: The tiles.
        passed_over: Why slides could not be used.
    """

    extractor: str
    digest: str
    tiles: tuple[VerifiedTile, ...]
    passed_over: tuple[str, ...] = ()

    @property
    def relative(self) -> float:
        """The median of the tiles' relative distances."""
        return float(np.median([tile.relative for tile in self.tiles]))

    @property
    def passed(self) -> bool:
        """Whether the vectors are this extractor's."""
        beyond = np.mean([tile.relative > MOST_OF_A_TILE for tile in self.tiles])
        return self.relative <= MOST_RELATIVE and bool(beyond <= MOST_BEYOND)

    def check(self) -> None:
        """Raise a VerificationError where the vectors are not this extractor's."""
        if self.passed:
            return
        worst = sorted(self.tiles, key=lambda tile: -tile.relative)[:3]
        examples = ", ".join(f"{tile.slide_id} at {tile.x},{tile.y} ({tile.cosine:.3f})" for tile in worst)
        raise VerificationError(
            f"the vectors are not those of {self.extractor}, or not of these slides and tiles: {self.verdict()}; the "
            f"worst are {examples}; nothing was written; look whether --extractor and --weights are what the tool ran, "
            "whether --tile-px and --mpp are right, and whether the tool normalised colours"
        )

    def verdict(self) -> str:
        """What the figures mean, a sentence."""
        cosines = [tile.cosine for tile in self.tiles]
        figures = (
            f"{len(self.tiles)} tiles of {len({tile.slide_id for tile in self.tiles})} slide(s) embedded again: cosine "
            f"{np.median(cosines):.4f} at the median, {min(cosines):.4f} at least; a tile differs from itself by "
            f"{self.relative:.3f} of what it differs from others at the median (at most {MOST_RELATIVE}), and "
            f"{sum(tile.relative > MOST_OF_A_TILE for tile in self.tiles)} by more than {MOST_OF_A_TILE}"
        )
        return f"{figures}: the vectors are those of {self.extractor}" if self.passed else figures

    def lines(self) -> list[str]:
        """A line a tile, and what follows."""
        tiles = [
            f"{tile.slide_id} at {tile.x},{tile.y}: cosine {tile.cosine:.4f}, relative distance {tile.relative:.3f}"
            for tile in self.tiles
        ]
        return [*tiles, *(f"not verified with {why}" for why in self.passed_over), self.verdict()]

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values, with the tiles."""
        return {
            **self.as_record(),
            "extractor": self.extractor,
            "digest": self.digest,
            "each": [asdict(tile) for tile in self.tiles],
            "passed_over": list(self.passed_over),
        }

    def as_record(self) -> dict[str, Any]:
        """As plain JSON values, without the tiles; it is stored with the collection."""
        cosines = [tile.cosine for tile in self.tiles]
        return {
            "tiles": len(self.tiles),
            "slides": len({tile.slide_id for tile in self.tiles}),
            "cosine": {"median": round(float(np.median(cosines)), 4), "lowest": round(min(cosines), 4)},
            "relative": round(self.relative, 4),
            "most_relative": MOST_RELATIVE,
        }


def verify(
    request: ImportRequest, tiles: int, *, device: str = "auto", on_progress: OnProgress = no_progress
) -> Verification:
    """Embed tiles again, and compare them with the vectors of the files.

    Tiles are chosen at random, of as many slides as there are tiles if so many have a file. Those that cross the edge
    of a slide are left out: beyond it, one tool sees black, and another white. Two tools resize and decode otherwise,
    so that vectors differ a little; how much that may be is measured by how far different tiles lie apart, since
    networks differ in how wide they spread.

    Args:
        request: The import, with an extractor whose weights are at hand.
        tiles: Number of tiles.
        device: Device to load the extractor on.
    Raises:
        ConfigError: the extractor's weights are not given, or there are too few tiles.
        VerificationError: no slide can be used.
    """
    if request.loaded is None:
        raise ConfigError(
            "--verify embeds tiles again, which needs the extractor; give --extractor and --weights FILE, or --weights "
            "published"
        )
    if tiles < LEAST_TILES:
        raise ConfigError(f"--verify {tiles}; expected {LEAST_TILES} tiles or more")
    extractor = load_extractor(request.loaded, device=device)
    samples, passed_over = _samples(request, tiles, extractor.tile_px, on_progress)
    if len(samples) < LEAST_TILES:
        raise VerificationError(
            f"{len(samples)} tile(s) could be read of the {tiles} that were to be embedded again"
            f"{': ' + first_few(passed_over) if passed_over else ''}; give the slides with --slides, or leave "
            "--verify out"
        )
    pixels = np.stack([sample.pixels for sample in samples])
    size = extractor.batch_tiles
    fresh = np.concatenate([extractor.embed(pixels[start : start + size]) for start in range(0, len(pixels), size)])
    cosine, relative = compare(np.stack([sample.vector for sample in samples]), fresh)
    return Verification(
        extractor=extractor.name,
        digest=extractor.digest,
        tiles=tuple(
            VerifiedTile(
                slide_id=sample.slide_id,
                x=sample.xy_l0[0],
                y=sample.xy_l0[1],
                edge_l0=sample.edge_l0,
                cosine=round(float(own), 6),
                relative=round(float(share), 6),
            )
            for sample, own, share in zip(samples, cosine, relative, strict=True)
        ),
        passed_over=tuple(passed_over),
    )


def compare(stored: NDArray[np.floating], fresh: NDArray[np.floating]) -> tuple[NDArray, NDArray]:
    """How far vectors lie apart that should be the same.

    Args:
        stored, fresh: (n, dim), a row a tile.
    Returns:
        (n,) cosines, and (n,) distances as shares of the median distance between different rows of `fresh`.
    """
    ours, theirs = _unit(fresh), _unit(stored)
    between = 1 - ours @ ours.T
    usual = float(np.median(between[~np.eye(len(ours), dtype=bool)]))
    cosine = np.einsum("ij,ij->i", ours, theirs)
    return cosine, (1 - cosine) / max(usual, np.finfo(np.float32).eps)


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    rows = np.nan_to_num(np.asarray(vectors, np.float64))
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sample:
    """A tile: its pixels as ingest would cut them, and its vector as the files have it."""

    slide_id: str
    xy_l0: tuple[int, int]
    edge_l0: int
    pixels: Pixels
    vector: NDArray[np.floating]


def _samples(
    request: ImportRequest, tiles: int, tile_px: int, on_progress: OnProgress
) -> tuple[list[_Sample], list[str]]:
    """Tiles of slides in a random order, the same in every run, and why slides were passed over."""
    rng = np.random.default_rng(0)
    sources = [source for source in request.sources if source.path]
    if not sources:
        return [], ["no slide has a file here"]
    order = [sources[i] for i in rng.permutation(len(sources))]
    each = -(-tiles // min(tiles, len(order)))
    samples, passed_over = list[_Sample](), list[str]()
    for source in order:
        if len(samples) >= tiles or len(passed_over) > SPARE_SLIDES:
            break
        on_progress(Progress(stage="verify", done=len(samples), total=tiles, unit="tiles"))
        try:
            samples += _of_slide(request, source, min(each, tiles - len(samples)), tile_px, rng)
        except (EmbedStoreError, OSError) as error:
            passed_over.append(f"{source.slide_id}: {error}")
    return samples, passed_over


def _of_slide(
    request: ImportRequest, source: FeatureSource, tiles: int, tile_px: int, rng: np.random.Generator
) -> list[_Sample]:
    reader = FeatureReader(request.config, request.wanted)
    planned = reader.plan(source)
    plan = planned.plan
    if plan.names is not None:
        raise VerificationError("its tiles have no places")
    edges = np.full(len(plan), plan.edge_l0) if plan.edges_l0 is None else plan.edges_l0
    reader.open("verify", planned)
    try:
        with open_slide(source.path) as slide:
            ends = plan.xy_l0 + edges[:, None]
            inside = np.flatnonzero(((plan.xy_l0 >= 0) & (ends <= slide.size_l0)).all(axis=1))
            if not len(inside):
                raise VerificationError("all its tiles cross its edge, beyond which tools see different colours")
            return [
                _Sample(
                    slide_id=source.slide_id,
                    xy_l0=(int(plan.xy_l0[i, 0]), int(plan.xy_l0[i, 1])),
                    edge_l0=int(edges[i]),
                    pixels=_cut(slide, (int(plan.xy_l0[i, 0]), int(plan.xy_l0[i, 1])), int(edges[i]), tile_px),
                    vector=reader.read("verify", int(i), int(i) + 1)[1][0],
                )
                for i in np.sort(rng.choice(inside, size=min(tiles, len(inside)), replace=False))
            ]
    finally:
        reader.close("verify")


def _cut(slide: Slide, xy_l0: tuple[int, int], edge_l0: int, tile_px: int) -> Pixels:
    """A tile as ingest cuts it: from the coarsest level that is fine enough."""
    level = best_level(slide.level_downsamples, mpp=1.0, target_mpp=edge_l0 / tile_px)
    pixels = np.empty((tile_px, tile_px, 3), np.uint8)
    slide.read_square(xy_l0, level, edge_l0=edge_l0, out=pixels)
    return pixels
