"""What is to be read of a slide, decided before a tile of it is read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.errors import NoTileError
from embedstore.slides.dicom_series import is_dicom, series_levels
from embedstore.slides.geojson import read_mask
from embedstore.slides.grid import tile_grid
from embedstore.slides.open import open_slide
from embedstore.slides.resolution import best_level, check_fine_enough, resolve_mpp
from embedstore.slides.slide import Slide
from embedstore.slides.source import SlideSource
from embedstore.slides.tile_folder import TileLabel, list_tiles
from embedstore.slides.tissue import PEN_WARNING, find_tissue
from embedstore.slides.tissue_mask import TissueMask, whole_slide

FINGERPRINT_BYTES = 64 << 10  # of each end of a file: headers and indexes are there
SAME_MPP = 0.005


@dataclass(frozen=True, kw_only=True, eq=False)
class SlidePlan:
    """The tiles of a slide and how to read them. Pickles: it travels between processes.

    Attributes:
        slide_id: The slide's name in the run.
        source: As the user named it.
        reader: Name of the reader to open it with; `images` for a tile folder.
        xy_l0: (n, 2) int32 top-left corners, level-0 pixels, row by row; zeros for a tile folder.
        names: File of each tile of a tile folder, relative to it, posix; else None.
        tissue: (n,) float32 share of tissue of each tile; ones for a tile folder.
        edge_l0: Edge of a tile, level-0 pixels; 0 for a tile folder.
        level: Level to read from.
        size_l0: (width, height) of level 0, pixels.
        mpp: Level-0 resolution, µm/px, as used; None where a tile folder does not have one.
        vendor: OpenSlide's name of the format.
        tissue_mm2: Area of tissue on the slide, mm².
        warnings: What a user should know; kept with the slide.
        fingerprint: Cheap identity of the content: size and both ends of the file.
        labels: What a tile folder says of its tiles.
        bounds_l0: (x, y, width, height) of the part that holds an image, level-0 pixels; None for a tile folder.
    """

    slide_id: str
    source: SlideSource
    reader: str
    xy_l0: NDArray[np.int32]
    names: tuple[str, ...] | None
    tissue: NDArray[np.float32]
    edge_l0: int
    level: int
    size_l0: tuple[int, int]
    mpp: float | None
    vendor: str
    tissue_mm2: float
    warnings: tuple[str, ...]
    fingerprint: str
    labels: tuple[TileLabel, ...] = ()
    bounds_l0: tuple[int, int, int, int] | None = None

    def __len__(self) -> int:
        return len(self.xy_l0)


def plan_slide(source: SlideSource, *, tiling: TilingConfig, tissue: TissueConfig, reading: ReadingConfig) -> SlidePlan:
    """Open a slide, find its tissue and lay the grid.

    Raises:
        SlideNotFoundError, SlideFormatError: it is not there, or nothing opens it.
        ResolutionError: its resolution is unknown or too coarse.
        TissueError: tissue cannot be told on it, or the given mask is malformed.
        NoTileError: no tile fits, or none has enough tissue; the message says how much was found.
        RegionReadError: nothing of it can be read.
    """
    if source.kind == "tiles":
        return _plan_folder(source)
    with open_slide(source.path, reader=reading.reader) as slide:
        mpp, warnings = resolve_mpp(slide, source.slide_id, source.mpp)
        check_fine_enough(mpp, tiling.mpp, source.slide_id)
        found = slide_tissue(slide, source.tissue, tissue, mpp)
        layout = lay_tiles(slide, found, tiling, mpp)
        enough = layout.enough
        if not enough.any():
            raise NoTileError(f"slide {source.slide_id!r} has no tile: {layout.why_none(found, tiling)}")
        return SlidePlan(
            slide_id=source.slide_id,
            source=source,
            reader=slide.reader,
            xy_l0=np.ascontiguousarray(layout.xy_l0[enough]),
            names=None,
            tissue=layout.shares[enough],
            edge_l0=layout.edge_l0,
            level=layout.level,
            size_l0=slide.size_l0,
            mpp=mpp,
            vendor=slide.vendor,
            tissue_mm2=found.area_mm2,
            warnings=(*slide.warnings, *warnings, *found.warnings),
            fingerprint=fingerprint(source.path),
            bounds_l0=slide.bounds_l0,
        )


def slide_tissue(slide: Slide, mask_path: str | None, config: TissueConfig, mpp: float) -> TissueMask:
    """Tissue of a slide: from the mask given, or all of it, or found; errors as in `plan_slide`."""
    if mask_path is not None:
        return read_mask(mask_path, bounds_l0=slide.bounds_l0, mpp_l0=mpp, mpp=config.mpp)
    if config.method == "all":
        return whole_slide(slide.bounds_l0, mpp)
    return find_tissue(slide, config, mpp_l0=mpp)


@dataclass(frozen=True, kw_only=True, eq=False)
class TileLayout:
    """The grid over a slide, before the tiles with too little tissue are taken out.

    Attributes:
        xy_l0: (n, 2) int32 top-left corners, level-0 pixels, row by row.
        shares: (n,) float32 share of tissue of each.
        enough: (n,) bool: it has the least share of tissue that is asked for, and some.
        edge_l0: Edge of a tile, level-0 pixels.
        level: Level to read from.
        size_l0: (width, height) of what the grid covers, level-0 pixels.
    """

    xy_l0: NDArray[np.int32]
    shares: NDArray[np.float32]
    enough: NDArray[np.bool_]
    edge_l0: int
    level: int
    size_l0: tuple[int, int]

    def why_none(self, found: TissueMask, tiling: TilingConfig) -> str:
        """Why no tile is left, for a user to read."""
        width, height = self.size_l0
        if len(self.xy_l0) == 0:
            return (
                f"it has {width}×{height} px at level 0, and a tile of {tiling.tile_px} px at {tiling.mpp:g} µm/px "
                f"takes {self.edge_l0}×{self.edge_l0}"
            )
        pen = [line for line in found.warnings if line.startswith(PEN_WARNING)]
        hint = f"; {pen[0]}: exclude_pen = false keeps what has an ink's colour" if pen else ""
        return (
            f"0 of {found.area_mm2:.2g} mm² tissue above min fraction {tiling.min_tissue:g}; the best of "
            f"{len(self.xy_l0)} places has {float(self.shares.max()):.2g}{hint}; lower --min-tissue, or give a mask "
            "(column tissue of a slide list)"
        )


def lay_tiles(slide: Slide, found: TissueMask, tiling: TilingConfig, mpp: float) -> TileLayout:
    """Lay the grid over a slide's bounds and weigh the tissue in each tile; `mpp` is the level-0 resolution, µm/px."""
    level = best_level(slide.level_downsamples, mpp=mpp, asked_mpp=tiling.mpp)
    edge_l0, stride_l0 = edge_and_stride(tiling, mpp, slide.level_downsamples[level])
    x, y, width, height = slide.bounds_l0
    xy_l0 = tile_grid((x, y), (width, height), edge_l0=edge_l0, stride_l0=stride_l0)
    shares = found.shares(xy_l0, edge_l0)
    return TileLayout(
        xy_l0=xy_l0,
        shares=shares,
        enough=(shares >= tiling.min_tissue) & (shares > 0),
        edge_l0=edge_l0,
        level=level,
        size_l0=(width, height),
    )


def edge_and_stride(tiling: TilingConfig, mpp: float, downsample: float) -> tuple[int, int]:
    """Edge of a tile and distance of neighbours, level-0 pixels.

    Where the level's resolution is the asked one within half a percent (0.499 µm/px for 0.5), the level's pixels are
    taken as they are: resampling would blur every tile, and no scanner's own mpp is more exact.

    Args:
        tiling: Edge and distance in pixels, and their resolution.
        mpp: Level-0 resolution of the slide, µm/px.
        downsample: Of the level that tiles are read from.
    """
    scale = tiling.mpp / mpp
    if abs(scale / downsample - 1) <= SAME_MPP:
        scale = downsample
    stride_px = tiling.stride_px or tiling.tile_px
    return max(1, round(tiling.tile_px * scale)), max(1, round(stride_px * scale))


def _plan_folder(source: SlideSource) -> SlidePlan:
    names, labels = list_tiles(source.path)
    if not names:
        raise NoTileError(f"tile folder {source.slide_id!r} at {source.path!r} holds no PNG, JPEG or TIFF image")
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0{_size(Path(source.path, name))}\n".encode())
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
        warnings=(),
        fingerprint=digest.hexdigest()[:32],
        labels=labels,
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # listed and not there: the tile will be unreadable


def fingerprint(path: str | Path) -> str:
    """Identity of a slide's content, 32 hex digits, from sizes and both ends of its file.

    Further files of a slide (a DICOM series, the folder of an MRXS) count with their names and sizes.
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
    else:
        others = []
    for other in others:
        digest.update(f"{other.name}\0{_size(other)}\n".encode())
    return digest.hexdigest()[:32]
