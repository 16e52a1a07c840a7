"""Colours of classes, the same in every export."""

import colorsys
from collections.abc import Sequence

Colour = tuple[int, int, int]

#: Okabe & Ito 2008, distinct for any kind of colour vision; those near the pink of H&E come last.
PALETTE: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (86, 180, 233),
    (0, 0, 0),
    (213, 94, 0),
    (204, 121, 167),
)
POSITIVE: Colour = (213, 94, 0)
NEGATIVE: Colour = (86, 180, 233)


def class_colours(classes: Sequence[str], positive: str | None = None) -> dict[str, Colour]:
    """{class: (r, g, b)}, 0 to 255; if there are two classes, the positive one is vermilion and the other sky blue."""
    if len(classes) == 2 and positive in classes:
        return {name: POSITIVE if name == positive else NEGATIVE for name in classes}
    return {name: PALETTE[i] if i < len(PALETTE) else _further(i) for i, name in enumerate(classes)}


def _further(number: int) -> Colour:
    """A colour beyond the palette; hues are spaced by the golden ratio, so that consecutive ones differ."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.65, 0.8)
    return round(red * 255), round(green * 255), round(blue * 255)
