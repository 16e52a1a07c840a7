"""Sizes of tile images, to tell those that are improbable: whole slides, and images that are not square."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from embedstore.slides.readers.tiff_images import TO_TILED_TIFF

LOOKED_AT = 32  # headers that are read of a folder, of its largest files and as many spread over it
MOST_STATS = 5_000  # files whose sizes are asked for: 2 µs each on a local disk, 300 on a distant one
FAR_LARGER = 8  # times the edge of a tile
OBLONG = 1.1  # edges that differ by more; a pixel more or less is no matter


def improbable_sizes(root: Path, names: Sequence[str], *, tile_px: int) -> list[str]:
    """What is improbable about the sizes of a folder's tile images, of which a sample is looked at.

    Args:
        root: The folder.
        names: Paths of the images relative to it.
        tile_px: Edge of the tiles that are embedded.
    """
    sampled = names[:: -(-len(names) // MOST_STATS) or 1]
    largest = sorted(sampled, key=lambda name: -_bytes(root / name))[:LOOKED_AT]
    spread = names[:: -(-len(names) // LOOKED_AT) or 1]
    sizes = {name: size for name in dict.fromkeys([*largest, *spread]) if (size := image_size(root / name))}
    found = []
    huge = {name: size for name, size in sizes.items() if max(size) > FAR_LARGER * tile_px}
    if huge:
        found.append(
            f"{_examples(huge, sizes)} far larger than a tile of {tile_px} px, and would be shrunk to one; whole "
            f"slides are wanted as tiled TIFF: {TO_TILED_TIFF}"
        )
    oblong = {name: size for name, size in sizes.items() if max(size) > OBLONG * min(size) and name not in huge}
    if oblong:
        found.append(f"{_examples(oblong, sizes)} not square, and would be squeezed to squares; cut them before")
    return found


def _examples(some: dict[str, tuple[int, int]], sizes: dict[str, tuple[int, int]]) -> str:
    name, (width, height) = next(iter(some.items()))
    return f"{len(some)} of {len(sizes)} images looked at ({name}: {width:,}×{height:,} px) are"


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def image_size(path: Path) -> tuple[int, int] | None:
    """(width, height) of an image, pixels, from its header; None where that is broken."""
    Image.init()
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            start = file.read(16)
            # Image.open refuses images of many pixels, before it tells their size.
            for make, accepts in Image.OPEN.values():
                if accepts is not None and accepts(start) is True:
                    file.seek(0)
                    return make(file, str(path)).size
    except Exception:  # Pillow raises many kinds of errors for broken headers; reading the tile will say what is wrong
        return None
    return None
