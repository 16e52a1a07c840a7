"""Tiles that were found as one picture: the query first, then its neighbours with what they are below each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from embedstore.errors import ExportError
from embedstore.export.hits.hit_pictures import distance_text, facts, found_pictures, place_text, query_pictures
from embedstore.export.pictures.contact_sheet import blank_tile, contact_sheet
from embedstore.output_files import atomic_write
from embedstore.search.hits import Hits


def write_montage(hits: Hits, path: str | Path, *, columns: int = 6, tile_px: int = 192) -> Image.Image:
    """Write `draw_montage` to a file, in the format that its ending says: .png, .jpg, .tif and the like.

    Raises:
        ExportError: no picture has such an ending, or nothing can be written there.
    """
    path = Path(path)
    Image.init()
    if path.suffix.lower() not in Image.EXTENSION or Image.EXTENSION[path.suffix.lower()] not in Image.SAVE:
        raise ExportError(
            f"montage {path} ends in {path.suffix!r}; expected a picture, such as {path.with_suffix('.png')}"
        )
    sheet = draw_montage(hits, columns=columns, tile_px=tile_px)
    with atomic_write(path) as part:
        sheet.save(part)
    return sheet


def draw_montage(hits: Hits, *, columns: int = 6, tile_px: int = 192) -> Image.Image:
    """Draw the query in a frame of its own, and the tiles found, each with rank, distance, slide, place and patient.

    A query of several tiles shows a few of them, one of an image the image, and one of a vector a card that says so.
    A tile whose slide is not at hand is a grey card.

    Args:
        hits: What was found.
        columns: Tiles in a row.
        tile_px: Edge of a tile on the sheet, pixels.
    Raises:
        ConfigError: there is no such sheet.
    """
    asked = query_pictures(hits)
    rows = hits.to_pylist()
    pictures = [*(picture for picture, _ in asked), *found_pictures(hits, rows)]
    captions = [_query_caption(row) for _, row in asked] + [_caption(row) for row in rows]
    return contact_sheet(
        [blank_tile(picture, tile_px) if isinstance(picture, str) else picture for picture in pictures],
        captions,
        columns=columns,
        tile_px=tile_px,
        title=_title(hits),
        accented=len(asked),
    )


def _title(hits: Hits) -> str:
    lines = [f"Nearest to {hits.query.title}", "   ·   ".join(facts(hits)), hits.note]
    return "\n".join(line.replace("\n", " ") for line in lines if line)


def _query_caption(row: Mapping[str, Any] | None) -> str:
    return "\n".join(["query", *([row["slide_id"], place_text(row)] if row else [])])


def _caption(row: Mapping[str, Any]) -> str:
    lines = [f"{row['rank']}   distance {distance_text(row)}", row["slide_id"], place_text(row)]
    if row["patient"] is not None:
        lines.append(f"patient {row['patient']}")
    return "\n".join(line.replace("\n", " ") for line in lines)
