"""Describe each candidate: the tiles that it is given, and its unique name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from embedstore.config import TilingConfig
from embedstore.errors import ConfigError
from embedstore.extractors import ExtractorConfig, ExtractorDescription, describe_extractor
from heads.select.candidates.embeddings import FailedCandidate


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateRequest:
    """Which candidates embed a sample, and how.

    Attributes:
        candidates: The extractors to try.
        tile_px, mpp: Tiles for all candidates, pixels and µm/px. Where None each candidate has its own; the
            collection's are used if it states none, or if all tiles are ready-made images, from which no other tile can
            be cut.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        perturbations: Parameters of `apply_view` by name: perturbations after which tiles are embedded once more.
    """

    candidates: Sequence[ExtractorConfig]
    tile_px: int | None = None
    mpp: float | None = None
    device: str = "auto"
    perturbations: Mapping[str, NDArray[np.float32]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A candidate whose tiles and name are known.

    Attributes:
        config: As it was requested.
        loaded: The configuration that is loaded: the same with its tiles.
        name: Unique among the candidates.
        tile_px, mpp: The tiles that it is given: edge in pixels, and resolution in µm/px.
    """

    config: ExtractorConfig
    loaded: ExtractorConfig
    name: str
    tile_px: int
    mpp: float


def describe_candidates(
    request: CandidateRequest, stored: TilingConfig, *, ready_made: bool
) -> list[Candidate | FailedCandidate]:
    """Describe each candidate, choose its tiles and name it, in the order of the request.

    Args:
        stored: The tiling of the collection.
        ready_made: Every tile of the sample is an image of its own.
    """
    candidates = [_describe(config, request, stored, ready_made=ready_made) for config in request.candidates]
    names = _unique_names(candidates)
    return [replace(candidate, name=name) for candidate, name in zip(candidates, names, strict=True)]


def error_line(error: BaseException) -> str:
    """An error's class and message in one line."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _describe(
    config: ExtractorConfig, request: CandidateRequest, stored: TilingConfig, *, ready_made: bool
) -> Candidate | FailedCandidate:
    tile_px = request.tile_px or config.tile_px or (stored.tile_px if ready_made else None)
    try:
        loaded, description = _description(config, stored)
        if tile_px is not None and description.tile_px != tile_px:
            # Only then is tile_px set: an extractor of fixed tiles refuses to be given any, even its own size.
            original, loaded = loaded, replace(loaded, tile_px=tile_px)
            description = describe_extractor(loaded)
            if request.tile_px is None and description.tile_px != tile_px:
                loaded = original  # it takes no other tiles: the collection's are resized to its own
        mpp = request.mpp or (stored.mpp if ready_made else description.mpp or stored.mpp)
    except Exception as error:  # a user's own function may raise anything
        return FailedCandidate(config=config, name=config.name or _short_ref(config.ref), error=error_line(error))
    return Candidate(config=config, loaded=loaded, name=description.name, tile_px=description.tile_px, mpp=float(mpp))


def _description(config: ExtractorConfig, stored: TilingConfig) -> tuple[ExtractorConfig, ExtractorDescription]:
    """An extractor's description; one that does not state its tiles is given the collection's."""
    try:
        return config, describe_extractor(config)
    except ConfigError:
        if config.tile_px is not None:
            raise
        config = replace(config, tile_px=stored.tile_px)
        return config, describe_extractor(config)


def _short_ref(ref: str) -> str:
    """A reference without the folder of a user's file."""
    file, _, function = ref.rpartition(":")
    return f"{Path(file).name}:{function}" if file.endswith(".py") else ref


def _unique_names(candidates: Sequence[Candidate | FailedCandidate]) -> list[str]:
    """Names; where several are equal with their weights behind, or their tiles, or a number."""
    names = [candidate.name for candidate in candidates]
    for tag_of in (_weights_tag, _tiles_tag):
        for name in set(names):
            tags = {i: tag_of(candidates[i]) for i, other in enumerate(names) if other == name}
            if len(set(tags.values())) > 1:
                for i, tag in tags.items():
                    names[i] = f"{name}-{tag}" if tag else name
    unique: list[str] = []
    for name in names:
        numbered = (f"{name}-{number}" for number in count(2))
        unique.append(next(free for free in chain([name], numbered) if free not in unique))
    return unique


def _weights_tag(candidate: Candidate | FailedCandidate) -> str:
    weights = candidate.config.weights or ""
    return weights.replace(":", "-") if candidate.config.random_seed is not None else Path(weights).stem


def _tiles_tag(candidate: Candidate | FailedCandidate) -> str:
    return f"{candidate.tile_px}px-{candidate.mpp:g}mpp" if isinstance(candidate, Candidate) else ""
