"""A heat map as a sheet for people: with what is shown, of which head and slide, a scale bar, and what colours mean."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embedstore.errors import ExportError
from embedstore.export.pictures.heat_map import ALPHA, colour_table, draw_class_map, draw_heat_map
from embedstore.export.predictions.export_scope import ExportScope
from embedstore.export.predictions.ranks import ranks
from embedstore.export.predictions.slide_picture import PICTURE_PX, slide_picture
from embedstore.labels.class_colours import Colour, class_colours
from embedstore.output_files import atomic_write
from embedstore.slides import Pixels
from embedstore.store import PredictionFacts
from embedstore.store.prediction_schema import decided_classes, probability_matrix

DPI = 100
MARGIN_PX, TITLE_PX, KEY_PX = 30, 84, 250
SMALLEST_PX = 560, 400  # width and height of what the sheet has room for, so that its title and key fit
BAR_SHARE = 0.2  # of the picture's width, at most
INK = "#202028"
TISSUE_GREY = 180  # of H&E tissue, about


@dataclass(frozen=True, kw_only=True, eq=False)
class _Key:
    """What the colours mean: a colour bar with a mark, or classes with their number of tiles."""

    title: str
    mark: float | None = None
    ends: tuple[str, str] = ("", "")
    classes: Mapping[str, Colour] | None = None
    counts: Mapping[str, int] | None = None


def write_heat_map(
    scope: ExportScope, slide_id: str, path: str | Path, *, of_class: str | None = None, picture_px: int = PICTURE_PX
) -> str | None:
    """Draw what a head says of a slide's tiles over the slide, as PNG.

    Shown is the probability of `of_class`, or else of the positive class of a task of two; of a task of more classes
    the class decided on; of a head for slides or patients the attention, as ranks within the slide.

    Args:
        scope: The head and its slides.
        slide_id: One of them.
        path: The file.
        of_class: A class.
        picture_px: Longer side of the slide's picture, pixels.
    Returns:
        A note for the user where the slide is not at hand and the map is drawn on blank paper, else None.
    Raises:
        ExportError: the head has no such class, or nothing to say of tiles.
    """
    facts, table = scope.head_facts("png"), scope.places_table("png")
    slide, rows = scope.slides[slide_id], table.table(slides=[slide_id])
    thumbnail, note = slide_picture(scope.store, scope.collection, slide, picture_px=picture_px)
    xy_l0 = np.stack([rows["x"].to_numpy(), rows["y"].to_numpy()], axis=1)
    edge_l0 = rows["edge_l0"].to_numpy()
    shown = of_class or _shown_class(facts)
    if facts.level != "tile":
        if of_class is not None:
            raise ExportError(f"head {facts.head!r} gives no tile a class; its map shows attention; leave out --class")
        picture = draw_heat_map(thumbnail, xy_l0, edge_l0, ranks(rows["attention"].to_numpy()))
        key = _Key(title="attention,\nrank within the slide", ends=("least", "most"))
    elif shown is not None:
        if shown not in facts.classes:
            raise ExportError(f"head {facts.head!r} has no class {shown!r}; it has {', '.join(facts.classes)}")
        picture = draw_heat_map(thumbnail, xy_l0, edge_l0, rows[facts.columns[shown]].to_numpy())
        decides = facts.multi_label or shown == _shown_class(facts)  # other classes have no threshold of their own
        key = _Key(title=f"probability of\n{shown}", mark=facts.thresholds.get(shown) if decides else None)
    else:
        colours, votes = class_colours(facts.classes), _votes(facts, rows)
        picture = draw_class_map(thumbnail, xy_l0, edge_l0, votes, list(colours.values()))
        counts = {name: int((votes[:, i] > 0).sum()) for i, name in enumerate(facts.classes)}
        key = _Key(title="class (tiles)", classes=colours, counts=counts)
    mpp = thumbnail.mpp if slide.get("slide_mpp") else None
    _save_sheet(picture, Path(path), title=f"head {facts.head}", subtitle=_subtitle(scope, slide_id), key=key, mpp=mpp)
    return note


def _shown_class(facts: PredictionFacts) -> str | None:
    """The class whose probability is a map of the whole task; None where classes must be told apart by colour."""
    if len(facts.classes) == 1:
        return facts.classes[0]
    return (facts.positive or facts.classes[1]) if len(facts.classes) == 2 and not facts.multi_label else None


def _votes(facts: PredictionFacts, rows: pa.Table) -> np.ndarray:
    """(n, classes): the probability of the class decided on, 0 for others; of several classes the likeliest."""
    votes = np.where(decided_classes(facts, rows), np.maximum(probability_matrix(facts, rows), 1e-6), 0)
    return np.where(votes == votes.max(axis=1, keepdims=True), votes, 0)


def _subtitle(scope: ExportScope, slide_id: str) -> str:
    """The slide; of a head for slides or patients with its answer."""
    facts = scope.head_facts("png")
    if facts.level == "tile" or scope.predictions is None:
        return slide_id
    found = scope.predictions.table(slides=[slide_id]).to_pylist()
    if not found:
        return slide_id
    likeliest = max(facts.classes, key=lambda name: found[0][facts.columns[name]])
    answer = f"{facts.level}: {found[0]['label'] or 'none of the classes'}"
    return f"{slide_id}   ·   {answer} (p {likeliest} = {found[0][facts.columns[likeliest]]:.2f})"


def _save_sheet(picture: Pixels, path: Path, *, title: str, subtitle: str, key: _Key, mpp: float | None) -> None:
    """Lay out the sheet; the picture's pixels are the sheet's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = picture.shape[:2]
    width = max(columns, SMALLEST_PX[0]) + 2 * MARGIN_PX + KEY_PX
    height = max(rows, SMALLEST_PX[1]) + TITLE_PX + MARGIN_PX
    sheet = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(sheet)
    at = (MARGIN_PX, height - TITLE_PX - rows, columns, rows)  # left, bottom, width, height
    axes = sheet.add_axes(_shares(at, width, height))
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    room = (width - 2 * MARGIN_PX) / 7.5  # letters of the smaller line
    sheet.text(MARGIN_PX / width, 1 - 34 / height, _cut(title, room * 0.7), fontsize=15, weight="bold", color=INK)
    sheet.text(MARGIN_PX / width, 1 - 62 / height, _cut(subtitle, room), fontsize=10.5, color=INK)
    if mpp:
        _draw_scale_bar(axes, columns, rows, mpp)
    left = 2 * MARGIN_PX + columns
    if key.classes is None:
        _draw_bar(sheet, key, (left, height - TITLE_PX - 60 - 240, 22, 240), width, height)
    else:
        _draw_classes(sheet, key, left, TITLE_PX, width, height)
    with atomic_write(path) as part:
        sheet.savefig(part, dpi=DPI, format="png")


def on_tissue(colours: np.ndarray) -> np.ndarray:
    """Paint as it looks on pale tissue, (…, 3) uint8: what a key must show."""
    return np.rint(ALPHA * colours + (1 - ALPHA) * TISSUE_GREY).astype(np.uint8)


def _shares(box: tuple[float, float, float, float], width: float, height: float) -> tuple[float, float, float, float]:
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def _draw_bar(sheet: Any, key: _Key, box: tuple[float, float, float, float], width: int, height: int) -> None:
    """A colour bar from 0 to 1, with its title above and the threshold marked."""
    bar = sheet.add_axes(_shares(box, width, height))
    bar.imshow(on_tissue(colour_table())[::-1, None], aspect="auto", extent=(0, 1, 0, 1))
    bar.set_xticks([])
    bar.yaxis.tick_right()
    low, high = (f"{number}  {word}".rstrip() for number, word in zip(("0", "1"), key.ends, strict=True))
    bar.set_yticks([0, 0.25, 0.5, 0.75, 1], [low, "0.25", "0.5", "0.75", high], fontsize=10, color=INK)
    title = "\n".join(_cut(line, KEY_PX / 8) for line in key.title.split("\n"))
    sheet.text(box[0] / width, (box[1] + box[3] + 18) / height, title, fontsize=10.5, color=INK, va="bottom")
    if key.mark is not None:
        bar.axhline(key.mark, color="white", linewidth=3)
        bar.axhline(key.mark, color=INK, linewidth=1.2)
        text = f"decided from {key.mark:.2f}"
        sheet.text(box[0] / width, (box[1] - 32) / height, text, fontsize=10, color=INK)


def _draw_classes(sheet: Any, key: _Key, left: float, top: float, width: int, height: int) -> None:
    """A square of colour a class, with its name and number of tiles."""
    from matplotlib.patches import Rectangle

    sheet.text(left / width, 1 - (top + 18) / height, key.title, fontsize=10.5, color=INK)
    room = int((height - top - 60) // 26)
    for i, (name, colour) in enumerate(list((key.classes or {}).items())[:room]):
        y = top + 36 + 26 * i
        square = _shares((left, height - y - 18, 18, 18), width, height)
        shown = on_tissue(np.asarray(colour)) / 255
        patch = Rectangle(square[:2], *square[2:], color=shown, transform=sheet.transFigure)
        sheet.add_artist(patch)
        text = f"{_cut(name, 22)} ({(key.counts or {}).get(name, 0):,})"
        sheet.text((left + 28) / width, 1 - (y + 14) / height, text, fontsize=10, color=INK)


def _draw_scale_bar(axes: Any, columns: int, rows: int, mpp: float) -> None:
    """A bar of a round length in the lower left corner of the picture."""
    length_mm = round_length(columns * mpp / 1000 * BAR_SHARE)
    length_px = length_mm * 1000 / mpp
    x, y = 0.02 * columns, rows - max(0.025 * rows, 14)
    for colour, linewidth in (("white", 7), (INK, 3.5)):
        axes.plot([x, x + length_px], [y, y], color=colour, linewidth=linewidth, solid_capstyle="butt")
    text = f"{length_mm:g} mm" if length_mm >= 1 else f"{length_mm * 1000:g} µm"
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
    axes.text(x, y - 10, text, fontsize=10, color=INK, va="bottom", bbox=box)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)


def round_length(most: float) -> float:
    """The longest of 1, 2 and 5 times a power of ten that is not above `most`."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= most * (1 + 1e-9))


def _cut(text: str, letters: float) -> str:
    """The text without its middle where it has more letters than that: both ends of a slide's name tell it apart."""
    kept = max(int(letters), 4)
    return text if len(text) <= kept else f"{text[: kept // 2]}…{text[-(kept - kept // 2 - 1) :]}"
