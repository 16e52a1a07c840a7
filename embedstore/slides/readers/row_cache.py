"""A bounded cache for reading row by row: it keeps only what a later region will want."""

import threading
from collections import OrderedDict

from embedstore.slides.slide import Pixels

Key = tuple[int, int, int]  # level, column, row of a file's own tile


class RowCache:
    """Decoded tiles of a file that the next regions of a row-by-row scan share with this one.

    A plain LRU cache is worthless for a row of tiles wider than itself: each is dropped just before it is wanted. This
    one drops what the scan has left behind, and, when it is full of tiles wanted by the next row, takes in no more of
    those. Tiles are never written to, so that threads may share them.
    """

    def __init__(self, capacity_bytes: int):
        self.capacity_bytes = capacity_bytes
        self.held_bytes = 0
        self._tiles: OrderedDict[Key, tuple[Pixels, int]] = OrderedDict()
        self._at = (-1, 0)  # level and y of the row being read, level pixels
        self._lock = threading.Lock()

    def begin(self, level: int, y: int) -> None:
        """A region begins at y of a level: forget what no region from here on can touch."""
        with self._lock:
            if self._at == (level, y):
                return
            back = level != self._at[0] or y < self._at[1]
            for key in [key for key, (_, bottom) in self._tiles.items() if back or bottom <= y]:
                self._drop(key)
            self._at = (level, y)

    def get(self, key: Key) -> Pixels | None:
        with self._lock:
            found = self._tiles.get(key)
            return None if found is None else found[0]

    def put(self, key: Key, tile: Pixels, *, bottom: int, soon: bool) -> None:
        """Keep a tile that the scan comes back to: soon (the next region of the row), or a row later.

        Args:
            key: Level, column and row.
            tile: Its pixels.
            bottom: First row of the level below the tile: where the scan begins, beyond it, the tile is done with.
            soon: Wanted by the next region.
        """
        with self._lock:
            if key in self._tiles or tile.nbytes > self.capacity_bytes:
                return
            if self.held_bytes + tile.nbytes > self.capacity_bytes:
                if not soon:
                    return
                while self.held_bytes + tile.nbytes > self.capacity_bytes:
                    self._drop(next(iter(self._tiles)))
            self._tiles[key] = tile, bottom
            self.held_bytes += tile.nbytes

    def drop(self, key: Key) -> None:
        """A tile was touched for the last time."""
        with self._lock:
            if key in self._tiles:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        tile, _ = self._tiles.pop(key)
        self.held_bytes -= tile.nbytes
