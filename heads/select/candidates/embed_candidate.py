"""Load one candidate and embed the sample with it."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ExtractorError
from embedstore.extractors import BatchStream, Extractor, load_extractor
from embedstore.slides import Pixels
from embedstore.views import PARAMETERS, apply_view, unchanged
from heads.select.candidates.candidate import Candidate
from heads.select.candidates.embeddings import CandidateEmbeddings


def _change(**values: float) -> NDArray[np.float32]:
    parameters = unchanged()
    for name, value in values.items():
        parameters[PARAMETERS.index(name)] = value
    parameters.flags.writeable = False
    return parameters


#: Parameters of `apply_view` by name: stains of another laboratory (15 % more haematoxylin, 15 % less eosin), a slide
#: out of focus by 1.5 pixels of the tile, a scanner that saves space (JPEG of quality 30), a slide turned by a quarter.
PERTURBATIONS: Mapping[str, NDArray[np.float32]] = MappingProxyType(
    {
        "stain": _change(haematoxylin_gain=0.15, eosin_gain=-0.15),
        "blur": _change(blur=1.5),
        "jpeg": _change(jpeg=70),
        "rotation": _change(turns=1),
    }
)

TileLocations = NDArray[np.intp]


def run_candidate(
    candidate: Candidate,
    pixels: Pixels,
    readable: NDArray[np.bool_],
    *,
    changes: Mapping[str, NDArray[np.float32]],
    changed_rows: TileLocations,
    device: str = "auto",
) -> CandidateEmbeddings:
    """Embed the readable tiles, and those at `changed_rows` after each change; whatever goes wrong is raised.

    Args:
        pixels: (n, tile_px, tile_px, 3), of the candidate's tiling.
        readable: (n,).
        changes: Parameters of `apply_view` by name.
        changed_rows: (m,) positions in `pixels`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
    """
    extractor = load_extractor(candidate.loaded, device=device)
    batch, places = extractor.batch_tiles, np.flatnonzero(readable)
    # A first batch is not counted: kernels are chosen and memory is taken in it.
    _embed(extractor, pixels.__getitem__, places[:batch])
    began = time.perf_counter()
    vectors = np.zeros((len(pixels), extractor.dim), np.float16)
    vectors[places] = _embed(extractor, pixels.__getitem__, places)
    seconds = time.perf_counter() - began
    changed = {}
    for name, parameters in changes.items():

        def altered(some: TileLocations, parameters: NDArray[np.float32] = parameters) -> Pixels:
            return np.stack([apply_view(pixels[i], parameters) for i in some])

        at = np.flatnonzero(readable[changed_rows])
        changed[name] = np.zeros((len(changed_rows), extractor.dim), np.float16)
        changed[name][at] = _embed(extractor, altered, changed_rows[at])
    return CandidateEmbeddings(
        config=candidate.config,
        name=candidate.name,
        digest=extractor.digest,
        dim=extractor.dim,
        tile_px=candidate.tile_px,
        mpp=candidate.mpp,
        vectors=vectors,
        changed=changed,
        tiles_per_s=-(-len(places) // batch) * batch / seconds,  # the last batch is padded, and takes as long
        device=extractor.device,
    )


def _embed(
    extractor: Extractor, tiles: Callable[[TileLocations], Pixels], places: TileLocations
) -> NDArray[np.float16]:
    """(len(places), dim) of what `tiles` gives for some of the places, a batch at a time."""
    stream = BatchStream(extractor)
    size = stream.batch_tiles
    parts = [stream.push(tiles(places[start : start + size])) for start in range(0, len(places), size)]
    parts.append(stream.flush())
    for part in parts:
        if part.shape[1:] != (extractor.dim,):
            raise ExtractorError(
                f"extractor {extractor.name!r} gives embeddings of shape {part.shape[1:]}; it states ({extractor.dim},)"
            )
    vectors = np.concatenate(parts)
    if len(vectors) != len(places):
        raise ExtractorError(f"extractor {extractor.name!r} gave {len(vectors)} embeddings for {len(places)} tiles")
    return vectors
