"""A picture of a stored slide to draw on, or blank paper of its size where the slide is not at hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from embedstore.errors import ExportError, SlideError
from embedstore.slides import Thumbnail, open_slide, read_thumbnail
from embedstore.store import Store

PICTURE_PX = 1600  # longer side
PAPER = 245


def slide_picture(
    store: Store, collection: str, slide: Mapping[str, Any], *, picture_px: int = PICTURE_PX
) -> tuple[Thumbnail, str | None]:
    """The picture of a slide's bounds, and a note where it is only blank paper.

    Args:
        store: Where the slide is known.
        collection: Whose record says which reader opens the slide.
        slide: Its row.
        picture_px: Longer side of the picture; less where the slide is smaller than that.
    Raises:
        ExportError: neither the slide is at hand nor its size known.
    """
    slide_id, path = slide["slide_id"], slide.get("path")
    if not path or not Path(path).exists():
        return _paper(slide, picture_px), f"slide {slide_id!r} is not at {path or 'a known path'}: drawn on blank paper"
    readers = [row["reader"] for row in store.ledger.outcomes(collection=collection, slide_id=slide_id)]
    try:
        with open_slide(path, reader=next(iter(readers), None) or "auto") as opened:
            mpp = slide.get("slide_mpp") or opened.mpp or 1.0
            shrink = max(1.0, max(opened.bounds_l0[2:]) / picture_px)
            return read_thumbnail(opened, mpp_l0=mpp, mpp=mpp * shrink), None
    except SlideError as error:
        return _paper(slide, picture_px), f"slide {slide_id!r} cannot be read: drawn on blank paper ({error})"


def _paper(slide: Mapping[str, Any], picture_px: int) -> Thumbnail:
    width, height = (slide.get(f"bounds_{side}") or slide.get(f"{side}_l0") for side in ("width", "height"))
    if not width or not height:
        raise ExportError(
            f"slide {slide['slide_id']!r} is not at {slide.get('path') or 'a known path'}, and the store does not know "
            f"its size; bring it back there, or ingest it again with --force"
        )
    shrink = max(1.0, max(width, height) / picture_px)
    columns, rows = max(1, round(width / shrink)), max(1, round(height / shrink))
    return Thumbnail(
        pixels=np.full((rows, columns, 3), PAPER, np.uint8),
        unread=np.zeros((rows, columns), bool),
        origin_l0=(slide.get("bounds_x") or 0, slide.get("bounds_y") or 0),
        scale_l0=(width / columns, height / rows),
        mpp=(slide.get("slide_mpp") or 1.0) * shrink,
    )
