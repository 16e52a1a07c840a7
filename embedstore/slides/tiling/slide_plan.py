"""The plan of a slide: which tiles will be read, decided before any is read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.errors import NoTileError
from embedstore.slides.readers import open_slide
from embedstore.slides.readers.dicom_series import is_dicom, series_levels
from embedstore.slides.readers.zarr_image import METADATA_FILES, coarsest_files
from embedstore.slides.remote import local_copy
from embedstore.slides.slide import Slide
from embedstore.slides.sources.source import SlideSource
from embedstore.slides.sources.tile_folder import TileLabel, read_tile_folder
from embedstore.slides.tiling.resolution import check_fine_enough, resolve_mpp
from embedstore.slides.tiling.slide_grid import TileGrid, lay_grid
from embedstore.slides.tissue.detection import slide_tissue

FINGERPRINT_BYTES = 64 << 10  # of each end of a file, which hold headers and indexes


@dataclass(frozen=True, kw_only=True, eq=False)
class SlidePlan:
    """The tiles of a slide and how to read them. It can be pickled, to travel between processes.

    A folder of ready-made tiles has a plan as well. Its tiles are image files and have no position on a slide, so
    corners, edge, level and size are zero.

    Attributes:
        slide_id: The slide's id, unique in a run.
        source: The slide as the user named it.
        reader: Name of the reader to open it with; `images` for a tile folder, "" for an imported slide without a file.
        xy_l0: (n, 2) int32 top-left corners of the tiles, level-0 pixels, row by row.
        names: Path of each tile relative to its tile folder, posix; None for a slide.
        tissue: (n,) float32 share of tissue in each tile, 0 to 1; ones for a tile folder; None where an import does not
            know it.
        edge_l0: Edge of a tile, level-0 pixels.
        level: Level to read from; None for the best one, which whoever reads the slide chooses.
        size_l0: (width, height) of level 0, pixels; zeros where an import does not know it.
        mpp: Level-0 resolution that is used, µm/px; None where a tile folder states none.
        vendor: OpenSlide's name of the format; `images` for a tile folder.
        tissue_mm2: Area of tissue on the slide, mm²; None where an import does not know it.
        warnings: What a user should know; stored with the slide.
        fingerprint: Identity of the content, from `fingerprint`; "" for an imported slide without a file.
        labels: Labels that a tile folder gives its tiles.
        bounds_l0: (x, y, width, height) of the scanned part, level-0 pixels; None for a tile folder.
        edges_l0: (n,) int32, edge of each tile where imported tiles of a slide differ.
    """

    slide_id: str
    source: SlideSource
    reader: str
    xy_l0: NDArray[np.int32]
    names: tuple[str, ...] | None
    tissue: NDArray[np.float32] | None
    edge_l0: int
    level: int | None
    size_l0: tuple[int, int]
    mpp: float | None
    vendor: str
    tissue_mm2: float | None
    warnings: tuple[str, ...]
    fingerprint: str
    labels: tuple[TileLabel, ...] = ()
    bounds_l0: tuple[int, int, int, int] | None = None
    edges_l0: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.xy_l0)


def plan_slide(source: SlideSource, *, tiling: TilingConfig, tissue: TissueConfig, reading: ReadingConfig) -> SlidePlan:
    """Open a slide, find its tissue and lay the grid.

    Args:
        source: The slide, or a folder of ready-made tiles, to which nothing of the following applies.
        tiling: Size and resolution of the tiles, and the tissue they need.
        tissue: How tissue is found.
        reading: How the slide is opened.
    Raises:
        SlideNotFoundError, SlideFormatError: it does not exist, or no reader opens it.
        SlideFetchError: its object store does not give it.
        ResolutionError: its resolution is unknown or too coarse.
        TissueError: tissue cannot be found on such a slide, or the given mask is malformed.
        NoTileError: no tile fits, or none has enough tissue; the message says how much there is.
        RegionReadError: no part of it can be read.
    """
    with local_copy(source.path, kind=source.kind) as copy:
        source = replace(source, version=copy.version)
        if source.kind == "tiles":
            return _plan_folder(source, copy.path, tiling)
        return _plan_file(source, copy.path, tiling=tiling, tissue=tissue, reading=reading)


def _plan_file(
    source: SlideSource, path: str, *, tiling: TilingConfig, tissue: TissueConfig, reading: ReadingConfig
) -> SlidePlan:
    """The plan of a slide whose file is at a path."""
    with open_slide(path, reader=reading.reader, name=source.path) as slide:
        mpp, warnings = resolve_mpp(slide, source.slide_id, source.mpp)
        check_fine_enough(mpp, tiling.mpp, source.slide_id)
        mask = slide_tissue(slide, source.tissue, tissue, mpp)
        grid = lay_grid(slide, mask, tiling, mpp)
        enough = grid.enough
        if not enough.any():
            raise NoTileError(f"slide {source.slide_id!r} has no tile: {grid.why_none(mask, tiling)}")
        return SlidePlan(
            slide_id=source.slide_id,
            source=source,
            reader=slide.reader,
            xy_l0=np.ascontiguousarray(grid.xy_l0[enough]),
            names=None,
            tissue=grid.shares[enough],
            edge_l0=grid.edge_l0,
            level=grid.level,
            size_l0=slide.size_l0,
            mpp=mpp,
            vendor=slide.vendor,
            tissue_mm2=mask.area_mm2,
            warnings=(*slide.warnings, *warnings, *mask.warnings, *_not_reduced(slide, grid, tiling)),
            fingerprint=fingerprint(path),
            bounds_l0=slide.bounds_l0,
        )


def _not_reduced(slide: Slide, grid: TileGrid, tiling: TilingConfig) -> list[str]:
    """A warning where `dct` is asked for and the reader averages pixels for want of data that it can reduce."""
    px_l0 = grid.edge_l0 / tiling.tile_px
    if tiling.downsample != "dct" or slide.reduction(grid.level, px_l0, among=(1, 2)) == 1:
        return []
    if len(slide.reductions[grid.level]) > 1:
        return []
    return [
        f"pixels are averaged, as by downsample area: level {grid.level} is not in tiles that {slide.reader} can reduce"
    ]


def _plan_folder(source: SlideSource, path: str, tiling: TilingConfig) -> SlidePlan:
    folder = read_tile_folder(path, tile_px=tiling.tile_px)
    names = folder.names
    if not names:
        raise NoTileError(
            f"tile folder {source.slide_id!r} at {source.path!r} holds no image; if it holds slides, list their files"
        )
    return SlidePlan(
        slide_id=source.slide_id,
        source=source,
        reader="images",
        xy_l0=np.zeros((len(names), 2), np.int32),
        names=names,
        tissue=np.ones(len(names), np.float32),
        edge_l0=0,
        level=0,
        size_l0=(0, 0),
        mpp=source.mpp,
        vendor="images",
        tissue_mm2=0.0,
        warnings=folder.warnings,
        fingerprint=_folder_fingerprint(path, names),
        labels=folder.labels,
    )


def fingerprint_of(source: SlideSource) -> str:
    """The fingerprint that a slide's plan has, without planning it.

    Raises:
        SlideListError, OSError: it cannot be read.
    """
    with local_copy(source.path, kind=source.kind) as copy:
        if source.kind == "tiles":
            return _folder_fingerprint(copy.path, read_tile_folder(copy.path, tile_px=TilingConfig.tile_px).names)
        return fingerprint(copy.path)


def _folder_fingerprint(path: str, names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0{_size(Path(path, name))}\n".encode())
    return digest.hexdigest()[:32]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # listed, but missing: the tile will count as unreadable


def fingerprint(path: str | Path) -> str:
    """Identity of a slide's content, 32 hex digits, from the size and both ends of its file.

    Other files of the slide (a DICOM series, the folder of an MRXS, the coarsest level of an OME-Zarr image) contribute
    their names and sizes.
    """
    file = Path(path)
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(file, "rb") as stream:
        digest.update(stream.read(FINGERPRINT_BYTES))
        stream.seek(max(0, size - FINGERPRINT_BYTES))
        digest.update(stream.read(FINGERPRINT_BYTES))
    if is_dicom(file):
        others = [Path(level.path) for level in series_levels(str(file))]
    elif file.suffix.lower() == ".mrxs" and file.with_suffix("").is_dir():
        others = sorted(file.with_suffix("").iterdir())
    elif file.name in METADATA_FILES:
        others = coarsest_files(file)
    else:
        others = []
    for other in others:
        digest.update(f"{other.name}\0{_size(other)}\n".encode())
    return digest.hexdigest()[:32]
