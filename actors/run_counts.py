"""How far the run is: counts for the summary, and a line for whoever watches."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from embedstore.errors import NoTileError


@dataclass(kw_only=True)
class RunCounts:
    """Counts of a run.

    Attributes:
        slides: Slides to do.
        tell: Called now and then with this object; the command line draws it.
        every_s: Seconds between two calls.
        failures: (slide_id, reason) of slides that failed.
        empties: (slide_id, reason) of slides without a tile.
    """

    slides: int
    tell: Callable[["RunCounts"], None] | None = None
    every_s: float = 0.5
    slides_done: int = 0
    tiles_planned: int = 0
    tiles: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    empties: list[tuple[str, str]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    first_tile: float | None = None
    last_tile: float = 0.0
    first_tiles: int = 0
    _told: float = 0.0

    def planned(self, tiles: int) -> None:
        self.tiles_planned += tiles

    def embedded(self, tiles: int) -> None:
        self.last_tile = time.monotonic()
        if self.first_tile is None:
            self.first_tile, self.first_tiles = self.last_tile, tiles
        self.tiles += tiles

    def done(self) -> None:
        self.slides_done += 1

    def ended(self, slide_id: str, error: Exception) -> None:
        """A slide ended without rows."""
        (self.empties if isinstance(error, NoTileError) else self.failures).append((slide_id, str(error)))

    @property
    def slides_ended(self) -> int:
        return self.slides_done + len(self.failures) + len(self.empties)

    @property
    def tiles_per_s(self) -> float:
        """From the first tiles that were embedded to the last: without start-up and the end of the run."""
        if self.first_tile is None or self.last_tile == self.first_tile:
            return 0.0
        return (self.tiles - self.first_tiles) / (self.last_tile - self.first_tile)

    def left_s(self) -> float | None:
        """Seconds that the rest will take, judged by the slides that have ended."""
        if self.slides_ended == 0:
            return None
        return (time.monotonic() - self.began) / self.slides_ended * (self.slides - self.slides_ended)

    def tick(self) -> None:
        if self.tell is not None and time.monotonic() - self._told >= self.every_s:
            self._told = time.monotonic()
            self.tell(self)
