"""A sample of a collection's tiles through every candidate for an extractor."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.config import TilingConfig
from embedstore.errors import CandidatesError
from embedstore.extractors import ExtractorConfig, check_device, release_memory
from embedstore.store import Collection, Store
from heads.select.candidates.candidate import Candidate, plan_candidates, reason
from heads.select.candidates.embed_candidate import PERTURBATIONS, run_candidate
from heads.select.candidates.embeddings import CandidateEmbeddings, FailedCandidate, SampleEmbeddings
from heads.select.candidates.sample_pixels import SamplePixels, TileSpec, read_sample


def embed_sample(
    store: Store,
    collection: Collection,
    rows: Sequence[Mapping[str, Any]],
    candidates: Sequence[ExtractorConfig],
    *,
    changes: Mapping[str, NDArray[np.float32]] = PERTURBATIONS,
    changed_rows: NDArray[np.intp] | None = None,
    tile_px: int | None = None,
    mpp: float | None = None,
    device: str = "auto",
    scratch: Path,
    tell: Callable[[str], None] = lambda text: None,
) -> SampleEmbeddings:
    """Embed the places of stored tiles with each candidate, in one pass over the pixels.

    Each slide is opened once, and each place read once for every tiling that candidates want, around the stored
    tile's centre, since labels belong to places. Then one candidate after the other is loaded, runs, and is let go:
    several large networks do not fit on one device together.

    Args:
        rows: Rows of the collection, with at least slide_id, x, y, edge_l0 and name.
        candidates: Extractors to try, whatever they were made for.
        changes: Parameters of `apply_view` by name: changes after which tiles are embedded once more.
        changed_rows: (m,) positions in `rows` of the tiles that are changed; all when None.
        tile_px, mpp: Tiles for all candidates, pixels and µm/px; each candidate's own when None, and the collection's
            where it does not say or where all tiles are images of their own, from which no other tile can be cut.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        scratch: A folder for the pixels; the caller removes it. 2,000 tiles of 224 px take 0.3 GB for each tiling.
        tell: Hears what is being done.
    Returns:
        The embeddings. A candidate that fails costs itself, a slide that is lost its tiles.
    Raises:
        CandidatesError: there is no candidate, or not one could be tried.
        DeviceError: the asked device is not there.
        ConfigError: tiles that cannot be, or `scratch` has no room.
        SlideNotFoundError, RegionReadError and other SlideErrors: not one tile of the sample can be read.
    """
    check_device(device)
    stored = TilingConfig(**collection.record()["tiling"])
    TilingConfig(tile_px=tile_px or stored.tile_px, mpp=mpp or stored.mpp)  # checks what is asked
    ready_made = all(not row["edge_l0"] for row in rows)
    planned = plan_candidates(candidates, stored, tile_px=tile_px, mpp=mpp, ready_made=ready_made)
    _require_one(planned)
    wanted = list(dict.fromkeys(_tiles(one) for one in planned if isinstance(one, Candidate)))
    slides = len({row["slide_id"] for row in rows})
    tell(f"read {len(rows):,} tiles of {slides:,} slide(s) at {len(wanted)} tiling(s)")
    began = time.perf_counter()
    sample = read_sample(store, collection, rows, wanted, scratch=scratch)
    read_s = time.perf_counter() - began
    if sample.pixels and not sample.readable.any():
        raise sample.first_error()
    if changed_rows is None:
        changed_rows = np.arange(len(rows))
    results: list[CandidateEmbeddings | FailedCandidate] = []
    for one in planned:
        results.append(_try(one, sample, changes, changed_rows, device))
        release_memory()
        tell(_told(results[-1], len(results), len(planned)))
    failed = tuple(result for result in results if isinstance(result, FailedCandidate))
    _require_one(results)
    embedded = tuple(result for result in results if isinstance(result, CandidateEmbeddings))
    notes = (*sample.notes(rows), *_twins(embedded))
    return SampleEmbeddings(readable=sample.readable, embedded=embedded, failed=failed, read_s=read_s, notes=notes)


def _tiles(one: Candidate) -> TileSpec:
    return TileSpec(one.tile_px, one.mpp)


def _try(
    one: Candidate | FailedCandidate,
    sample: SamplePixels,
    changes: Mapping[str, NDArray[np.float32]],
    changed_rows: NDArray[np.intp],
    device: str,
) -> CandidateEmbeddings | FailedCandidate:
    if isinstance(one, FailedCandidate):
        return one
    if (coarse := sample.too_coarse.get(_tiles(one))) is not None:
        return FailedCandidate(config=one.config, name=one.name, error=reason(coarse))
    pixels = sample.pixels[_tiles(one)]
    try:
        return run_candidate(one, pixels, sample.readable, changes=changes, changed_rows=changed_rows, device=device)
    except Exception as error:  # a user's own function may raise anything, and torch does when memory is short
        return FailedCandidate(config=one.config, name=one.name, error=reason(error))


def _require_one(results: Sequence[CandidateEmbeddings | Candidate | FailedCandidate]) -> None:
    failed = [result for result in results if isinstance(result, FailedCandidate)]
    if not results:
        raise CandidatesError("no candidate was given; `embedstore extractors` lists those of the catalogue")
    if len(failed) == len(results):
        reasons = "; ".join(f"{one.name}: {one.error}" for one in failed)
        raise CandidatesError(f"not one of {len(failed)} candidate(s) could be tried: {reasons}")


def _told(result: CandidateEmbeddings | FailedCandidate, number: int, count: int) -> str:
    if isinstance(result, FailedCandidate):
        return f"{number} of {count}: {result.name} cannot be tried: {result.error}"
    return f"{number} of {count}: {result.name}, {result.tiles_per_s:,.0f} tiles/s on {result.device}"


def _twins(embedded: Sequence[CandidateEmbeddings]) -> list[str]:
    """Candidates that are one extractor under two names."""
    names: dict[tuple[str, int, float], list[str]] = {}
    for one in embedded:
        names.setdefault((one.digest, one.tile_px, one.mpp), []).append(one.name)
    return [f"{' and '.join(same)} are the same extractor, by their digest" for same in names.values() if len(same) > 1]
