"""The pixels of a sample at every tiling that candidates want: each slide opened once."""

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedstore.config import TilingConfig
from embedstore.errors import ConfigError, RegionReadError, ResolutionError, SlideError, SlideNotFoundError
from embedstore.slides import Pixels, check_fine_enough, open_slide
from embedstore.store import Collection, Store
from heads.select.candidates.recut import Cut, ImageFile, SlideSquare

Row = Mapping[str, Any]
#: Slides that are read at a time: decoders let Python's lock go.
READERS = min(8, os.cpu_count() or 1)
#: Slides that a note names; the others are counted.
NAMED_SLIDES = 3


class TileSpec(NamedTuple):
    """Tiles that a candidate is given: edge in pixels, and resolution, µm/px."""

    tile_px: int
    mpp: float


@dataclass(kw_only=True, eq=False)
class SamplePixels:
    """The pixels of a sample.

    Attributes:
        pixels: For each kind of tiles (n, tile_px, tile_px, 3) uint8, kept in a file; without meaning where a tile is
            not readable.
        readable: (n,) bool; at every tiling.
        too_coarse: Tilings that a slide of the sample is too coarse for, and what was said of it.
        lost: Slides that could not be opened, and why.
        broken: Slides of which some tile could not be read, and why the first could not.
    """

    pixels: dict[TileSpec, Pixels]
    readable: NDArray[np.bool_]
    too_coarse: dict[TileSpec, ResolutionError] = field(default_factory=dict)
    lost: dict[str, SlideError] = field(default_factory=dict)
    broken: dict[str, RegionReadError] = field(default_factory=dict)

    def first_error(self) -> SlideError:
        """Why a tile of the sample is not readable."""
        return next(iter([*self.lost.values(), *self.broken.values()]))

    def notes(self, rows: Sequence[Row]) -> list[str]:
        """What a user should know of tiles that are left out."""
        notes, total = [], f"of {len(rows):,} tiles"
        if self.lost:
            tiles = sum(row["slide_id"] in self.lost for row in rows)
            named = ", ".join(list(self.lost)[:NAMED_SLIDES]) + (", …" if len(self.lost) > NAMED_SLIDES else "")
            why = next(iter(self.lost.values()))
            notes.append(f"{tiles:,} {total} are left out, as slides cannot be opened any more: {named}; {why}")
        if self.broken:
            tiles = sum(
                not readable and row["slide_id"] in self.broken
                for readable, row in zip(self.readable, rows, strict=True)
            )
            why = next(iter(self.broken.values()))
            notes.append(f"{tiles:,} {total} are left out, as they cannot be read any more: {why}")
        return notes


def read_sample(
    store: Store, collection: Collection, rows: Sequence[Row], wanted: Sequence[TileSpec], *, scratch: Path
) -> SamplePixels:
    """Read the places of tiles, around their centres, at each tiling, into files.

    Args:
        rows: Rows of the collection, with at least slide_id, x, y, edge_l0 and name.
        wanted: Tilings, each once.
        scratch: A folder for the pixels; the caller removes it.
    Raises:
        ConfigError: `scratch` has no room.
    """
    _require_room(len(rows), wanted, scratch)
    sample = SamplePixels(
        pixels={tiles: _new_file(scratch, len(rows), tiles) for tiles in wanted}, readable=np.zeros(len(rows), bool)
    )
    stored = TilingConfig(**collection.record()["tiling"])
    slides = {row["slide_id"]: row for row in store.ledger.slides()}
    readers = {row["slide_id"]: row["reader"] for row in store.ledger.outcomes(collection=collection.name)}
    places: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        places.setdefault(row["slide_id"], []).append(i)

    def read(slide_id: str) -> _SlideRead:
        try:
            return _read_slide(sample, rows, places[slide_id], slides.get(slide_id), readers.get(slide_id), stored)
        except SlideError as error:
            return _SlideRead(lost=error)

    with ThreadPoolExecutor(READERS) as threads:
        try:
            for slide_id, done in zip(places, threads.map(read, places), strict=True):
                sample.too_coarse = {**done.too_coarse, **sample.too_coarse}
                if done.lost is not None:
                    sample.lost[slide_id] = done.lost
                if done.broken is not None:
                    sample.broken[slide_id] = done.broken
        except BaseException:  # an interrupt does not wait for the slides that are still queued
            threads.shutdown(cancel_futures=True)
            raise
    for tiles in sample.too_coarse:
        del sample.pixels[tiles]
    return sample


def _require_room(count: int, wanted: Sequence[TileSpec], scratch: Path) -> None:
    needed = sum(count * tiles.tile_px**2 * 3 for tiles in wanted)
    free = shutil.disk_usage(scratch).free
    if needed > free:
        raise ConfigError(
            f"the pixels of {count:,} tiles at {len(wanted)} tiling(s) take {needed / 1e9:.1f} GB, and {scratch} has "
            f"{free / 1e9:.1f} GB left; set TMPDIR to a roomier folder, or take fewer tiles"
        )


def _new_file(scratch: Path, count: int, tiles: TileSpec) -> Pixels:
    path = scratch / f"{tiles.tile_px}px-{tiles.mpp:g}mpp.npy"
    shape = (count, tiles.tile_px, tiles.tile_px, 3)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


@dataclass(frozen=True, kw_only=True)
class _SlideRead:
    """What came of reading a slide's places; the fields are those of `SamplePixels`."""

    too_coarse: Mapping[TileSpec, ResolutionError] = field(default_factory=dict)
    lost: SlideError | None = None
    broken: RegionReadError | None = None


def _read_slide(
    sample: SamplePixels,
    rows: Sequence[Row],
    places: Sequence[int],
    slide: Row | None,
    reader: str | None,
    stored: TilingConfig,
) -> _SlideRead:
    """Read the rows at `places`, all of one slide."""
    slide_id, path = rows[places[0]]["slide_id"], (slide or {}).get("path")
    if slide is None or not path or not Path(path).exists():
        raise SlideNotFoundError(
            f"slide {slide_id!r} is not at {path or 'a known path'} any more; bring it back there, or ingest it again "
            "from where it is with --force"
        )
    too_coarse: dict[TileSpec, ResolutionError] = {}
    cuts: dict[TileSpec, Cut] = {}
    with ExitStack() as stack:
        if slide["kind"] == "tiles":
            cuts = dict.fromkeys(sample.pixels, ImageFile(path))
        else:
            opened = stack.enter_context(open_slide(path, reader=reader or "auto"))
            # A crash may have kept the resolution out of the slide's row; its tiles tell it all the same.
            mpp = slide["slide_mpp"] or opened.mpp or stored.mpp * stored.tile_px / rows[places[0]]["edge_l0"]
            for tiles in sample.pixels:
                try:
                    check_fine_enough(mpp, tiles.mpp, slide_id)
                    cuts[tiles] = SlideSquare(opened, TilingConfig(tile_px=tiles.tile_px, mpp=tiles.mpp), mpp)
                except ResolutionError as error:
                    too_coarse[tiles] = error
        broken = _read_places(sample, rows, places, cuts)
    return _SlideRead(too_coarse=too_coarse, broken=broken)


def _read_places(
    sample: SamplePixels, rows: Sequence[Row], places: Sequence[int], cuts: Mapping[TileSpec, Cut]
) -> RegionReadError | None:
    """Read a slide's places at every tiling; returns why the first that is not readable is not."""
    broken = None
    # Neighbours in turn: what is decoded for one is at hand for the next.
    for i in sorted(places, key=lambda i: (rows[i]["y"], rows[i]["x"])):
        try:
            for tiles, cut in cuts.items():
                cut.read(rows[i], out=sample.pixels[tiles][i])
            sample.readable[i] = True
        except RegionReadError as error:
            broken = broken or error
    return broken
