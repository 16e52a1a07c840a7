"""fastslide, by request: `auto` does not choose it.

It never returns from some corrupt JPEG data (0.8.1: an SVS with a bogus marker length; noise in a JPEG SVS or NDPI),
which would cost a run a worker where it should cost a tile.
"""

from typing import Any

import numpy as np

from embedstore.errors import ConfigError, RegionReadError, SlideFormatError
from embedstore.slides.readers.openslide_reader import mpp_of, open_handle
from embedstore.slides.slide import Pixels, Slide

# An NDPI region costs 27 CPU-ms without a cache of decoded strips and 5 with one of this size, bytes.
STRIP_CACHE_BYTES = 16 << 20


def import_fastslide() -> Any:
    """The package, which is an extra.

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
    """A slide through fastslide; what the file says of itself comes from OpenSlide where that opens it."""

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
        super().__init__(path, **_facts(path, handle))
        self.warnings.append("read by fastslide, which can stall for ever on a damaged file")

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


def _facts(path: str, handle: Any) -> dict[str, Any]:
    """What the file says of itself: OpenSlide's words, and those of its levels that fastslide has, where that opens it.

    OpenSlide shows NDPI levels that it makes by scaling JPEGs; fastslide ends before them.
    """
    mine = [tuple(size) for size in handle.level_dimensions]
    try:
        known = open_handle(path)
    except SlideFormatError:
        mpp = handle.mpp
        return {
            "level_sizes": mine,
            "level_downsamples": handle.level_downsamples,
            "mpp_xy": (float(mpp[0]), float(mpp[1])) if mpp and min(mpp) > 0 else None,
            "vendor": str(handle.format),
            "properties": {str(key): str(value) for key, value in dict(handle.properties).items()},
        }
    with known:
        theirs = list(known.level_dimensions)
        count = next((i for i, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]), len(mine))
        count = min(count, len(theirs))
        if count == 0:
            raise SlideFormatError(f"slide {path!r}: fastslide's level 0 is {mine[0]} px, OpenSlide's {theirs[0]}")
        return {
            "level_sizes": theirs[:count],
            "level_downsamples": known.level_downsamples[:count],
            "mpp_xy": mpp_of(known),
            "vendor": known.properties.get("openslide.vendor", "unknown"),
            "properties": dict(known.properties),
        }
