"""A large slide out of a small one's own tiles, byte for byte as their scanner compressed them.

    python benchmarks/tile_mosaic.py SOURCE.svs OUT.svs --size 20000

For Aperio's slides in JPEG 2000, whose cost to read depends on the scanner's encoder and its bits a pixel. Level 0 has
the tiles of most contrast at random places, inside a border of glass; two coarser levels, a quarter and a sixteenth of
the edge, are averaged from them and compressed by OpenJPEG.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile
from measure import absolute_path

BORDER = 4  # tiles of glass at each edge
RICH = 0.75  # share of the source's tiles that are laid out
PSNR = 36  # of the coarser levels


def whole_tiles(source: Path) -> tuple[list[bytes], int, int]:
    """The tiles that lie inside the source, their edge and TIFF's code of their compression."""
    with tifffile.TiffFile(source) as tiff, source.open("rb") as file:
        page = tiff.pages[0]
        edge, across, streams = page.tilewidth, -(-page.imagewidth // page.tilewidth), []
        for row in range(page.imagelength // edge):
            for column in range(page.imagewidth // edge):
                file.seek(page.dataoffsets[row * across + column])
                streams.append(file.read(page.databytecounts[row * across + column]))
        return streams, edge, int(page.compression)


def lay_out(contrast: np.ndarray, side: int) -> np.ndarray:
    """(side, side) indices of tiles."""
    order, rng = np.argsort(-contrast), np.random.default_rng(0)
    glass = np.ones((side, side), bool)
    glass[BORDER:-BORDER, BORDER:-BORDER] = False
    grid = rng.choice(order[: int(len(order) * RICH)], (side, side))
    grid[glass] = rng.choice(order[-8:], glass.sum())
    return grid


def reduced(pictures: list[np.ndarray], grid: np.ndarray, factor: int, edge: int) -> Iterator[bytes]:
    """Tiles of a coarser level, row by row."""
    part = edge // factor
    small = [cv2.resize(picture, (part, part), interpolation=cv2.INTER_AREA) for picture in pictures]
    for top in range(0, len(grid), factor):
        for left in range(0, len(grid), factor):
            tile = np.full((edge, edge, 3), 244, np.uint8)
            for (y, x), which in np.ndenumerate(grid[top : top + factor, left : left + factor]):
                tile[y * part :, x * part :][:part, :part] = small[which]
            yield imagecodecs.jpeg2k_encode(tile, level=PSNR, codecformat="j2k", reversible=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=absolute_path)
    parser.add_argument("out", type=absolute_path)
    parser.add_argument("--size", type=int, default=20_000, help="edge of the slide, pixels")
    args = parser.parse_args()
    streams, edge, compression = whole_tiles(args.source)
    pictures = [imagecodecs.jpeg2k_decode(stream) for stream in streams]
    grid = lay_out(np.array([picture.std(axis=(0, 1)).mean() for picture in pictures]), -(-args.size // edge))
    about = (
        f"Aperio Image Library v11.0.37\r\n{args.size}x{args.size} ({edge}x{edge}) J2K/KDU Q=70|AppMag = 40|MPP = 0.25"
    )
    how: dict = {"compression": compression, "photometric": "rgb", "metadata": None, "description": about}
    how |= {"tile": (edge, edge), "dtype": np.uint8}
    with tifffile.TiffWriter(args.out, bigtiff=True) as tiff:
        tiff.write((streams[which] for which in grid.ravel()), shape=(args.size, args.size, 3), **how)
        for factor in (4, 16):
            side = -(-args.size // factor)
            tiff.write(reduced(pictures, grid, factor, edge), shape=(side, side, 3), **how)


if __name__ == "__main__":
    main()
