"""The summary of an ingest."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from actors.jobs import SlideReason
from embedstore.slides import SourceSummary


@dataclass(frozen=True, kw_only=True)
class StageSeconds:
    """Time in each stage, seconds, summed over workers."""

    plan: float = 0.0
    read: float = 0.0
    extract: float = 0.0
    write: float = 0.0

    def __add__(self, other: "StageSeconds") -> "StageSeconds":
        return StageSeconds(
            plan=self.plan + other.plan,
            read=self.read + other.read,
            extract=self.extract + other.extract,
            write=self.write + other.write,
        )


@dataclass(frozen=True, kw_only=True)
class IngestSummary:
    """What an ingest did.

    Attributes:
        understood: What the paths given were understood as.
        already: Slides that were complete before.
        left_failed: Slides that failed in an earlier run and were not retried.
        failed, empty: Slides that failed or had no tile in this run.
        warned: What came up about slides that are done, such as tiles that could not be read.
        remaining: Slides that a stopped run did not reach.
        tiles: Tiles embedded, each counted once however many extractors saw it.
        tiles_per_s: From the first tile embedded to the last; of the last tiling where there are several.
        without_views: Number of slides without views, for each collection that has stored views.
        off_map: Number of slides that are not on its map yet, for each collection that has one.
        stopped: The run was stopped before its last slide.
    """

    run_id: str
    collections: tuple[str, ...]
    understood: SourceSummary = field(default_factory=SourceSummary)
    done: int = 0
    already: int = 0
    left_failed: list[SlideReason] = field(default_factory=list)
    failed: list[SlideReason] = field(default_factory=list)
    empty: list[SlideReason] = field(default_factory=list)
    warned: list[SlideReason] = field(default_factory=list)
    remaining: int = 0
    tiles: int = 0
    tiles_per_s: float = 0.0
    seconds: float = 0.0
    stage_s: StageSeconds = field(default_factory=StageSeconds)
    without_views: dict[str, int] = field(default_factory=dict)
    off_map: dict[str, int] = field(default_factory=dict)
    stopped: bool = False

    def __add__(self, later: "IngestSummary") -> "IngestSummary":
        """The sum with a later run of another tiling over the same slides."""
        return replace(
            self,
            collections=self.collections + later.collections,
            done=self.done + later.done,
            already=self.already + later.already,
            left_failed=self.left_failed + later.left_failed,
            failed=self.failed + later.failed,
            empty=self.empty + later.empty,
            warned=list(dict.fromkeys(self.warned + later.warned)),
            remaining=self.remaining + later.remaining,
            tiles=self.tiles + later.tiles,
            tiles_per_s=later.tiles_per_s or self.tiles_per_s,
            seconds=self.seconds + later.seconds,
            stage_s=self.stage_s + later.stage_s,
            without_views=self.without_views | later.without_views,
            off_map=self.off_map | later.off_map,
            stopped=self.stopped or later.stopped,
        )

    def as_record(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)
