"""What is to be read of a slide, decided before a tile of it is read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.errors import NoTileError
from embedstore.slides.readers.dicom_series import is_dicom, series_levels
from embedstore.slides.readers.opening import open_slide
from embedstore.slides.sources.source import SlideSource
from embedstore.slides.sources.tile_folder import TileLabel, list_tiles
from embedstore.slides.tiling.grid import lay_tiles
from embedstore.slides.tiling.resolution import check_fine_enough, resolve_mpp
from embedstore.slides.tissue.detection import slide_tissue

FINGERPRINT_BYTES = 64 << 10  # of each end of a file: headers and indexes are there


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
