"""Compose docs/images/demo.png from what `make demo` leaves: a heat map, and a tile with the tiles nearest to it.

python docs/images/compose.py demo
"""

import sys
from pathlib import Path

from PIL import Image

import embedstore

HEAT_MAP = "synthetic-06-tumour.svs.dense-nuclei.png"
QUERY = ("synthetic-01-colon.svs", 1100, 1400)
NEIGHBOURS, IN_A_ROW = 6, 3
WIDTH_PX, GAP_PX = 1400, 20
COLOURS = 192  # a palette keeps the file small


def main(folder: Path, out: Path) -> None:
    heat_map = Image.open(folder / HEAT_MAP).convert("RGB")
    found = embedstore.open(folder / "store").collection().search(QUERY, k=NEIGHBOURS, exclude_same="slide")
    neighbours = found.show(columns=IN_A_ROW).convert("RGB")
    shapes = [picture.width / picture.height for picture in (heat_map, neighbours)]
    height = round((WIDTH_PX - GAP_PX) / sum(shapes))
    left, right = (
        picture.resize((round(height * shape), height), Image.Resampling.LANCZOS)
        for picture, shape in zip((heat_map, neighbours), shapes, strict=True)
    )
    sheet = Image.new("RGB", (WIDTH_PX, height), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + GAP_PX, 0))
    sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).with_name("demo.png"))
