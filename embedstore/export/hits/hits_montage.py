"""Hits as one picture: the query first, then its neighbours, each with a caption."""

from pathlib import Path

from PIL import Image

from embedstore.export.hits.hit_pictures import distance_text, pictures_of, place_text, summary_lines
from embedstore.export.pictures.contact_sheet import blank_tile, contact_sheet
from embedstore.output_files import atomic_write, require_picture
from embedstore.search.hits import Hit, Hits
from embedstore.store import TileLocation

#: zlib's level for a montage: a third of the time of 6, Pillow's own, and a file that is a twentieth larger.
PNG_LEVEL = 1


def write_montage(hits: Hits, path: str | Path, *, columns: int = 6, tile_px: int = 192) -> Image.Image:
    """Write `draw_montage` to a file, in the format of its ending: .png, .jpg, .tif and the like.

    Raises:
        ExportError: the ending is of no picture format, or the file cannot be written.
    """
    require_picture(path, option="montage")
    sheet = draw_montage(hits, columns=columns, tile_px=tile_px)
    with atomic_write(path) as part:
        sheet.save(part, compress_level=PNG_LEVEL)  # which other formats pass over
    return sheet


def draw_montage(hits: Hits, *, columns: int = 6, tile_px: int = 192) -> Image.Image:
    """Draw the query in a frame of its own, and the hits, each with rank, distance, slide, place and patient.

    A query by several tiles shows a few of them, a query by an image the image, and a query by a vector a card that
    says so. A tile whose slide cannot be read is a grey card.

    Args:
        hits: The hits to draw.
        columns: Tiles in a row.
        tile_px: Edge of a tile in the picture, pixels.
    Raises:
        ConfigError: columns or tile_px is too small.
    """
    shown = hits.first(len(hits))
    query, found = pictures_of(hits, [hit.tile for hit in shown])
    pictures = [*(picture for picture, _ in query), *found]
    captions = [_query_caption(tile) for _, tile in query] + [_caption(hit) for hit in shown]
    return contact_sheet(
        [blank_tile(picture, tile_px) if isinstance(picture, str) else picture for picture in pictures],
        captions,
        columns=columns,
        tile_px=tile_px,
        title=_title(hits),
        accented=len(query),
    )


def _title(hits: Hits) -> str:
    lines = [f"Nearest to {hits.query.title}", "   ·   ".join(summary_lines(hits)), hits.note]
    return "\n".join(line.replace("\n", " ") for line in lines if line)


def _query_caption(tile: TileLocation | None) -> str:
    return "\n".join(["query", *([tile.slide_id, place_text(tile)] if tile else [])])


def _caption(hit: Hit) -> str:
    lines = [f"{hit.rank}   distance {distance_text(hit)}", hit.tile.slide_id, place_text(hit.tile)]
    if hit.patient is not None:
        lines.append(f"patient {hit.patient}")
    return "\n".join(line.replace("\n", " ") for line in lines)
