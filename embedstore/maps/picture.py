"""The map of a collection as a picture with a key to its colours."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedstore.export.pictures.heat_map import COLOUR_FROM, COLOUR_MAP
from embedstore.labels.class_colours import PALETTE, class_colours
from embedstore.maps.colours import MapColours
from embedstore.maps.reading import TileMap

if TYPE_CHECKING:
    from PIL import Image

#: Classes that have a colour of their own; a reader tells no more apart, and the others are grey.
MOST_COLOURS = len(PALETTE)
INK, GREY, PAPER = "#202028", "#b4b4b8", "white"
DPI, KEY_PX, MARGIN_PX, TITLE_PX = 100, 300, 30, 84
#: Area of a point, points²: of so many tiles that they cover a good part of the picture, and at least and at most.
_AREA, _LEAST, _MOST = 60_000.0, 0.8, 40.0


def map_picture(
    tiles: TileMap, colours: MapColours | None = None, *, title: str, picture_px: int = 1200
) -> "Image.Image":
    """Draw a map, a point for each tile.

    A class has its number on the map, at the middle of its tiles, so that the picture can be read without colours.

    Args:
        colours: What the points are coloured by; all alike when None.
        title: Its first line.
        picture_px: Edge of the square with the points, pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    width, height = picture_px + 2 * MARGIN_PX + KEY_PX, picture_px + MARGIN_PX + TITLE_PX
    sheet = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
    canvas = FigureCanvasAgg(sheet)
    box = (MARGIN_PX / width, MARGIN_PX / height, picture_px / width, picture_px / height)
    axes = sheet.add_axes(box)
    axes.set_axis_off()
    axes.set_xlim(-1.03, 1.03)
    axes.set_ylim(-1.03, 1.03)
    sheet.text(MARGIN_PX / width, 1 - 34 / height, title, fontsize=15, weight="bold", color=INK)
    sheet.text(MARGIN_PX / width, 1 - 62 / height, _subtitle(tiles), fontsize=10.5, color=INK)
    order = np.random.default_rng(0).permutation(len(tiles.places))  # so that no class lies on top of all others
    area = float(np.clip(_AREA / max(len(order), 1), _LEAST, _MOST))

    def points(rows: NDArray[np.intp], colour: Any, **options: Any) -> Any:
        x, y = tiles.places[rows].T
        return axes.scatter(x, y, c=colour, s=area, linewidths=0, **options)

    if colours is None:
        points(order, INK, alpha=0.5)
    elif colours.kind == "numbers":
        known = np.isfinite(colours.values[order])
        points(order[~known], GREY)
        from matplotlib import colormaps
        from matplotlib.colors import ListedColormap, Normalize

        shades = ListedColormap(colormaps[COLOUR_MAP](np.linspace(COLOUR_FROM, 1, 256)))
        drawn = points(order[known], colours.values[order[known]], cmap=shades, norm=Normalize(*colours.range))
        _draw_scale(sheet, drawn, colours, int((~known).sum()), width, height)
    else:
        _draw_classes(sheet, axes, tiles, colours, points, order, width, height)
    canvas.draw()
    stored = BytesIO()
    sheet.savefig(stored, dpi=DPI, format="png")
    return Image.open(stored).convert("RGB")


def _subtitle(tiles: TileMap) -> str:
    record = tiles.facts.record
    return f"{tiles.facts.note}; {record.library or 'principal components'}, seed {record.config.seed}"


def _draw_scale(sheet: Any, drawn: Any, colours: MapColours, unknown: int, width: int, height: int) -> None:
    left, top = width - KEY_PX, height - TITLE_PX - 40
    sheet.text(left / width, top / height, _cut(colours.title, 38), fontsize=10.5, color=INK)
    bar = sheet.add_axes((left / width, (top - 270) / height, 22 / width, 240 / height))
    sheet.colorbar(drawn, cax=bar)
    bar.tick_params(labelsize=10, labelcolor=INK)
    if colours.threshold is not None:
        bar.axhline(colours.threshold, color="white", linewidth=3)
        bar.axhline(colours.threshold, color=INK, linewidth=1.2)
        sheet.text(left / width, (top - 305) / height, f"threshold {colours.threshold:.2f}", fontsize=10, color=INK)
    if unknown:
        sheet.text(left / width, (top - 330) / height, f"grey: {unknown:,} without a value", fontsize=10, color=INK)


def _draw_classes(
    sheet: Any,
    axes: Any,
    tiles: TileMap,
    colours: MapColours,
    points: Any,
    order: NDArray[np.intp],
    width: int,
    height: int,
) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    palette = list(class_colours(colours.classes, colours.positive).values())[:MOST_COLOURS]
    shades = np.array([*(np.array(each) / 255 for each in palette)]).reshape(-1, 3)
    code = colours.values[order]
    named = (code >= 0) & (code < len(shades))
    points(order[~named], GREY)
    points(order[named], shades[code[named]])
    left, top = width - KEY_PX, TITLE_PX
    sheet.text(left / width, 1 - (top + 18) / height, f"{_cut(colours.title, 30)} (tiles)", fontsize=10.5, color=INK)
    grey = int((~named).sum())
    unlabelled = int((code < 0).sum())
    entries = [
        (f"{i + 1}  {_cut(name, 24)} ({colours.counts[i]:,})", shades[i])
        for i, name in enumerate(colours.classes[: len(shades)])
    ]
    if grey > unlabelled:
        entries.append((f"{len(colours.classes) - len(shades):,} others ({grey - unlabelled:,})", GREY))
    if unlabelled:
        entries.append((f"none ({unlabelled:,})", GREY))
    for i, (text, colour) in enumerate(entries):
        y = top + 36 + 26 * i
        corner = left / width, 1 - (y + 18) / height
        sheet.add_artist(Rectangle(corner, 18 / width, 18 / height, color=colour, transform=sheet.transFigure))
        sheet.text((left + 28) / width, 1 - (y + 14) / height, text, fontsize=10, color=INK)
    for i in range(len(shades)):
        of_class = tiles.places[colours.values == i]
        if len(of_class):
            axes.text(
                *_middle(of_class), str(i + 1), fontsize=13, weight="bold", color=INK, ha="center", va="center",
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )  # fmt: skip


def _middle(places: NDArray[np.float32]) -> tuple[float, float]:
    """One of the places, the nearest to their median: the median itself may lie between two groups."""
    nearest = ((places - np.median(places, axis=0)) ** 2).sum(axis=1).argmin()
    x, y = places[nearest].tolist()
    return x, y


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters // 2]}…{text[-(letters - letters // 2 - 1) :]}"
