"""Pictures of tiles as their extractor saw them, from a service."""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from embedstore.client.connection import Connection, path
from embedstore.errors import EmbedStoreError, RegionReadError, ServiceNotReachableError, SlideNotFoundError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

T = TypeVar("T")

#: Pictures that are fetched at once.
AT_ONCE = 8


def tile_picture(connection: Connection, collection: str, tile_id: int) -> "Image.Image":
    """The picture of a tile.

    Raises:
        SlideNotFoundError: its slide is no longer where it was ingested from.
        RegionReadError: it can no longer be read.
    """
    from PIL import Image

    data = connection.get_bytes(path("collections", collection, "tiles", tile_id, "picture"), accept="image/*")
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB")


def picture_or_reason(connection: Connection, collection: str, tile_id: int) -> "np.ndarray | str":
    """(height, width, 3) uint8 RGB, or a few words on why there is no picture."""
    import numpy as np

    try:
        return np.asarray(tile_picture(connection, collection, tile_id))
    except SlideNotFoundError:
        return "slide not at hand"
    except RegionReadError:
        return "tile cannot be read"
    except ServiceNotReachableError:
        raise
    except EmbedStoreError:
        return "slide cannot be read"


def pictures_of(connection: Connection, collection: str, tile_ids: Sequence[int]) -> "list[Image.Image]":
    """Pictures of tiles; errors as of `tile_picture`."""
    return _of_each(lambda tile_id: tile_picture(connection, collection, tile_id), tile_ids)


def pictures_at_hand(connection: Connection, collection: str, tile_ids: Sequence[int]) -> "list[np.ndarray | str]":
    """Pictures of tiles; a few words where there is none."""
    return _of_each(lambda tile_id: picture_or_reason(connection, collection, tile_id), tile_ids)


def _of_each(fetch: Callable[[int], T], tile_ids: Sequence[int]) -> list[T]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(fetch, tile_ids))
