"""fastslide, an extra for `--reader fastslide`; `auto` never chooses it.

It never returns from some corrupt JPEG data (0.8.1: an SVS with a bogus marker length; noise in a JPEG SVS or NDPI).
That costs the slide where it should cost a tile.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from embedstore.errors import ConfigError, RegionReadError, SlideFormatError
from embedstore.slides.readers.openslide_reader import open_handle, read_header
from embedstore.slides.slide import Pixels, Slide, SlideHeader

# An NDPI region costs 27 CPU-ms without a cache of decoded strips and 5 with one of this size, bytes.
STRIP_CACHE_BYTES = 16 << 20


def import_fastslide() -> Any:
    """Import the package, which is an extra.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import fastslide
    except ImportError as error:
        raise ConfigError(
            "the reader fastslide needs the package fastslide, which is not installed; "
            "pip install 'embedstore[fastslide]', or leave --reader out"
        ) from error
    return fastslide


class FastSlideSlide(Slide):
    """A slide read by fastslide; its header comes from OpenSlide where that opens the file."""

    reader = "fastslide"

    def __init__(self, path: str):
        fastslide = import_fastslide()
        try:
            handle: Any = fastslide.FastSlide.from_file_path(path, cache=STRIP_CACHE_BYTES)
        except (RuntimeError, ValueError, OSError) as error:
            raise SlideFormatError(f"slide {path!r}: fastslide cannot open it: {error}") from error
        if handle.num_channels not in (3, 4) or handle.dtype != "uint8":
            raise SlideFormatError(f"slide {path!r}: {handle.num_channels} channels of {handle.dtype}; expected RGB")
        self._handle = handle
        super().__init__(path, _header(path, handle))
        self.warnings.append("read by fastslide, which can hang on a damaged file")

    def _fill(self, level: int, x: int, y: int, out: Pixels) -> None:
        size = out.shape[1], out.shape[0]
        try:
            pixels = np.asarray(self._handle.read_region((x, y), level, size).numpy())
        except (RuntimeError, ValueError, OSError) as error:
            raise RegionReadError(
                f"slide {self.path!r}: fastslide cannot read {size[0]}×{size[1]} px at {x},{y}, level {level}: {error}"
            ) from error
        if pixels.shape[:2] != out.shape[:2]:
            raise RegionReadError(
                f"slide {self.path!r}: fastslide gave {pixels.shape[1]}×{pixels.shape[0]} px at {x},{y} of level "
                f"{level}; expected {size[0]}×{size[1]}"
            )
        out[:] = pixels[..., :3]

    def close(self) -> None:
        self._handle.close()


def _header(path: str, handle: Any) -> SlideHeader:
    """OpenSlide's header, cut to the levels that fastslide has; fastslide's own where OpenSlide cannot open the file.

    OpenSlide reports NDPI levels that it makes by scaling JPEGs; fastslide lacks those.
    """
    sizes = [(int(width), int(height)) for width, height in handle.level_dimensions]
    try:
        reference_handle = open_handle(path)
    except SlideFormatError:
        mpp = handle.mpp
        return SlideHeader(
            level_sizes=sizes,
            level_downsamples=[float(downsample) for downsample in handle.level_downsamples],
            mpp_xy=(float(mpp[0]), float(mpp[1])) if mpp and min(mpp) > 0 else None,
            vendor=str(handle.format),
            properties={str(key): str(value) for key, value in dict(handle.properties).items()},
        )
    with reference_handle:
        reference = read_header(reference_handle)
    pairs = zip(sizes, reference.level_sizes, strict=False)
    count = next((i for i, (ours, expected) in enumerate(pairs) if ours != expected), len(sizes))
    count = min(count, len(reference.level_sizes))
    if count == 0:
        raise SlideFormatError(
            f"slide {path!r}: fastslide's level 0 is {sizes[0]} px, OpenSlide's {reference.level_sizes[0]}"
        )
    return replace(
        reference,
        level_sizes=reference.level_sizes[:count],
        level_downsamples=reference.level_downsamples[:count],
    )
