"""Pictures: deep-zoom tiles, thumbnails and tiles of slides; and images that are sent, to be embedded."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar
from xml.sax.saxutils import quoteattr

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from embedstore.errors import TileNotFoundError, TooLargeError
from embedstore.search import image_query
from embedstore.service.failures import answers
from embedstore.service.pictures import (
    MEDIA_TYPE,
    MOST_THUMBNAIL_PX,
    MOST_UPLOAD_BYTES,
    Picture,
    SlideFile,
    SlideInfo,
    decode_upload,
)
from embedstore.service.visible import SeenByReader, Visible

T = TypeVar("T")

router = APIRouter(tags=["pictures"])

#: A browser may show a picture for so long without asking whether it may still be seen, seconds.
MAX_AGE_S = 60
#: Most tiles of an image that are embedded; the vector is their mean.
MOST_TILES = 256
DZI = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpeg" '
    "Overlap={overlap} TileSize={tile}><Size Width={width} Height={height}/></Image>\n"
)
#: What a route that answers with a picture may answer, for the OpenAPI document.
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "The picture that the client has, by If-None-Match, is still the one."},
    **answers(502),
}
Level = Annotated[int, "A deep-zoom level; 0 is a single pixel."]


class DeepZoomAnswer(BaseModel):
    """What a viewer needs to know of a slide. Coordinates are level-0 pixels from the corner of level 0.

    A pixel of deep-zoom level n covers a square of 2^(max_level - n) level-0 pixels; so in a viewer of deep-zoom images
    the coordinates of the image are level-0 pixels.
    """

    size_l0: tuple[int, int] = Field(description="Width and height of level 0, pixels.")
    bounds_l0: tuple[int, int, int, int] = Field(
        description="x, y, width and height of the scanned part, which a viewer shows first."
    )
    mpp: float | None = Field(description="Micrometres per level-0 pixel.")
    magnification: float | None = Field(description="Of the objective, as the file says.")
    vendor: str = Field(examples=["aperio"])
    levels: list[tuple[int, int, float]] = Field(description="Width, height and downsample of the levels of the file.")
    tile_px: int = Field(description="Edge of a deep-zoom tile, pixels.")
    overlap_px: int
    min_level: int = Field(description="The coarsest deep-zoom level that has tiles.")
    max_level: int = Field(description="The finest deep-zoom level: level 0 of the slide.")


class EmbedAnswer(BaseModel):
    """An image as a query: search with its vector."""

    title: str
    vector: list[float]


async def _picture(request: Request, seen: Visible, find: Callable[[], Picture]) -> Response:
    """Answer with a picture: that the client has it, from the cache, or newly made.

    Only what has to be made waits for its turn among pictures.
    """
    picture = await seen.run("files", request, find)
    headers = {"ETag": picture.tag, "Cache-Control": f"private, max-age={MAX_AGE_S}, must-revalidate"}
    known = request.headers.get("if-none-match", "")
    if picture.tag in (each.strip().removeprefix("W/") for each in known.split(",")):
        return Response(status_code=304, headers=headers)
    body = picture.at_hand()
    if body is None:
        body = await _read(request, seen, picture.path, lambda: picture.at_hand() or picture.make())
    return Response(body, media_type=MEDIA_TYPE, headers=headers)


async def _read(request: Request, seen: Visible, path: str, function: Callable[[], T]) -> T:
    """Call a function that reads a slide, once it is the slide's turn, and that of pictures."""
    limits = seen.service.limits
    async with limits.turn(limits.of_slide(path), request):
        return await seen.run("pictures", request, function)


async def _info(request: Request, seen: Visible, slide_id: str) -> SlideInfo:
    file = await seen.run("files", request, lambda: _file(seen, slide_id, "slide"))
    return await _read(request, seen, file.path, lambda: seen.service.pictures.info(file))


def _file(seen: Visible, slide_id: str, action: str) -> SlideFile:
    """The file of a slide, given the id that the caller knows it by."""
    slide = seen.slide(slide_id)
    seen.looked(slide, action)
    return seen.service.slide_files.get(slide, shown_id=seen.shown_id(slide))


@router.get("/api/slides/{slide_id:path}/deep-zoom", responses=answers(502))
async def deep_zoom(request: Request, seen: SeenByReader, slide_id: str) -> DeepZoomAnswer:
    """Size, resolution and deep-zoom levels of a slide, for a viewer."""
    return DeepZoomAnswer.model_validate(await _info(request, seen, slide_id), from_attributes=True)


@router.get(
    "/api/slides/{slide_id:path}/deep-zoom.dzi",
    response_class=Response,
    responses={200: {"content": {"application/xml": {}}}, **answers(502)},
)
async def deep_zoom_image(request: Request, seen: SeenByReader, slide_id: str) -> Response:
    """The same in the Deep Zoom format, as OpenSeadragon and other viewers read it by its address."""
    info = await _info(request, seen, slide_id)
    width, height = info.size_l0
    facts = {"overlap": info.overlap_px, "tile": info.tile_px, "width": width, "height": height}
    text = DZI.format_map({name: quoteattr(str(value)) for name, value in facts.items()})
    return Response(text, media_type="application/xml")


@router.get(
    "/api/slides/{slide_id:path}/deep-zoom_files/{level}/{column}_{row}.jpeg",
    response_class=Response,
    responses=PICTURE,
)
async def deep_zoom_tile(
    request: Request, seen: SeenByReader, slide_id: str, level: Level, column: int, row: int
) -> Response:
    """A deep-zoom tile."""
    pictures = seen.service.pictures
    return await _picture(
        request, seen, lambda: pictures.deep_zoom_tile(_file(seen, slide_id, "picture"), level, column, row)
    )


@router.get("/api/slides/{slide_id:path}/thumbnail", response_class=Response, responses=PICTURE)
async def thumbnail(
    request: Request,
    seen: SeenByReader,
    slide_id: str,
    edge: Annotated[int, Query(ge=1, le=MOST_THUMBNAIL_PX, description="Longest edge, pixels.")] = 256,
) -> Response:
    """The scanned part of a slide, from its pyramid; never the images of its label or of the whole glass."""
    pictures = seen.service.pictures
    return await _picture(request, seen, lambda: pictures.thumbnail(_file(seen, slide_id, "thumbnail"), edge))


@router.get("/api/collections/{collection}/tiles/{tile_id}/picture", response_class=Response, responses=PICTURE)
async def tile_picture(
    request: Request, seen: SeenByReader, collection: str, tile_id: Annotated[int, "A tile's id"]
) -> Response:
    """A tile as its extractor saw it."""

    def find() -> Picture:
        table = seen.service.collection(collection).table
        location = seen.service.known_tiles.location(table, tile_id)
        if location is None:
            raise TileNotFoundError(
                f"no tile {tile_id} in collection {collection!r}; a search tells ids of tiles, which have 64 bits"
            )
        seen.require_slides([location.slide_id])
        seen.looked(location.slide_id, "tile")
        file = seen.service.slide_files.get(location.slide_id, shown_id=seen.shown_id(location.slide_id))
        return seen.service.pictures.tile(file, location, table.tiling())

    return await _picture(request, seen, find)


@router.post(
    "/api/collections/{collection}/embed",
    responses=answers(),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in ("image/png", "image/jpeg", "image/tiff", "image/webp", "application/octet-stream")
            },
        }
    },
)
async def embed(
    request: Request,
    seen: SeenByReader,
    collection: str,
    mpp: Annotated[
        float | None,
        Query(ge=0.02, le=100, description="Resolution of the image, µm/px; the collection's when left out."),
    ] = None,
) -> EmbedAnswer:
    """Embed an image with the collection's extractor: its vector is a query.

    The body is the image itself: PNG, JPEG, TIFF, WebP, BMP or GIF. An image larger than a tile is cut into tiles, and
    the vector is the mean of theirs.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_UPLOAD_BYTES:
            raise TooLargeError(f"the image has more than {MOST_UPLOAD_BYTES:,} bytes, the most that is taken; crop it")
    service = seen.service
    table = await seen.run("reads", request, lambda: service.collection(collection).table)
    pixels = await seen.run("pictures", request, lambda: decode_upload(bytes(body)))

    def make() -> EmbedAnswer:
        extractor = service.extractors.get(table)
        query = image_query(service.tables, table, pixels, mpp=mpp, extractor=extractor, most_tiles=MOST_TILES)
        return EmbedAnswer(title=query.title, vector=query.vector.tolist())

    return await seen.run("embeddings", request, make)
