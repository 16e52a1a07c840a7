"""The work of a run: which slides of a request are still to be ingested, and what holds for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from actors.request import IngestRequest, TilingGroup
from embedstore.config import IngestConfig, RunConfig
from embedstore.slides import SlideSource
from embedstore.store import Store

#: Slide ids by collection.
SlidesByCollection = Mapping[str, set[str]]


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What holds for all slides of a run over one tiling group.

    Attributes:
        run_id: Stored with each outcome.
        config: How slides are read and tiled.
        run: How the machine is used.
        chunk_bytes: Pixels that a reader sends to its extractor at once, bytes.
        stored_fingerprints: Fingerprint of each slide that had rows before the run.
        replacing: Slides whose rows are replaced (`--force`).
        tile_bytes: What a reader sends of a tile, bytes.
    """

    run_id: str
    config: IngestConfig
    run: RunConfig
    chunk_bytes: int
    stored_fingerprints: Mapping[str, str | None]
    replacing: frozenset[str]
    tile_bytes: int


class SlideReason(NamedTuple):
    """A slide that has no rows, and why."""

    slide_id: str
    reason: str


@dataclass(kw_only=True, eq=False)
class SlideJob:
    """A slide to be ingested.

    Attributes:
        collections: Collections that lack the slide or its views.
        views_only: Those of them that have its tiles, and lack only its views.
        with_views: Views of it are made as well.
        attempt: How often it was restarted; part of its key, so that results of an earlier attempt are ignored.
        strikes: Number of workers that died while working on it.
        fetched_by: The worker group that fetches its slide ahead.
        waits_since: When it was first put back because fetched slides filled the disk.
    """

    source: SlideSource
    collections: tuple[str, ...]
    views_only: tuple[str, ...] = ()
    with_views: bool = False
    attempt: int = 0
    strikes: int = 0
    fetched_by: int | None = None
    waits_since: float | None = None

    @property
    def slide_id(self) -> str:
        return self.source.slide_id

    @property
    def key(self) -> str:
        return f"{self.slide_id}#{self.attempt}"


@dataclass(frozen=True, kw_only=True)
class PendingSlides:
    """The slides of a request, sorted by what is left to do.

    Attributes:
        jobs: Slides to ingest, no more than the request's limit.
        already: Number of slides that are complete, or known to have no tile.
        left_failed: Slides that failed in an earlier run and are not retried.
    """

    jobs: list[SlideJob]
    already: int
    left_failed: list[SlideReason]


def slides_present(store: Store, group: TilingGroup) -> SlidesByCollection:
    """Slides that have rows in each of the group's collections; some collections may not exist yet."""
    existing = set(store.collection_names())
    return {
        name: set(store.collection(name).slides()) if name in existing else set[str]() for name in group.collections
    }


def slides_with_views(store: Store, group: TilingGroup) -> SlidesByCollection:
    """Slides that have stored views in each of the group's collections."""
    return {name: set(store.views(name).slides()) for name in group.collections}


def pending_slides(
    request: IngestRequest,
    group: TilingGroup,
    store: Store,
    *,
    present: SlidesByCollection | None = None,
    with_views: SlidesByCollection | None = None,
) -> PendingSlides:
    """Compare a request with the content of a store.

    Args:
        present: Slides that have rows in each collection; looked up in the store when None.
        with_views: Slides that have views in each collection; looked up when None, if views are requested.
    """
    if present is None:
        present = slides_present(store, group)
    if request.config.views is None:
        with_views = present
    elif with_views is None:
        with_views = slides_with_views(store, group)
    unfit = {} if request.retry_failed else _unfit_slides(store, group)
    jobs, already, left_failed = [], 0, []
    viewed = request.config.views is not None
    for source in request.sources:
        slide_id = source.slide_id
        without_tiles = {name for name in group.collections if slide_id not in present[name]}
        without_views = {name for name in group.collections if slide_id not in with_views.get(name, ())}
        lacking = tuple(name for name in group.collections if name in without_tiles | without_views)
        if slide_id in request.force:
            jobs.append(SlideJob(source=source, collections=group.collections, with_views=viewed))
        elif not lacking:
            already += 1
        elif slide_id not in unfit:
            views_only = tuple(name for name in lacking if name not in without_tiles)
            jobs.append(SlideJob(source=source, collections=lacking, views_only=views_only, with_views=viewed))
        elif (reason := unfit[slide_id]) is not None:
            left_failed.append(SlideReason(slide_id, reason))
        else:
            already += 1
    return PendingSlides(jobs=jobs[: request.limit], already=already, left_failed=left_failed)


def _unfit_slides(store: Store, group: TilingGroup) -> dict[str, str | None]:
    """Slides that failed in an earlier run, with the reason, and slides without tiles, with None."""
    return {
        outcome.slide_id: outcome.reason or "" if outcome.state == "failed" else None
        for name in group.collections
        for outcome in store.ledger.outcomes(collection=name, states=("failed", "empty"))
    }
