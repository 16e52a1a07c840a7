"""A heat map of a slide as a picture with a title, a scale bar and a key to the colours."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embedstore.errors import ExportError, SlideError
from embedstore.export.pictures.heat_map import ALPHA, colour_table, draw_class_map, draw_heat_map
from embedstore.export.predictions.export_scope import ExportScope, attention_ranks
from embedstore.labels.class_colours import Colour, class_colours
from embedstore.output_files import atomic_write
from embedstore.slides import Pixels, Thumbnail, open_slide, read_thumbnail
from embedstore.store import PredictionFacts, SlideRow, Store
from embedstore.store.prediction_schema import decided_classes, probability_matrix
from embedstore.uris import exists_or_remote

PICTURE_PX = 1600  # longer side of the picture of the slide
PAPER = 245  # grey level in place of a slide that cannot be read
DPI = 100
COMPRESSION = 3  # of zlib's 9: takes two fifths of the time of its default, and 7 % more room
MARGIN_PX, TITLE_PX, KEY_PX = 30, 84, 250
SMALLEST_PX = 560, 400  # width and height of the area of the picture, so that title and key fit
BAR_SHARE = 0.2  # of the picture's width, at most
INK = "#202028"
TISSUE_GREY = 180  # of H&E tissue, about


@dataclass(frozen=True, kw_only=True, eq=False)
class _Key:
    """The key to the colours: a colour bar with its threshold, or classes with their number of tiles."""

    title: str
    threshold: float | None = None
    ends: tuple[str, str] = ("", "")
    classes: Mapping[str, Colour] | None = None
    counts: Mapping[str, int] | None = None


def write_heat_map(
    scope: ExportScope, slide_id: str, path: str | Path, *, of_class: str | None = None, picture_px: int = PICTURE_PX
) -> str | None:
    """Draw a head's predictions over a picture of a slide, as PNG.

    The map shows the probability of `of_class`, or else of the positive class of a binary task; of a task of more
    classes, the predicted class; of a head for slides or patients, the attention as ranks within the slide.

    Args:
        scope: The head and its slides.
        slide_id: One of these slides.
        path: File to write.
        of_class: Class to show.
        picture_px: Longer side of the slide's picture, pixels.
    Returns:
        A note where the slide cannot be read and the map is drawn on blank paper, else None.
    Raises:
        ExportError: the head has no such class, or no values for tiles.
    """
    facts, table = scope.head_facts("png"), scope.tile_values("png")
    slide, rows = scope.slides[slide_id], table.table(slides=[slide_id])
    thumbnail, note = slide_picture(scope.store, scope.collection, slide, picture_px=picture_px)
    xy_l0 = np.stack([rows["x"].to_numpy(), rows["y"].to_numpy()], axis=1)
    edge_l0 = rows["edge_l0"].to_numpy()
    shown = of_class or _shown_class(facts)
    if facts.level != "tile":
        if of_class is not None:
            raise ExportError(f"head {facts.head!r} gives no tile a class: its map shows attention; leave out --class")
        picture = draw_heat_map(thumbnail, xy_l0, edge_l0, attention_ranks(rows["attention"].to_numpy()))
        key = _Key(title="attention,\nrank within the slide", ends=("least", "most"))
    elif shown is not None:
        if shown not in facts.classes:
            raise ExportError(f"head {facts.head!r} has no class {shown!r}; it has {', '.join(facts.classes)}")
        picture = draw_heat_map(thumbnail, xy_l0, edge_l0, rows[facts.columns[shown]].to_numpy())
        decides = facts.multi_label or shown == _shown_class(facts)  # other classes have no threshold of their own
        key = _Key(title=f"probability of\n{shown}", threshold=facts.thresholds.get(shown) if decides else None)
    else:
        colours, votes = class_colours(facts.classes), _votes(facts, rows)
        picture = draw_class_map(thumbnail, xy_l0, edge_l0, votes, list(colours.values()))
        counts = {name: int((votes[:, i] > 0).sum()) for i, name in enumerate(facts.classes)}
        key = _Key(title="class (tiles)", classes=colours, counts=counts)
    mpp = thumbnail.mpp if slide.slide_mpp else None
    _save_sheet(picture, Path(path), title=f"head {facts.head}", subtitle=_subtitle(scope, slide_id), key=key, mpp=mpp)
    return note


def slide_picture(
    store: Store, collection: str, slide: SlideRow, *, picture_px: int = PICTURE_PX
) -> tuple[Thumbnail, str | None]:
    """A picture of a slide's bounds, and a note where it is only blank paper.

    Args:
        store: Store of the slide.
        collection: Collection whose ingest says which reader opens the slide.
        slide: Row of the slide.
        picture_px: Longer side of the picture; less where the slide is smaller.
    Raises:
        ExportError: the slide cannot be read and its size is not known.
    """
    slide_id = slide.slide_id
    if not exists_or_remote(slide.path):
        note = f"slide {slide_id!r} is not at {slide.path or 'a known path'}: drawn on blank paper"
        return _blank_paper(slide, picture_px), note
    readers = [outcome.reader for outcome in store.ledger.outcomes(collection=collection, slide_id=slide_id)]
    try:
        with open_slide(slide.path, reader=next(iter(readers), None) or "auto") as opened:
            mpp = slide.slide_mpp or opened.mpp or 1.0
            downsample = max(1.0, max(opened.bounds_l0[2:]) / picture_px)
            return read_thumbnail(opened, mpp_l0=mpp, mpp=mpp * downsample), None
    except SlideError as error:
        return _blank_paper(slide, picture_px), f"slide {slide_id!r} cannot be read: drawn on blank paper ({error})"


def _blank_paper(slide: SlideRow, picture_px: int) -> Thumbnail:
    width, height = slide.bounds_width or slide.width_l0, slide.bounds_height or slide.height_l0
    if not width or not height:
        raise ExportError(
            f"slide {slide.slide_id!r} is not at {slide.path or 'a known path'}, and the store does not know "
            f"its size; bring it back there, or ingest it again with --force"
        )
    downsample = max(1.0, max(width, height) / picture_px)
    columns, rows = max(1, round(width / downsample)), max(1, round(height / downsample))
    return Thumbnail(
        pixels=np.full((rows, columns, 3), PAPER, np.uint8),
        unread=np.zeros((rows, columns), bool),
        origin_l0=slide.corner_l0,
        scale_l0=(width / columns, height / rows),
        mpp=(slide.slide_mpp or 1.0) * downsample,
    )


def _shown_class(facts: PredictionFacts) -> str | None:
    """The class whose probability shows the whole task; None where each class needs a colour of its own."""
    if len(facts.classes) == 1:
        return facts.classes[0]
    return (facts.positive or facts.classes[1]) if len(facts.classes) == 2 and not facts.multi_label else None


def _votes(facts: PredictionFacts, rows: pa.Table) -> np.ndarray:
    """(n, classes): the probability of the predicted class, 0 for others; of several classes the most probable."""
    votes = np.where(decided_classes(facts, rows), np.maximum(probability_matrix(facts, rows), 1e-6), 0)
    return np.where(votes == votes.max(axis=1, keepdims=True), votes, 0)


def _subtitle(scope: ExportScope, slide_id: str) -> str:
    """The slide; of a head for slides or patients with its prediction."""
    facts = scope.head_facts("png")
    if facts.level == "tile" or scope.predictions is None:
        return slide_id
    table = scope.predictions.table(slides=[slide_id])
    if not len(table):
        return slide_id
    probability = {name: table[column][0].as_py() for name, column in facts.columns.items()}
    likeliest = max(facts.classes, key=lambda name: probability[name])
    prediction = f"{facts.level}: {table['label'][0].as_py() or 'none of the classes'}"
    return f"{slide_id}   ·   {prediction} (p {likeliest} = {probability[likeliest]:.2f})"


def _save_sheet(picture: Pixels, path: Path, *, title: str, subtitle: str, key: _Key, mpp: float | None) -> None:
    """Lay out the sheet; one pixel of the picture is one pixel of the sheet."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = picture.shape[:2]
    width = max(columns, SMALLEST_PX[0]) + 2 * MARGIN_PX + KEY_PX
    height = max(rows, SMALLEST_PX[1]) + TITLE_PX + MARGIN_PX
    sheet = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(sheet)
    at = (MARGIN_PX, height - TITLE_PX - rows, columns, rows)  # left, bottom, width, height
    axes = sheet.add_axes(_shares(at, width, height))
    axes.set_axis_off()
    sheet.add_artist(_as_it_is(picture, at[:2]))
    room = (width - 2 * MARGIN_PX) / 7.5  # characters of the smaller line
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
        sheet.savefig(part, dpi=DPI, format="png", pil_kwargs={"compress_level": COMPRESSION})


def _as_it_is(picture: Pixels, at: tuple[float, float]) -> Any:
    """An artist that lays a picture below all else, its lower left corner `at` a pixel; imshow would resample it."""
    from matplotlib.artist import Artist

    class Picture(Artist):
        zorder = -1

        def draw(self, renderer: Any) -> None:
            opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
            renderer.draw_image(renderer.new_gc(), *at, np.concatenate([picture, opaque], axis=2)[::-1])

    return Picture()


def on_tissue(colours: np.ndarray) -> np.ndarray:
    """Colours as they look over pale tissue, (…, 3) uint8, for the key."""
    return np.rint(ALPHA * colours + (1 - ALPHA) * TISSUE_GREY).astype(np.uint8)


def _shares(box: tuple[float, float, float, float], width: float, height: float) -> tuple[float, float, float, float]:
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def _draw_bar(sheet: Any, key: _Key, box: tuple[float, float, float, float], width: int, height: int) -> None:
    """Draw a colour bar from 0 to 1, with its title above and the threshold marked."""
    bar = sheet.add_axes(_shares(box, width, height))
    bar.imshow(on_tissue(colour_table())[::-1, None], aspect="auto", extent=(0, 1, 0, 1))
    bar.set_xticks([])
    bar.yaxis.tick_right()
    low, high = (f"{number}  {word}".rstrip() for number, word in zip(("0", "1"), key.ends, strict=True))
    bar.set_yticks([0, 0.25, 0.5, 0.75, 1], [low, "0.25", "0.5", "0.75", high], fontsize=10, color=INK)
    title = "\n".join(_cut(line, KEY_PX / 8) for line in key.title.split("\n"))
    sheet.text(box[0] / width, (box[1] + box[3] + 18) / height, title, fontsize=10.5, color=INK, va="bottom")
    if key.threshold is not None:
        bar.axhline(key.threshold, color="white", linewidth=3)
        bar.axhline(key.threshold, color=INK, linewidth=1.2)
        text = f"threshold {key.threshold:.2f}"
        sheet.text(box[0] / width, (box[1] - 32) / height, text, fontsize=10, color=INK)


def _draw_classes(sheet: Any, key: _Key, left: float, top: float, width: int, height: int) -> None:
    """Draw a square of colour for each class, with its name and number of tiles."""
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
    """Draw a bar of a round length in the lower left corner of the picture."""
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
    """The largest of 1, 2 and 5 times a power of ten that is not above `most`."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= most * (1 + 1e-9))


def _cut(text: str, letters: float) -> str:
    """The text without its middle if it is longer, as slides' names differ at both ends."""
    kept = max(int(letters), 4)
    return text if len(text) <= kept else f"{text[: kept // 2]}…{text[-(kept - kept // 2 - 1) :]}"
