"""Where tiles lie that were found or shown lately, so that a picture of one needs no query of the store."""

import threading
from collections import OrderedDict
from collections.abc import Iterable

from embedstore.store import Collection, TileLocation

#: About 300 bytes each.
MOST_TILES = 20_000


class KnownTiles:
    """What it knows is of a version of a collection: after a change it is asked for anew, and a removed tile gone."""

    def __init__(self, most: int = MOST_TILES):
        self._most = most
        self._known: OrderedDict[tuple[str, int, int], TileLocation] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, collection: Collection, version: int, tiles: Iterable[TileLocation]) -> None:
        """Remember tiles.

        Args:
            version: Of the collection, before the tiles were read.
        """
        with self._lock:
            for tile in tiles:
                self._known[collection.name, version, tile.tile_id] = tile
            while len(self._known) > self._most:
                self._known.popitem(last=False)

    def location(self, collection: Collection, tile_id: int) -> TileLocation | None:
        """Where a tile lies; None if the collection does not have it."""
        version = collection.dataset().version
        with self._lock:
            known = self._known.get((collection.name, version, tile_id))
        if known is not None:
            return known
        tile = collection.tile(tile_id)
        if tile is None:
            return None
        self.keep(collection, version, [tile.location])
        return tile.location
