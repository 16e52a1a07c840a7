"""`ingest`: slides in, a store out."""

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from actors.extractor_worker import Target
from actors.ingest_workers import IngestWorkers, start_workers
from actors.jobs import SlideJob
from actors.run_counts import RunCounts
from actors.scheduler import Scheduler
from embedstore.config import ExecutionConfig, IngestConfig, RunConfig, TilingConfig, ViewConfig, as_record
from embedstore.errors import ConfigError
from embedstore.extractors import ExtractorConfig, describe_extractor
from embedstore.slides import SlideSource, check_reader
from embedstore.store import Collection, Outcome, Store, record_of_views

log = logging.getLogger(__name__)

#: Resolution at which an extractor sees tiles when nothing says which it was made for, µm/px.
DEFAULT_MPP = 0.5


@dataclass(kw_only=True)
class IngestSummary:
    """What a run did.

    Attributes:
        already: Slides that were complete before.
        left_failed: Slides that failed or were empty in an earlier run and were not tried again.
        remaining: Slides that a stopped run did not get to.
        tiles: Tiles embedded, each counted once however many extractors saw it.
        tiles_per_s: From the first tile embedded to the last; of the last tiling where there are several.
        stage_s: Seconds in planning, reading, extracting and writing, summed over workers.
        without_views: Slides of each collection that has stored views which have none.
    """

    run_id: str
    collections: tuple[str, ...]
    done: int = 0
    already: int = 0
    left_failed: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    empty: list[tuple[str, str]] = field(default_factory=list)
    remaining: int = 0
    tiles: int = 0
    tiles_per_s: float = 0.0
    seconds: float = 0.0
    stage_s: dict[str, float] = field(default_factory=dict)
    without_views: dict[str, int] = field(default_factory=dict)
    stopped: bool = False

    @property
    def complete(self) -> bool:
        return not (self.failed or self.left_failed or self.remaining)

    def add(self, other: "IngestSummary") -> None:
        """Take in the run of another tiling over the same slides."""
        self.collections += other.collections
        for name in ("done", "already", "remaining", "tiles", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.tiles_per_s = other.tiles_per_s or self.tiles_per_s
        for name in ("left_failed", "failed", "empty"):
            getattr(self, name).extend(getattr(other, name))
        for stage, seconds in other.stage_s.items():
            self.stage_s[stage] = self.stage_s.get(stage, 0.0) + seconds
        self.without_views |= other.without_views
        self.stopped |= other.stopped


@dataclass(frozen=True, kw_only=True)
class TilingGroup:
    """Extractors that share a tiling, and the names of their collections."""

    tiling: TilingConfig
    targets: tuple[Target, ...]

    @property
    def collections(self) -> tuple[str, ...]:
        return tuple(target.collection for target in self.targets)


def group_by_tiling(
    extractors: Sequence[ExtractorConfig],
    tiling: Mapping[str, Any],
    names: Sequence[str] = (),
) -> list[TilingGroup]:
    """Group extractors by the tiles they want: those of a group are served in one pass over the pixels.

    Args:
        tiling: Fields of TilingConfig that the user gave; the others are each extractor's own.
        names: Names of the collections, in the order of the extractors; '<extractor>-<px>px-<mpp>mpp' when none.
    Raises:
        ConfigError: names and extractors differ in number, or two collections would have one name.
    """
    if names and len(names) != len(extractors):
        raise ConfigError(f"{len(names)} collection names for {len(extractors)} extractors; give one each, or none")
    groups: dict[TilingConfig, list[Target]] = {}
    for i, config in enumerate(extractors):
        asked = replace(config, tile_px=tiling.get("tile_px", config.tile_px), mpp=tiling.get("mpp", config.mpp))
        name, tile_px, mpp = describe_extractor(asked)
        own = TilingConfig(**{"tile_px": tile_px, "mpp": mpp or DEFAULT_MPP, **tiling})
        collection = names[i] if names else f"{name}-{own.tile_px}px-{own.mpp:g}mpp".replace("/", "-").replace(":", "-")
        groups.setdefault(own, []).append(Target(extractor=asked, collection=collection))
    taken = [target.collection for targets in groups.values() for target in targets]
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two extractors would share the collection {', '.join(twice)}; name them apart with --collection"
        )
    return [TilingGroup(tiling=own, targets=tuple(targets)) for own, targets in groups.items()]


def ingest(
    sources: Sequence[SlideSource],
    store_uri: str,
    groups: Sequence[TilingGroup],
    *,
    config: IngestConfig,
    run: RunConfig,
    execution: ExecutionConfig,
    retry_failed: bool = False,
    force: Sequence[str] = (),
    limit: int | None = None,
    tell: Callable[[RunCounts], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> IngestSummary:
    """Embed the tissue tiles of slides into a store.

    Slides that are complete are skipped. A slide that fails is recorded with the reason; the run goes on.

    Args:
        sources: The slides.
        store_uri: The store; made where there is none.
        plans: What to embed with, from `group_by_tiling`.
        config: How tissue is found and pixels are read; its tiling gives way to each plan's.
        retry_failed: Try slides again that failed, or had no tile, in an earlier run.
        force: Slides to be made anew; their old rows stay until the new ones replace them.
        limit: Take at most so many slides that are not complete.
        tell: Hears of the progress about twice a second.
        stop: Asked often; once it says True, slides in flight are dropped and finished ones committed.
    Raises:
        ConfigError: a slide of `force` is not among the sources, or the reader's package is not installed.
        CollectionMismatchError: a collection was made with another configuration or extractor.
        StoreBusyError: another run is writing to one of the collections.
        RunError: workers died more often than allowed.
    """
    check_reader(config.reading.reader)
    store = Store.create(store_uri)
    store.ledger.admit_columns(source.metadata for source in sources)
    unknown = sorted(set(force) - {source.slide_id for source in sources})
    if unknown:
        raise ConfigError(
            f"--force {', '.join(unknown)}: not among the {len(sources)} slides given; names are slide ids"
        )
    store.ledger.refresh([(source.slide_id, source.path, source.metadata) for source in sources])
    total: IngestSummary | None = None
    for plan in groups:
        part = _ingest_tiling(
            sources, store, plan, replace(config, tiling=plan.tiling), run, execution,
            retry_failed=retry_failed, force=frozenset(force), limit=limit, tell=tell, stop=stop,
        )  # fmt: skip
        if total is None:
            total = part
        else:
            total.add(part)
        if part.stopped:  # the other tilings remain, in whole
            total.remaining += len(sources) * (len(groups) - groups.index(plan) - 1)
            break
    if total is None:
        raise ConfigError("no extractor was given; `embedstore extractors` lists them")
    return total


def _ingest_tiling(
    sources: Sequence[SlideSource],
    store: Store,
    plan: TilingGroup,
    config: IngestConfig,
    run: RunConfig,
    execution: ExecutionConfig,
    *,
    retry_failed: bool,
    force: frozenset[str],
    limit: int | None,
    tell: Callable[[RunCounts], None] | None,
    stop: Callable[[], bool],
) -> IngestSummary:
    began = time.monotonic()
    summary = IngestSummary(
        run_id=f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}", collections=plan.collections
    )
    if _made_alike(store, plan, config):
        views = views_in(store, plan) if config.views else None
        jobs, summary.already, summary.left_failed = jobs_of(
            sources, store, plan, present_in(store, plan), views, retry_failed, force
        )
        if not jobs:  # nothing need be started
            summary.without_views = _without_views(store, plan)
            return summary
    with start_workers(store.uri, plan.targets, config, run, execution) as workers:
        _create_collections(store, plan, config, workers)
        present = workers.ask(workers.committer, "present", summary.run_id)
        views = workers.ask(workers.committer, "views_present") if config.views else None
        jobs, summary.already, summary.left_failed = jobs_of(sources, store, plan, present, views, retry_failed, force)
        if limit is not None:
            jobs = jobs[:limit]
        counts = RunCounts(slides=len(jobs), tell=tell)
        Scheduler(
            pool=workers.pool,
            groups=workers.groups,
            committer=workers.committer,
            jobs=jobs,
            ingest=config,
            config=run,
            run_id=summary.run_id,
            counts=counts,
            known_fingerprints=_fingerprints(store),
            replacing=force,
            stop=stop,
        ).run()
        workers.ask(workers.committer, "close")
    summary.done, summary.tiles, summary.tiles_per_s = counts.slides_done, counts.tiles, counts.tiles_per_s
    summary.failed, summary.empty = counts.failures, counts.empties
    summary.remaining = len(jobs) - counts.slides_ended
    summary.stopped = stop() and summary.remaining > 0  # asked to stop at the very end, it had nothing left to drop
    summary.seconds = time.monotonic() - began
    summary.stage_s = _stage_seconds(store, plan, summary.run_id)
    summary.without_views = _without_views(store, plan)
    return summary


def present_in(store: Store, plan: TilingGroup) -> dict[str, set[str]]:
    """Slides that have rows in each of the plan's collections, of which some may not exist yet."""
    existing = set(store.collection_names())
    return {n: set(store.collection(n).slides()) if n in existing else set() for n in plan.collections}


def views_in(store: Store, plan: TilingGroup) -> dict[str, set[str]]:
    """Slides that have views in each of the plan's collections."""
    return {name: set(store.views(name).slides()) for name in plan.collections}


def _without_views(store: Store, plan: TilingGroup) -> dict[str, int]:
    """How many slides of each collection that has views have none."""
    lacking = {}
    for name in plan.collections:
        views = store.views(name)
        if views.exists():
            lacking[name] = len(store.collection(name).slides().keys() - views.slides().keys())
    return {name: slides for name, slides in lacking.items() if slides}


def _made_alike(store: Store, plan: TilingGroup, config: IngestConfig) -> bool:
    """Every collection is there, and was made by the same request.

    A request that differs in anything is looked into by the run, which loads the weights and compares digests.
    """
    existing = set(store.collection_names())
    return all(
        target.collection in existing
        and store.collection(target.collection).record().get("request") == _request(target, config)
        and (config.views is None or _views_alike(store, target, config.views))
        for target in plan.targets
    )


def _views_alike(store: Store, target: Target, config: ViewConfig) -> bool:
    views = store.views(target.collection)
    return views.exists() and views.config() == config


def _request(target: Target, config: IngestConfig) -> dict[str, Any]:
    """What was asked for, as it reads back from JSON."""
    tiling, tissue = as_record(config.tiling), as_record(config.tissue)
    return json.loads(json.dumps({"extractor": as_record(target.extractor), "tiling": tiling, "tissue": tissue}))


def _fingerprints(store: Store) -> dict[str, str | None]:
    """Of the slides that have rows; a file that failed may be mended."""
    done = {outcome.slide_id for outcome in store.ledger.outcomes(states=("done",))}
    return {slide.slide_id: slide.fingerprint for slide in store.ledger.slides() if slide.slide_id in done}


def jobs_of(
    sources: Sequence[SlideSource],
    store: Store,
    plan: TilingGroup,
    present: Mapping[str, set[str]],
    views: Mapping[str, set[str]] | None,
    retry_failed: bool,
    force: frozenset[str],
) -> tuple[list[SlideJob], int, list[tuple[str, str]]]:
    """Slides to do, how many are complete, and those that failed before and are left so.

    Args:
        present: Slides that have rows in each collection.
        views: Slides that have views in each; None where views are not asked for.
    """
    unfit: dict[str, Outcome] = {}
    if not retry_failed:
        for name in plan.collections:
            outcomes = store.ledger.outcomes(collection=name, states=("failed", "empty"))
            unfit |= {outcome.slide_id: outcome for outcome in outcomes}
    jobs, already, left = [], 0, []
    for source in sources:
        slide = source.slide_id
        without = tuple(n for n in plan.collections if views is not None and slide not in views.get(n, ()))
        lacking = tuple(n for n in plan.collections if slide not in present[n] or n in without)
        views_only = tuple(n for n in without if slide in present[n])
        if source.slide_id in force:
            jobs.append(SlideJob(source=source, wanted=plan.collections))
        elif not lacking:
            already += 1
        elif source.slide_id in unfit:
            outcome = unfit[source.slide_id]
            if outcome.state == "failed":
                left.append((source.slide_id, outcome.reason or ""))
            else:
                already += 1
        else:
            jobs.append(SlideJob(source=source, wanted=lacking, views_only=views_only))
    return jobs, already, left


def _create_collections(store: Store, plan: TilingGroup, config: IngestConfig, workers: IngestWorkers) -> None:
    refs = [group.extractor.worker.call("records") for group in workers.groups]
    records = [workers.result(ref) for ref in refs]
    if any(found != records[0] for found in records):
        raise ConfigError(
            f"the cluster's machines loaded different extractors: {records}; bring the same weights to each"
        )
    own = {name: value for name, value in as_record(config).items() if name != "views"}
    for target, record in zip(plan.targets, records[0], strict=True):
        Collection.create(
            store.uri,
            target.collection,
            dim=record["dim"],
            record={**own, "extractor": record, "request": _request(target, config)},
        )
        if config.views is not None:
            of_views = record_of_views({**own, "extractor": record}, config.views)
            store.views(target.collection).create(dim=record["dim"], record=of_views)


def _stage_seconds(store: Store, plan: TilingGroup, run_id: str) -> dict[str, float]:
    seconds = {"plan": 0.0, "read": 0.0, "extract": 0.0, "write": 0.0}
    for i, name in enumerate(plan.collections):
        for outcome in store.ledger.outcomes(collection=name):
            if outcome.run_id != run_id:
                continue
            for stage in ("extract", "write") if i else seconds:  # tiles are planned and read once for all collections
                seconds[stage] += outcome.seconds[stage]
    return seconds
