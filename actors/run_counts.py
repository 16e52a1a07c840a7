"""Counts of a run, for its summary and its progress reports."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from actors.jobs import SlideReason
from embedstore.errors import NoTileError
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.quantities import human_time
from embedstore.store import Outcome

#: Shortest time between two reports, seconds.
REPORT_S = 0.5


@dataclass(kw_only=True)
class RunCounts:
    """How far a run has come.

    Attributes:
        slides: Slides to do.
        tiles: Tiles embedded.
        failed, empty: Slides that failed or had no tile.
        elsewhere: Slides that other runs have done meanwhile.
        note: What the run waits for.
        warned: What came up about slides that are done.
    """

    slides: int
    on_progress: OnProgress = no_progress
    done: int = 0
    tiles: int = 0
    failed: list[SlideReason] = field(default_factory=list)
    empty: list[SlideReason] = field(default_factory=list)
    warned: list[SlideReason] = field(default_factory=list)
    elsewhere: int = 0
    note: str = ""
    _began: float = field(default_factory=time.monotonic)
    _first_tile: float | None = None
    _last_tile: float = 0.0
    _first_tiles: int = 0
    _reported: float = 0.0

    def add_tiles(self, tiles: int) -> None:
        """Count tiles that were embedded."""
        self._last_tile = time.monotonic()
        if self._first_tile is None:
            self._first_tile, self._first_tiles = self._last_tile, tiles
        self.tiles += tiles

    def add_done(self, slide_id: str, warnings: Sequence[str] = ()) -> None:
        """Count a slide that has its rows."""
        self.done += 1
        self.warned += [SlideReason(slide_id, warning) for warning in warnings]

    def add_failed(self, slide_id: str, error: Exception) -> None:
        """Count a slide that ended without rows."""
        (self.empty if isinstance(error, NoTileError) else self.failed).append(SlideReason(slide_id, str(error)))

    def add_elsewhere(self, slide_id: str, outcomes: Sequence[Outcome]) -> None:
        """Count a slide that another run has ended."""
        reasons = {outcome.state: outcome.reason or "" for outcome in outcomes}
        if "failed" in reasons:
            self.failed.append(SlideReason(slide_id, reasons["failed"]))
        elif "empty" in reasons:
            self.empty.append(SlideReason(slide_id, reasons["empty"]))
        else:
            self.elsewhere += 1

    def move_elsewhere(self, slide_ids: Collection[str]) -> None:
        """Count slides that had ended here as those of other runs, which have committed them first."""
        before = len(self.failed) + len(self.empty)
        self.failed = [each for each in self.failed if each.slide_id not in slide_ids]
        self.empty = [each for each in self.empty if each.slide_id not in slide_ids]
        self.done -= len(slide_ids) - (before - len(self.failed) - len(self.empty))
        self.elsewhere += len(slide_ids)

    @property
    def ended(self) -> int:
        return self.done + len(self.failed) + len(self.empty) + self.elsewhere

    @property
    def tiles_per_s(self) -> float:
        """Rate between the first tiles that were embedded and the last, without start-up and the end of the run."""
        if self._first_tile is None or self._last_tile == self._first_tile:
            return 0.0
        return (self.tiles - self._first_tiles) / (self._last_tile - self._first_tile)

    def left_s(self) -> float | None:
        """Estimated seconds for the remaining slides, from those that have ended; None before the first."""
        if self.ended == 0:
            return None
        return (time.monotonic() - self._began) / self.ended * (self.slides - self.ended)

    def report(self) -> None:
        """Report progress, unless the last report was a moment ago."""
        if time.monotonic() - self._reported < REPORT_S:
            return
        self._reported = time.monotonic()
        left_s = self.left_s()
        message = f"{len(self.failed)} failed, {self.tiles} tiles, {self.tiles_per_s:.0f} tiles/s"
        if left_s is not None:
            message += f", {human_time(left_s)} left"
        if self.note:
            message += f"; {self.note}"
        self.on_progress(Progress(stage="ingest", message=message, done=self.ended, total=self.slides, unit="slides"))
