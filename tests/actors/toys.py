"""Slides and a network that exist only as arithmetic, for testing the run without pixels or torch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actors.reader import Chunk, PlannedSlide, name_unreadable
from embedstore.config import IngestConfig, TilingConfig, ViewConfig
from embedstore.errors import NoTileError, SlideFormatError, UnknownKeyError
from embedstore.extractors import Extractor
from embedstore.slides import SlidePlan, SlideSource
from embedstore.tile_id import tile_ids, tile_keys
from embedstore.views import draw_parameters
from embedstore.views.apply import with_views

TILE_PX = 16
DIM = 4
CONFIG = IngestConfig(tiling=TilingConfig(tile_px=TILE_PX, mpp=0.5))


def source(slide_id: str, **metadata: Any) -> SlideSource:
    return SlideSource(slide_id=slide_id, path=f"/toys/{slide_id}", kind="wsi", metadata=metadata)


def plan(one: SlideSource, tiles: int) -> SlidePlan:
    return SlidePlan(
        slide_id=one.slide_id,
        source=one,
        reader="toy",
        xy_l0=np.stack([np.arange(tiles) * TILE_PX, np.zeros(tiles)], axis=1).astype(np.int32),
        names=None,
        tissue=np.ones(tiles, np.float32),
        edge_l0=TILE_PX,
        level=0,
        size_l0=(tiles * TILE_PX, TILE_PX),
        mpp=0.5,
        vendor="toy",
        tissue_mm2=1.0,
        warnings=(),
        fingerprint=f"f-{one.slide_id}",
    )


def pixels_of(slide_id: str, start: int, stop: int) -> np.ndarray:
    """(n, 16, 16, 3) uint8 that tell slide and tile apart."""
    seed = sum(slide_id.encode())
    values = [
        np.random.default_rng([seed, i]).integers(0, 256, (TILE_PX, TILE_PX, 3), np.uint8) for i in range(start, stop)
    ]
    return np.stack(values)


def parameters_of(made: SlidePlan, config: ViewConfig) -> np.ndarray:
    """(tiles, count, parameters) of all views of a slide."""
    return draw_parameters(tile_ids(made.slide_id, tile_keys(made.xy_l0, None)), config)


@dataclass
class ToyReader:
    """A reader of slides named 'NAME:TILES', of which 'torn' cannot be opened, 'blank' has no tile, and a slide
    with 'holes' has unreadable tiles at every 10th place."""

    views: ViewConfig | None = None
    open_slides: dict[str, SlidePlan] = field(default_factory=dict)

    def ping(self) -> None: ...

    def plan(self, one: SlideSource) -> PlannedSlide:
        name, _, tiles = one.slide_id.partition(":")
        if name == "torn":
            raise SlideFormatError("slide 'torn' cannot be opened")
        if name == "blank":
            raise NoTileError("0 of 0.0 mm² tissue above min fraction 0.5")
        return PlannedSlide(plan=plan(one, int(tiles)), plan_s=0.0)

    def open(self, key: str, planned: PlannedSlide) -> None:
        self.open_slides[key] = planned.plan

    def read(self, key: str, start: int, stop: int) -> tuple[Chunk, np.ndarray]:
        if key not in self.open_slides:
            raise UnknownKeyError(key)
        slide_id = self.open_slides[key].slide_id
        readable = np.ones(stop - start, bool)
        if "holes" in slide_id:
            readable[np.arange(start, stop) % 10 == 3] = False
        pixels = pixels_of(slide_id, start, stop)
        if self.views is not None:
            pixels = with_views(pixels, parameters_of(self.open_slides[key], self.views)[start:stop])
        unreadable = name_unreadable(self.open_slides[key], start, readable)
        return Chunk(key=key, start=start, readable=readable, read_s=0.0, unreadable=unreadable), pixels

    def close(self, key: str) -> None:
        self.open_slides.pop(key, None)


class ToyExtractor(Extractor):
    """Four means of a tile."""

    name, dim, tile_px, mpp, digest, batch_tiles = "toy", DIM, TILE_PX, 0.5, "sha256:toy", 8

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        time.sleep(0)
        halves = pixels.reshape(len(pixels), 2, TILE_PX // 2, 2, TILE_PX // 2, 3)
        return (halves.mean(axis=(2, 4, 5)).reshape(len(pixels), DIM)).astype(np.float16)


def expected(slide_id: str, tiles: int, unreadable: Sequence[int] = ()) -> np.ndarray:
    rows = ToyExtractor().embed(pixels_of(slide_id, 0, tiles))
    return np.delete(rows, list(unreadable), axis=0)
