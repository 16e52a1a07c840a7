"""Contact sheets: tiles in a grid, each with a caption below."""

import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from embedstore.errors import ConfigError

PAPER = (250, 250, 248)
INK = (50, 50, 55)
FRAME = (205, 205, 208)
ACCENT = (0, 114, 178)  # the blue of Okabe & Ito, which does not occur in H&E
ACCENT_PX = 4  # width of an accented frame
BLANK, BLANK_INK = (226, 226, 229), (95, 95, 100)
GAP_PX = 14
CAPTION_PX = 12  # font size
LINE_PX = 16
ELLIPSIS = "…"
# Pillow's built-in font has little more than ASCII, and a font file would be the only data file of the package.
SUBSTITUTES = str.maketrans(
    {"µ": "u", "μ": "u", "×": "x", "²": "2", "³": "3", "–": "-", "—": "-", "ß": "ss", "ø": "o", "ł": "l"}
)


def tile_captions(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Slide and place of each row of a table of tiles; and what it is labelled and taken for, where the row says."""
    return ["\n".join(_caption(row)) for row in rows]


def _caption(row: Mapping[str, Any]) -> Iterator[str]:
    yield row["slide_id"]
    yield row["name"] or "{x}, {y}".format(**row)
    if "label" in row:
        yield f"labelled {row['label']}"
    if row.get("probability") is not None:
        yield f"{row['predicted']} {row['probability']:.2f}"


def contact_sheet(
    tiles: Sequence[np.ndarray],
    captions: Sequence[str] = (),
    *,
    columns: int = 6,
    tile_px: int = 192,
    title: str = "",
    accented: int = 0,
) -> Image.Image:
    """Lay tiles out in a grid, row by row.

    Args:
        tiles: uint8 (h, w, 3) RGB each, of any size; each is scaled to fit into a square, with its aspect ratio.
        captions: One for each tile, or none; lines are separated by line feeds, and shortened where they are too long.
        columns: Tiles in a row.
        tile_px: Edge of a tile on the sheet, pixels.
        title: The first line of the sheet; further lines are in a smaller font.
        accented: How many of the first tiles get a coloured frame, in rows of their own.
    Returns:
        The sheet in RGB; `.save("sheet.png")` writes it.
    Raises:
        ConfigError: there are no tiles, a tile is not an RGB picture, or captions do not match the tiles.
    """
    _check(tiles, captions, columns, tile_px)
    columns = min(columns, max(accented, len(tiles) - accented))
    accented_rows = -(-accented // columns)
    rows = accented_rows + -(-(len(tiles) - accented) // columns)
    lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    cell = (tile_px + GAP_PX, tile_px + GAP_PX + lines * LINE_PX + (4 if lines else 0))
    heading = title.split("\n") if title else []
    top = GAP_PX + (LINE_PX + len(heading) * LINE_PX if heading else 0)
    sheet = Image.new("RGB", (columns * cell[0] + GAP_PX, rows * cell[1] + top), PAPER)
    draw = ImageDraw.Draw(sheet)
    for line, text in enumerate(heading):
        font = ImageFont.load_default(size=CAPTION_PX + (0 if line else 4))
        at = (GAP_PX, GAP_PX - 2 + line * LINE_PX + (4 if line else 0))
        draw.text(at, _shortened(text, font, sheet.width - 2 * GAP_PX), INK, font)
    font = ImageFont.load_default(size=CAPTION_PX)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns) if index < accented else divmod(index - accented, columns)
        row += 0 if index < accented else accented_rows
        x, y = GAP_PX + column * cell[0], top + row * cell[1]
        picture = _fitted(tile, tile_px)
        at = (x + (tile_px - picture.width) // 2, y + (tile_px - picture.height) // 2)
        sheet.paste(picture, at)
        colour, width = (ACCENT, ACCENT_PX) if index < accented else (FRAME, 1)
        box = (at[0] - width, at[1] - width, at[0] + picture.width + width - 1, at[1] + picture.height + width - 1)
        draw.rectangle(box, outline=colour, width=width)
        for line, text in enumerate(captions[index].split("\n") if captions else ()):
            ink = ACCENT if index < accented and line == 0 else INK
            draw.text((x, y + tile_px + 4 + line * LINE_PX), _shortened(text, font, tile_px), ink, font)
    return sheet


def blank_tile(text: str, tile_px: int = 192) -> np.ndarray:
    """A grey card with a text, in place of a tile that cannot be shown.

    Returns:
        (tile_px, tile_px, 3) uint8 RGB.
    """
    card = Image.new("RGB", (tile_px, tile_px), BLANK)
    font = ImageFont.load_default(size=CAPTION_PX)
    letters = max(int((tile_px - 2 * GAP_PX) / font.getlength("n")), 1)
    written = "\n".join(textwrap.wrap(_legible(text), letters))
    middle = (tile_px / 2, tile_px / 2)
    ImageDraw.Draw(card).multiline_text(middle, written, BLANK_INK, font, anchor="mm", align="center", spacing=4)
    return np.asarray(card)


def _check(tiles: Sequence[np.ndarray], captions: Sequence[str], columns: int, tile_px: int) -> None:
    if not tiles:
        raise ConfigError("a contact sheet of no tiles; expected 1 or more")
    if captions and len(captions) != len(tiles):
        raise ConfigError(
            f"{len(captions)} captions for {len(tiles)} tiles of a contact sheet; expected one for each tile"
        )
    if columns < 1 or tile_px < 16:
        raise ConfigError(
            f"contact sheet of {columns} columns and tiles of {tile_px} px; expected 1 or more, and 16 or more"
        )
    for index, tile in enumerate(tiles):
        if tile.dtype != np.uint8 or tile.ndim != 3 or tile.shape[2] != 3 or 0 in tile.shape:
            raise ConfigError(f"tile {index} of a contact sheet is {tile.dtype} {tile.shape}; expected uint8 (h, w, 3)")


def _fitted(tile: np.ndarray, tile_px: int) -> Image.Image:
    scale = tile_px / max(tile.shape[:2])
    size = (max(round(tile.shape[1] * scale), 1), max(round(tile.shape[0] * scale), 1))
    picture = Image.fromarray(tile)
    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int) -> str:
    """The text without its middle if it is too wide, as slides' names differ at both ends."""
    text = _legible(text)
    if font.getlength(text) <= width_px:
        return text
    kept = len(text) - 1
    while kept > 1 and font.getlength(_without_middle(text, kept)) > width_px:
        kept -= 1
    return _without_middle(text, kept)


def _legible(text: str) -> str:
    """The text in characters that the font has: without accents, and with a question mark for all others."""
    letters = unicodedata.normalize("NFKD", text.translate(SUBSTITUTES))
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() or letter == "·" else "?" for letter in letters)


def _without_middle(text: str, kept: int) -> str:
    return text[: kept - kept // 2] + ELLIPSIS + text[len(text) - kept // 2 :]
