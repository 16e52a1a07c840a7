"""A sample of a collection's tiles through every candidate for an extractor."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.config import TilingConfig
from embedstore.errors import CandidatesError
from embedstore.extractors import check_device, release_memory
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.store import Collection, Store, TileLocation
from heads.select.candidates.candidate import Candidate, CandidateRequest, describe_candidates, error_line
from heads.select.candidates.embed_candidate import embed_candidate
from heads.select.candidates.embeddings import CandidateEmbeddings, FailedCandidate, SampleEmbeddings
from heads.select.candidates.sample_pixels import SamplePixels, TileSpec, read_sample


def embed_sample(
    store: Store,
    collection: Collection,
    tiles: Sequence[TileLocation],
    request: CandidateRequest,
    *,
    perturbed_rows: NDArray[np.intp],
    scratch: Path,
    on_progress: OnProgress = no_progress,
) -> SampleEmbeddings:
    """Embed the places of stored tiles with each candidate, in one pass over the pixels.

    Each slide is opened once, and each place is read once for every kind of tile that candidates take, around the
    stored tile's centre, since labels belong to places. Then candidates are loaded, run and released one after the
    other: several large networks do not fit on one device together.

    Args:
        tiles: The sample, of the collection.
        perturbed_rows: (m,) positions in `tiles` of those that are embedded again after each perturbation.
        scratch: A folder for the pixels; the caller removes it. 2,000 tiles of 224 px take 0.3 GB for each kind of
            tile.
    Returns:
        The embeddings. A candidate that fails, and the tiles of a slide that cannot be opened, are left out.
    Raises:
        CandidatesError: there is no candidate, or all of them failed.
        DeviceError: the requested device does not exist.
        ConfigError: the requested tiles are not valid, or `scratch` has no room.
        SlideNotFoundError, RegionReadError and other SlideErrors: not one tile of the sample can be read.
    """
    check_device(request.device)
    stored = collection.tiling()
    TilingConfig(tile_px=request.tile_px or stored.tile_px, mpp=request.mpp or stored.mpp)  # raises where not valid
    candidates = describe_candidates(request, stored, ready_made=all(not tile.edge_l0 for tile in tiles))
    _require_success(candidates)
    specs = list(dict.fromkeys(_tile_spec(each) for each in candidates if isinstance(each, Candidate)))
    slides = len({tile.slide_id for tile in tiles})
    on_progress(
        Progress(stage="read", message=f"read {len(tiles):,} tiles of {slides:,} slide(s) at {len(specs)} tiling(s)")
    )
    start = time.perf_counter()
    sample = read_sample(store, collection, tiles, specs, scratch=scratch, on_progress=on_progress)
    read_s = time.perf_counter() - start
    if sample.pixels and not sample.readable.any():
        raise sample.first_error()
    results: list[CandidateEmbeddings | FailedCandidate] = []
    for candidate in candidates:
        results.append(_embed_or_fail(candidate, sample, request, perturbed_rows))
        release_memory()
        on_progress(_progress(results, len(candidates)))
    _require_success(results)
    embedded = tuple(result for result in results if isinstance(result, CandidateEmbeddings))
    failed = tuple(result for result in results if isinstance(result, FailedCandidate))
    notes = (*sample.notes(tiles), *_duplicates(embedded))
    return SampleEmbeddings(readable=sample.readable, embedded=embedded, failed=failed, read_s=read_s, notes=notes)


def _tile_spec(candidate: Candidate) -> TileSpec:
    return TileSpec(candidate.tile_px, candidate.mpp)


def _embed_or_fail(
    candidate: Candidate | FailedCandidate,
    sample: SamplePixels,
    request: CandidateRequest,
    perturbed_rows: NDArray[np.intp],
) -> CandidateEmbeddings | FailedCandidate:
    if isinstance(candidate, FailedCandidate):
        return candidate
    spec = _tile_spec(candidate)
    try:
        if spec in sample.too_coarse:
            raise sample.too_coarse[spec]
        pixels = sample.pixels[spec]
        return embed_candidate(candidate, pixels, sample.readable, request, perturbed_rows=perturbed_rows)
    except Exception as error:  # a user's own function may raise anything, and torch does when memory is short
        return FailedCandidate(config=candidate.config, name=candidate.name, error=error_line(error))


def _require_success(results: Sequence[CandidateEmbeddings | Candidate | FailedCandidate]) -> None:
    """Raise where all candidates have failed, or there is none."""
    failed = [result for result in results if isinstance(result, FailedCandidate)]
    if not results:
        raise CandidatesError("no candidate was given; `embedstore extractors` lists those of the catalogue")
    if len(failed) == len(results):
        reasons = "; ".join(f"{candidate.name}: {candidate.error}" for candidate in failed)
        raise CandidatesError(f"none of the {len(failed)} candidate(s) could be run: {reasons}")


def _progress(results: Sequence[CandidateEmbeddings | FailedCandidate], total: int) -> Progress:
    """The progress after the last of some results."""
    last, done = results[-1], len(results)
    outcome = (
        f"{last.name} failed: {last.error}"
        if isinstance(last, FailedCandidate)
        else f"{last.name}, {last.tiles_per_s:,.0f} tiles/s on {last.device}"
    )
    return Progress(stage="embed", message=f"{done} of {total}: {outcome}", done=done, total=total, unit="candidates")


def _duplicates(embedded: Sequence[CandidateEmbeddings]) -> list[str]:
    """A note for candidates that are one extractor under several names."""
    names: dict[tuple[str, int, float], list[str]] = {}
    for candidate in embedded:
        names.setdefault((candidate.digest, candidate.tile_px, candidate.mpp), []).append(candidate.name)
    return [f"{' and '.join(same)} are the same extractor, by their digest" for same in names.values() if len(same) > 1]
