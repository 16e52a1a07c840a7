"""A bounded cache for reading row by row: it keeps only tiles that a later region needs."""

import threading
from collections import OrderedDict

from embedstore.slides.slide import Pixels

Plane = tuple[int, int]  # a level, and how many times it is reduced while it is decoded
Key = tuple[int, int, int, int]  # the plane, then column and row of a tile of the file


class RowCache:
    """Decoded tiles of a file that the next regions of a row-by-row scan share with the current one.

    A plain LRU cache is useless where a row of tiles is larger than the cache: each tile is dropped just before it is
    needed. This cache drops what the scan has passed, and when it is full of tiles for the next row, it takes no more
    of those. Tiles are never written to, so that threads may share them.
    """

    def __init__(self, capacity_bytes: int):
        self.capacity_bytes = capacity_bytes
        self.held_bytes = 0
        self._tiles: OrderedDict[Key, tuple[Pixels, int]] = OrderedDict()
        self._row: tuple[Plane, int] = ((-1, 1), 0)  # plane and y of the row being read, pixels of the plane
        self._lock = threading.Lock()

    def begin(self, plane: Plane, y: int) -> None:
        """Start a region at y of a plane: drop the tiles that no region from here on can touch."""
        with self._lock:
            if self._row == (plane, y):
                return
            back = plane != self._row[0] or y < self._row[1]
            for key in [key for key, (_, bottom) in self._tiles.items() if back or bottom <= y]:
                self._drop(key)
            self._row = (plane, y)

    def get(self, key: Key) -> Pixels | None:
        with self._lock:
            entry = self._tiles.get(key)
            return None if entry is None else entry[0]

    def put(self, key: Key, tile: Pixels, *, bottom: int, soon: bool, rows: int | None = None) -> None:
        """Keep a tile that the scan needs again: soon (in the next region of the row), or a row later.

        Args:
            key: Plane, column and row.
            tile: Its pixels.
            bottom: First row of the plane below the tile; once the scan gets there, the tile is no longer needed.
            soon: The next region needs it.
            rows: How many of its last rows are needed; all when None. Of a slide of 100,000 px a row of tiles is more
                than the cache holds, unless it is cut to these.
        """
        needed = tile if rows is None or rows >= len(tile) else tile[-rows:]
        with self._lock:
            held = self._tiles.get(key)
            if needed.nbytes > self.capacity_bytes or (held is not None and len(held[0]) == len(needed)):
                return
            if held is not None:
                self._drop(key)
            tile = needed if needed is tile else needed.copy()  # a view would keep all of it
            if self.held_bytes + tile.nbytes > self.capacity_bytes:
                if not soon:
                    return
                while self.held_bytes + tile.nbytes > self.capacity_bytes:
                    self._drop(next(iter(self._tiles)))
            self._tiles[key] = tile, bottom
            self.held_bytes += tile.nbytes

    def drop(self, key: Key) -> None:
        """Drop a tile that is no longer needed."""
        with self._lock:
            if key in self._tiles:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        tile, _ = self._tiles.pop(key)
        self.held_bytes -= tile.nbytes
