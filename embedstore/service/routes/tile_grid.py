"""Where the tiles of a slide lie, as a few arrays: a viewer draws them, and finds the tile at a place, by itself."""

import hashlib
import json

import numpy as np
from fastapi import APIRouter, Request, Response
from safetensors.numpy import save

from embedstore.service.answers import content
from embedstore.service.failures import answers
from embedstore.service.visible import SeenByReader
from embedstore.store.sql import sql_in

router = APIRouter(prefix="/api/collections/{collection}/slides/{slide_id:path}", tags=["collections"])

SAFETENSORS = "application/vnd.safetensors"
COLUMNS = ("tile_id", "x", "y", "edge_l0", "tissue")


@router.get(
    "/tile-grid",
    response_class=Response,
    responses=content(SAFETENSORS) | {304: {"description": "It is as the client has it."}} | answers(),
)
async def tile_grid(request: Request, seen: SeenByReader, collection: str, slide_id: str) -> Response:
    """All tiles of a slide in one answer, in the format safetensors as the raster of a head is.

    `tile_id` int64; `x`, `y` and `edge_l0` int32, level-0 pixels; `tissue` float32: (n,) each, by y and then x.
    `__metadata__.tiles` of the header is JSON with `collection`, `slide_id`, and `version` of the collection. A slide
    that has no tiles in the collection has arrays of none.
    """

    def read() -> Response:
        slide = seen.slide(slide_id)
        seen.looked(slide, "tiles")
        table = seen.service.collection(collection).table.pinned()
        version = table.dataset().version
        shown = {"collection": collection, "slide_id": seen.shown_id(slide), "version": version}
        tag = f'"{hashlib.blake2b(repr(shown).encode(), digest_size=12).hexdigest()}"'
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        rows = table.tiles(where=sql_in("slide_id", [slide]), columns=list(COLUMNS))
        rows = rows.sort_by([("y", "ascending"), ("x", "ascending")])
        arrays = {name: np.ascontiguousarray(rows[name].to_numpy()) for name in COLUMNS}
        about = {"tiles": json.dumps(shown, ensure_ascii=False)}
        return Response(save(arrays, metadata=about), media_type=SAFETENSORS, headers=headers)

    return await seen.run("reads", request, read)
