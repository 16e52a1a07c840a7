"""A slide that a worker group is working on."""

from collections import deque
from dataclasses import dataclass, field

from actors.extractor_worker import FinishedSlide
from actors.jobs import SlideJob
from actors.workers import ResultRef
from embedstore.errors import one_line
from embedstore.slides import SlidePlan, TileLabel


@dataclass(kw_only=True, eq=False)
class ActiveSlide:
    """A planned slide whose tiles are being read and embedded.

    Attributes:
        plan: Its plan without the arrays.
        plan_ref: Reference to the whole plan, for the workers.
        chunk_tiles: Tiles that are read at once.
        next_start: First tile that was not yet given to a reader.
        redo: Ranges of tiles whose reader died.
        unfinished: Collections for which tiles are still to be embedded.
        finished: What was written for the other collections.
        readers: Names of the readers that have it open.
        opened: The extractor was called to open it.
        unreadable: Number of tiles that could not be read.
        unreadable_names: The first few of them.
    """

    job: SlideJob
    plan: SlidePlan
    plan_ref: ResultRef
    plan_s: float
    tiles: int
    chunk_tiles: int
    labels: tuple[TileLabel, ...] = ()
    next_start: int = 0
    redo: deque[tuple[int, int]] = field(default_factory=deque)
    unfinished: set[str] = field(default_factory=set)
    finished: list[FinishedSlide] = field(default_factory=list)
    readers: set[str] = field(default_factory=set)
    opened: bool = False
    unreadable: int = 0
    unreadable_names: list[str] = field(default_factory=list)
    read_s: float = 0.0

    @property
    def key(self) -> str:
        return self.job.key

    @property
    def has_more(self) -> bool:
        """Whether there are tiles that are to be given to a reader."""
        return bool(self.redo) or self.next_start < self.tiles

    def next_chunk(self) -> tuple[int, int]:
        """The range of tiles to be read next."""
        if self.redo:
            return self.redo.popleft()
        start = self.next_start
        self.next_start = min(start + self.chunk_tiles, self.tiles)
        return start, self.next_start

    @property
    def unreadable_tiles(self) -> str:
        """How many tiles could not be read, and which."""
        shown = ", ".join(self.unreadable_names) + (", …" if self.unreadable > len(self.unreadable_names) else "")
        return one_line(f"{self.unreadable} of {self.tiles} tiles could not be read ({shown})")

    def restart(self) -> None:
        """Start again under a new key; results of calls under the old key are ignored."""
        self.job.attempt += 1
        self.next_start, self.unreadable, self.read_s = 0, 0, 0.0
        self.opened = False
        self.redo.clear()
        self.unreadable_names.clear()
        self.readers.clear()
        self.finished.clear()
        self.unfinished = set(self.job.collections)
