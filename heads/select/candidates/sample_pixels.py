"""The pixels of a sample, for every kind of tile that candidates take: each slide is opened once."""

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedstore.config import TilingConfig
from embedstore.errors import ConfigError, RegionReadError, ResolutionError, SlideError, SlideNotFoundError
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.quantities import first_few
from embedstore.slides import Pixels, check_fine_enough, open_slide
from embedstore.store import Collection, Store, TileLocation
from embedstore.uris import exists_or_remote
from heads.select.candidates.recut import ImageReader, SquareReader, TileReader

#: Slides that are read at a time: decoders release Python's lock.
READER_THREADS = min(8, os.cpu_count() or 1)
#: Slides that a note names; the others are only counted.
NAMED_SLIDES = 3


class TileSpec(NamedTuple):
    """The tiles that a candidate is given: edge in pixels, and resolution in µm/px."""

    tile_px: int
    mpp: float


@dataclass(kw_only=True, eq=False)
class SamplePixels:
    """The pixels of a sample.

    Attributes:
        pixels: For each kind of tile (n, tile_px, tile_px, 3) uint8, kept in a file; undefined where a tile is not
            readable.
        readable: (n,) bool; true where the tile could be read in every kind.
        too_coarse: Kinds of tile that some slide of the sample is too coarse for, with the error.
        missing: Slides that could not be opened, with the error.
        damaged: Slides with a tile that could not be read, with the first error.
    """

    pixels: dict[TileSpec, Pixels]
    readable: NDArray[np.bool_]
    too_coarse: dict[TileSpec, ResolutionError] = field(default_factory=dict)
    missing: dict[str, SlideError] = field(default_factory=dict)
    damaged: dict[str, RegionReadError] = field(default_factory=dict)

    def first_error(self) -> SlideError:
        """Why a tile of the sample is not readable."""
        return next(iter([*self.missing.values(), *self.damaged.values()]))

    def notes(self, tiles: Sequence[TileLocation]) -> list[str]:
        """What a user should know of tiles that are left out."""
        notes, total = [], f"of {len(tiles):,} tiles"
        if self.missing:
            count = sum(tile.slide_id in self.missing for tile in tiles)
            names = first_few(list(self.missing), NAMED_SLIDES)
            reason = next(iter(self.missing.values()))
            notes.append(f"{count:,} {total} are left out, as slides cannot be opened any more: {names}; {reason}")
        if self.damaged:
            count = sum(
                not readable and tile.slide_id in self.damaged
                for readable, tile in zip(self.readable, tiles, strict=True)
            )
            reason = next(iter(self.damaged.values()))
            notes.append(f"{count:,} {total} are left out, as they cannot be read any more: {reason}")
        return notes


@dataclass(frozen=True, kw_only=True)
class _SlideSource:
    """Where a slide is read from, as the store has it; `mpp` is None where a crash kept it out of the slide's row."""

    path: str | None
    ready_made: bool
    mpp: float | None
    reader: str


@dataclass(frozen=True, kw_only=True)
class _SlideErrors:
    """What went wrong on one slide; the fields are those of `SamplePixels`."""

    too_coarse: Mapping[TileSpec, ResolutionError] = field(default_factory=dict)
    missing: SlideError | None = None
    damaged: RegionReadError | None = None


def read_sample(
    store: Store,
    collection: Collection,
    tiles: Sequence[TileLocation],
    specs: Sequence[TileSpec],
    *,
    scratch: Path,
    on_progress: OnProgress = no_progress,
) -> SamplePixels:
    """Read the places of tiles, around their centres, as each kind of tile, into files.

    Args:
        tiles: Of the collection.
        specs: Kinds of tile, each once.
        scratch: A folder for the pixels; the caller removes it.
    Raises:
        ConfigError: `scratch` has no room.
    """
    _require_room(len(tiles), specs, scratch)
    sample = SamplePixels(
        pixels={spec: _new_file(scratch, len(tiles), spec) for spec in specs}, readable=np.zeros(len(tiles), bool)
    )
    stored = collection.tiling()
    sources = _slide_sources(store, collection)
    rows_of: dict[str, list[int]] = {}
    for row, tile in enumerate(tiles):
        rows_of.setdefault(tile.slide_id, []).append(row)

    def read(slide_id: str) -> _SlideErrors:
        try:
            return _read_slide(sample, tiles, rows_of[slide_id], sources.get(slide_id), stored)
        except SlideError as error:
            return _SlideErrors(missing=error)

    with ThreadPoolExecutor(READER_THREADS) as threads:
        try:
            for done, (slide_id, errors) in enumerate(zip(rows_of, threads.map(read, rows_of), strict=True), start=1):
                sample.too_coarse = {**errors.too_coarse, **sample.too_coarse}
                if errors.missing is not None:
                    sample.missing[slide_id] = errors.missing
                if errors.damaged is not None:
                    sample.damaged[slide_id] = errors.damaged
                on_progress(Progress(stage="read", done=done, total=len(rows_of), unit="slides"))
        except BaseException:  # an interrupt does not wait for the slides that are still queued
            threads.shutdown(cancel_futures=True)
            raise
    for spec in sample.too_coarse:
        del sample.pixels[spec]
    return sample


def _slide_sources(store: Store, collection: Collection) -> dict[str, _SlideSource]:
    readers = {outcome.slide_id: outcome.reader for outcome in store.ledger.outcomes(collection=collection.name)}
    return {
        slide.slide_id: _SlideSource(
            path=slide.path, ready_made=slide.is_ready_made, mpp=slide.slide_mpp,
            reader=readers.get(slide.slide_id) or "auto",
        )
        for slide in store.ledger.slides()
    }  # fmt: skip


def _require_room(count: int, specs: Sequence[TileSpec], scratch: Path) -> None:
    needed = sum(count * spec.tile_px**2 * 3 for spec in specs)
    free = shutil.disk_usage(scratch).free
    if needed > free:
        raise ConfigError(
            f"the pixels of {count:,} tiles at {len(specs)} tiling(s) take {needed / 1e9:.1f} GB, and {scratch} has "
            f"{free / 1e9:.1f} GB left; set TMPDIR to a folder with more room, or take fewer tiles"
        )


def _new_file(scratch: Path, count: int, spec: TileSpec) -> Pixels:
    path = scratch / f"{spec.tile_px}px-{spec.mpp:g}mpp.npy"
    shape = (count, spec.tile_px, spec.tile_px, 3)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


def _read_slide(
    sample: SamplePixels,
    tiles: Sequence[TileLocation],
    rows: Sequence[int],
    source: _SlideSource | None,
    stored: TilingConfig,
) -> _SlideErrors:
    """Read the tiles at `rows`, all of one slide.

    Raises:
        SlideError: the slide cannot be opened.
    """
    first = tiles[rows[0]]
    path = source.path if source else None
    if source is None or not path or not exists_or_remote(path):
        raise SlideNotFoundError(
            f"slide {first.slide_id!r} is not at {path or 'a known path'} any more; bring it back there, or ingest it "
            "again from where it is with --force"
        )
    too_coarse: dict[TileSpec, ResolutionError] = {}
    readers: dict[TileSpec, TileReader] = {}
    with ExitStack() as stack:
        if source.ready_made:
            readers = dict.fromkeys(sample.pixels, ImageReader(path))
        else:
            slide = stack.enter_context(open_slide(path, reader=source.reader))
            mpp = source.mpp or slide.mpp or stored.mpp * stored.tile_px / first.edge_l0
            for spec in sample.pixels:
                try:
                    check_fine_enough(mpp, spec.mpp, first.slide_id)
                    tiling = TilingConfig(tile_px=spec.tile_px, mpp=spec.mpp, downsample=stored.downsample)
                    readers[spec] = SquareReader(slide, tiling, mpp)
                except ResolutionError as error:
                    too_coarse[spec] = error
        return _SlideErrors(too_coarse=too_coarse, damaged=_read_tiles(sample, tiles, rows, readers))


def _read_tiles(
    sample: SamplePixels, tiles: Sequence[TileLocation], rows: Sequence[int], readers: Mapping[TileSpec, TileReader]
) -> RegionReadError | None:
    """Read tiles of one slide in every kind; returns the first error."""
    first_error = None
    # In the order of the slide: what is decoded for one tile is still in the cache for its neighbour.
    for row in sorted(rows, key=lambda row: (tiles[row].y, tiles[row].x)):
        try:
            for spec, reader in readers.items():
                reader.read(tiles[row], out=sample.pixels[spec][row])
            sample.readable[row] = True
        except RegionReadError as error:
            first_error = first_error or error
    return first_error
