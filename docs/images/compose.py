"""Compose docs/images/demo.png from what `make demo` leaves: a heat map, a tile, and the tiles nearest to it.

    embedstore demo --out demo
    embedstore search --store demo/store --slide synthetic-05-colon.svs --at 1920 1664 -k 6 --exclude-same slide \
        --montage demo/like.png
    python docs/images/compose.py demo
"""

import sys
from pathlib import Path

from PIL import Image

HEAT_MAP = "synthetic-06-tumour.svs.dense-nuclei.png"
NEIGHBOURS = "like.png"
WIDTH_PX, GAP_PX = 1500, 24
COLOURS = 192  # a palette keeps the file small


def main(folder: Path, out: Path) -> None:
    heat_map = Image.open(folder / HEAT_MAP).convert("RGB")
    neighbours = Image.open(folder / NEIGHBOURS).convert("RGB")
    # Both as high as each other, and as wide together as WIDTH_PX.
    share = heat_map.width / heat_map.height, neighbours.width / neighbours.height
    height = round((WIDTH_PX - GAP_PX) / sum(share))
    left, right = (
        picture.resize((round(height * of), height), Image.Resampling.LANCZOS)
        for picture, of in zip((heat_map, neighbours), share, strict=True)
    )
    sheet = Image.new("RGB", (WIDTH_PX, height), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + GAP_PX, 0))
    sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).with_name("demo.png"))
