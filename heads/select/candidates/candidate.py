"""Which tiles each candidate is to be given, and what it is called among the others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

from embedstore.config import TilingConfig
from embedstore.errors import ConfigError
from embedstore.extractors import ExtractorConfig, ExtractorDescription, describe_extractor
from heads.select.candidates.embeddings import FailedCandidate


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A candidate that could be described.

    Attributes:
        config: As it was asked for.
        loaded: The same with the tiles that it is given: what is loaded.
        name: Its own among the candidates.
        tile_px, mpp: Tiles that it is given: edge in pixels, and their resolution, µm/px.
    """

    config: ExtractorConfig
    loaded: ExtractorConfig
    name: str
    tile_px: int
    mpp: float


def plan_candidates(
    configs: Sequence[ExtractorConfig],
    stored: TilingConfig,
    *,
    tile_px: int | None,
    mpp: float | None,
    ready_made: bool,
) -> list[Candidate | FailedCandidate]:
    """Describe each candidate and decide on its tiles, in their order; one that cannot be described is not tried.

    A candidate's tiles are what is asked for all, else its own, else the collection's.

    Args:
        stored: The tiling of the collection.
        tile_px, mpp: Asked for all candidates, checked by the caller; None leaves each its own.
        ready_made: Every tile of the sample is an image of its own, of which nothing else can be cut: candidates are
            given what the collection was made with.
    """
    planned = [_plan(config, stored, tile_px=tile_px, mpp=mpp, ready_made=ready_made) for config in configs]
    return [replace(one, name=name) for one, name in zip(planned, _own_names(planned), strict=True)]


def reason(error: BaseException) -> str:
    """An error's class and message in one line."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _plan(
    config: ExtractorConfig, stored: TilingConfig, *, tile_px: int | None, mpp: float | None, ready_made: bool
) -> Candidate | FailedCandidate:
    asked = tile_px or config.tile_px or (stored.tile_px if ready_made else None)
    try:
        loaded, described = _described(config, stored)
        if asked is not None and described.tile_px != asked:  # one that takes these is not told so: it may be fixed
            own, loaded = loaded, replace(loaded, tile_px=asked)
            described = describe_extractor(loaded)
            if tile_px is None and described.tile_px != asked:  # one that takes no other: tiles are resized to it
                loaded = own
        resolution = mpp or (stored.mpp if ready_made else described.mpp or stored.mpp)
    except Exception as error:  # a user's own function may raise anything
        return FailedCandidate(config=config, name=config.name or _short(config.ref), error=reason(error))
    return Candidate(
        config=config, loaded=loaded, name=described.name, tile_px=described.tile_px, mpp=float(resolution)
    )


def _described(config: ExtractorConfig, stored: TilingConfig) -> tuple[ExtractorConfig, ExtractorDescription]:
    """An extractor's facts; one that does not say which tiles it takes is given the collection's."""
    try:
        return config, describe_extractor(config)
    except ConfigError:
        if config.tile_px is not None:
            raise
        config = replace(config, tile_px=stored.tile_px)
        return config, describe_extractor(config)


def _short(ref: str) -> str:
    """A reference without the folder of a user's file."""
    file, _, function = ref.rpartition(":")
    return f"{Path(file).name}:{function}" if file.endswith(".py") else ref


def _own_names(planned: Sequence[Candidate | FailedCandidate]) -> list[str]:
    """A name for each that no other has: candidates of one name are told apart by weights, by tiles, else numbered."""
    names = [one.name for one in planned]
    for tag in (_weights, _tiles):
        for name in set(names):
            tags = {i: tag(planned[i]) for i, other in enumerate(names) if other == name}
            if len(set(tags.values())) > 1:
                for i, differs in tags.items():
                    names[i] = f"{name}-{differs}" if differs else name
    own: list[str] = []
    for name in names:
        numbered = (f"{name}-{number}" for number in count(2))
        own.append(next(free for free in chain([name], numbered) if free not in own))
    return own


def _weights(one: Candidate | FailedCandidate) -> str:
    weights = one.config.weights or ""
    return weights.replace(":", "-") if one.config.random_seed is not None else Path(weights).stem


def _tiles(one: Candidate | FailedCandidate) -> str:
    return f"{one.tile_px}px-{one.mpp:g}mpp" if isinstance(one, Candidate) else ""
