"""What the run knows of each slide on its way, and of each worker."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.extractor_worker import FinishedSlide
from actors.workers import Worker
from embedstore.slides import SlidePlan, SlideSource, TileLabel


@dataclass(kw_only=True, eq=False)
class SlideJob:
    """A slide to be ingested.

    Attributes:
        wanted: Collections that lack it, or its views.
        views_only: Those of them that have its tiles.
        attempt: How often it was begun; part of its key, so that what an earlier attempt left is told apart.
        strikes: Workers that died while they were at it.
    """

    source: SlideSource
    wanted: tuple[str, ...]
    views_only: tuple[str, ...] = ()
    attempt: int = 0
    strikes: int = 0

    @property
    def slide_id(self) -> str:
        return self.source.slide_id

    @property
    def key(self) -> str:
        return f"{self.slide_id}#{self.attempt}"


@dataclass(kw_only=True, eq=False)
class ActiveSlide:
    """A planned slide whose tiles are being read and embedded.

    Attributes:
        facts: Its plan without the arrays.
        planned: Handle of the whole plan, where the workers find it.
        next_start: First tile that nobody was asked to read yet.
        redo: Runs of tiles whose reader died.
        opened: The extractor has been told of it.
        unfinished: Collections that have not got all its tiles.
    """

    job: SlideJob
    facts: SlidePlan
    planned: Any
    plan_s: float
    tiles: int
    chunk_tiles: int
    next_start: int = 0
    redo: deque[tuple[int, int]] = field(default_factory=deque)
    unfinished: set[str] = field(default_factory=set)
    finished: list[FinishedSlide] = field(default_factory=list)
    readers: set[str] = field(default_factory=set)
    labels: tuple[TileLabel, ...] = ()
    opened: bool = False
    unreadable: int = 0
    read_s: float = 0.0

    @property
    def key(self) -> str:
        return self.job.key

    @property
    def has_more(self) -> bool:
        return bool(self.redo) or self.next_start < self.tiles

    def next_chunk(self) -> tuple[int, int]:
        if self.redo:
            return self.redo.popleft()
        start = self.next_start
        self.next_start = min(start + self.chunk_tiles, self.tiles)
        return start, self.next_start

    def restart(self) -> None:
        """Begin again under a new key: what is under way for the old one no longer counts."""
        self.job.attempt += 1
        self.next_start, self.unreadable, self.read_s = 0, 0, 0.0
        self.opened = False
        self.redo.clear()
        self.readers.clear()
        self.finished.clear()
        self.unfinished = set(self.job.wanted)


@dataclass(kw_only=True, eq=False)
class Call:
    """A call that is under way.

    Attributes:
        done: Takes its result.
        lost: Told that its worker died, and whether this was the call that it was carrying out.
    """

    worker: "WorkerHandle"
    done: Callable[[Any], None]
    lost: Callable[[bool], None]
    failed: Callable[[Exception], None] | None = None


@dataclass(kw_only=True, eq=False)
class WorkerHandle:
    """A worker as the run sees it: alive or being restarted, and what it was asked for, oldest first."""

    worker: Worker
    up: bool = True
    calls: list[Any] = field(default_factory=list)
    slide: ActiveSlide | None = None
    down_since: float = 0.0
    ask_at: float = 0.0

    @property
    def name(self) -> str:
        return self.worker.name

    def back(self, _: None) -> None:
        """It answered again."""
        self.up = True


@dataclass(kw_only=True, eq=False)
class WorkerGroup:
    """An extractor and its readers.

    Attributes:
        active: Slides whose tiles go to this extractor, by key.
        in_flight_bytes: Pixels asked for and not yet embedded.
        planning: Plans under way.
    """

    extractor: WorkerHandle
    readers: list[WorkerHandle]
    active: dict[str, ActiveSlide] = field(default_factory=dict)
    in_flight_bytes: int = 0
    planning: int = 0
    flushing: bool = False

    def unclaimed(self) -> list[ActiveSlide]:
        claimed = {id(handle.slide) for handle in self.readers}
        return [slide for slide in self.active.values() if slide.has_more and id(slide) not in claimed]
