"""Load one candidate and embed the sample with it, as it is and perturbed."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ExtractorError
from embedstore.extractors import BatchStream, Extractor, load_extractor
from embedstore.slides import Pixels
from embedstore.views import PARAMETERS, unchanged
from embedstore.views.apply import apply_view
from heads.select.candidates.candidate import Candidate, CandidateRequest
from heads.select.candidates.embeddings import CandidateEmbeddings

SampleRows = NDArray[np.intp]  # positions in the sample


def _view_parameters(**values: float) -> NDArray[np.float32]:
    parameters = unchanged()
    for name, value in values.items():
        parameters[PARAMETERS.index(name)] = value
    parameters.flags.writeable = False
    return parameters


#: Perturbations that leave what a tile shows as it was, so that an extractor should hardly notice them: stains of
#: another laboratory (15 % more haematoxylin, 15 % less eosin), a slide out of focus by 1.5 pixels of the tile, a
#: scanner that saves space (JPEG of quality 30), a slide rotated by a quarter. Parameters of `apply_view`.
PERTURBATIONS: Mapping[str, NDArray[np.float32]] = MappingProxyType(
    {
        "stain": _view_parameters(haematoxylin_gain=0.15, eosin_gain=-0.15),
        "blur": _view_parameters(blur=1.5),
        "jpeg": _view_parameters(jpeg=70),
        "rotation": _view_parameters(turns=1),
    }
)


def embed_candidate(
    candidate: Candidate,
    pixels: Pixels,
    readable: NDArray[np.bool_],
    request: CandidateRequest,
    *,
    perturbed_rows: SampleRows,
) -> CandidateEmbeddings:
    """Embed the readable tiles, and those at `perturbed_rows` after each perturbation; raises whatever goes wrong.

    Args:
        pixels: (n, tile_px, tile_px, 3), of the candidate's tiles.
        readable: (n,).
        request: Only its device and perturbations are used.
        perturbed_rows: (m,) positions in `pixels`.
    """
    extractor = load_extractor(candidate.loaded, device=request.device)
    batch, rows = extractor.batch_tiles, np.flatnonzero(readable)
    # The first batch is not timed: kernels are chosen and memory is allocated in it.
    _embed(extractor, pixels.__getitem__, rows[:batch])
    start = time.perf_counter()
    vectors = np.zeros((len(pixels), extractor.dim), np.float16)
    vectors[rows] = _embed(extractor, pixels.__getitem__, rows)
    seconds = time.perf_counter() - start
    perturbed = {}
    at = np.flatnonzero(readable[perturbed_rows])
    for name, parameters in request.perturbations.items():

        def perturbed_tiles(rows: SampleRows, parameters: NDArray[np.float32] = parameters) -> Pixels:
            return np.stack([apply_view(pixels[i], parameters) for i in rows])

        perturbed[name] = np.zeros((len(perturbed_rows), extractor.dim), np.float16)
        perturbed[name][at] = _embed(extractor, perturbed_tiles, perturbed_rows[at])
    return CandidateEmbeddings(
        config=candidate.config,
        name=candidate.name,
        digest=extractor.digest,
        dim=extractor.dim,
        tile_px=candidate.tile_px,
        mpp=candidate.mpp,
        vectors=vectors,
        perturbed=perturbed,
        tiles_per_s=-(-len(rows) // batch) * batch / seconds,  # the last batch is padded, and takes as long
        device=extractor.device,
    )


def _embed(extractor: Extractor, tiles: Callable[[SampleRows], Pixels], rows: SampleRows) -> NDArray[np.float16]:
    """(len(rows), dim): embeddings of what `tiles` returns for the rows, a batch at a time."""
    stream = BatchStream(extractor)
    size = stream.batch_tiles
    parts = [stream.push(tiles(rows[start : start + size])) for start in range(0, len(rows), size)]
    parts.append(stream.flush())
    for part in parts:
        if part.shape[1:] != (extractor.dim,):
            raise ExtractorError(
                f"extractor {extractor.name!r} gives embeddings of shape {part.shape[1:]}; it states ({extractor.dim},)"
            )
    vectors = np.concatenate(parts)
    if len(vectors) != len(rows):
        raise ExtractorError(f"extractor {extractor.name!r} gave {len(vectors)} embeddings for {len(rows)} tiles")
    return vectors
