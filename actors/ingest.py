"""`ingest`: slides in, a store out."""

import functools
import json
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from actors.ingest_workers import StartWorkers, start_workers
from actors.jobs import PendingSlides, RunContext, pending_slides
from actors.placement import chunk_bytes, described, placed
from actors.request import IngestRequest, Target, TilingGroup
from actors.run_counts import RunCounts
from actors.run_metrics import RunMetrics
from actors.run_record import RunRecord
from actors.scheduler import Scheduler
from actors.summary import IngestSummary, StageSeconds
from actors.worker_group import WorkerFactories
from embedstore.config import IngestConfig, ViewConfig, as_record
from embedstore.errors import CollectionMismatchError, ConfigError
from embedstore.extractor_ref import ExtractorRecord
from embedstore.extractors import embedding_dim
from embedstore.extractors.config import with_precision_of
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.store import Collection, CollectionRecord, Run, Store
from embedstore.store.outage import through_outages
from embedstore.version import __version__

log = logging.getLogger(__name__)
#: Makes the factories of the workers of a tiling group, as `WorkerFactories.of`.
MakeWorkers = Callable[[IngestRequest, TilingGroup, str], WorkerFactories]


def ingest(
    request: IngestRequest,
    *,
    on_progress: OnProgress = no_progress,
    should_stop: Callable[[], bool] = lambda: False,
    start_workers: StartWorkers = start_workers,
    make_workers: MakeWorkers = WorkerFactories.of,
) -> IngestSummary:
    """Embed the tissue tiles of slides into a store.

    Slides that are complete are skipped. A slide that fails is recorded with the reason; the run goes on.

    Args:
        on_progress: Called about twice a second with the slides that have ended, of each tiling group in turn.
        should_stop: Called often; once it returns True, slides in flight are dropped and finished ones committed.
        start_workers: Starts the workers of each tiling group.
        make_workers: What the workers of a tiling group are.
    Raises:
        CollectionMismatchError: a collection was made with another configuration or extractor.
        RunError: workers died more often than allowed.
    """
    told = request.execution.in_process
    request = replace(request, execution=placed(request.execution, request.run))
    where = None if told else described(request.execution)
    store = Store.create(request.store_uri)
    store.ledger.admit_columns(source.metadata for source in request.sources)
    store.ledger.refresh([(source.slide_id, source.path, source.metadata) for source in request.sources])
    parts: list[IngestSummary] = []
    for group in request.groups:
        parts.append(_ingest_group(request, group, store, where, on_progress, should_stop, start_workers, make_workers))
        if parts[-1].stopped:
            break
    total = parts[0]
    for part in parts[1:]:
        total += part
    groups_left = len(request.groups) - len(parts)
    return replace(total, understood=request.understood, remaining=total.remaining + groups_left * len(request.sources))


def _ingest_group(
    request: IngestRequest,
    group: TilingGroup,
    store: Store,
    where: str | None,
    on_progress: OnProgress,
    should_stop: Callable[[], bool],
    start_workers: StartWorkers,
    make_workers: MakeWorkers,
) -> IngestSummary:
    """Ingest for the extractors of one tiling.

    Args:
        where: Where the run goes, to be told before its workers start.
    """
    began = time.monotonic()
    config = request.config_for(group)
    run_id = f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}"
    if _same_request(store, group, config):
        pending = pending_slides(request, group, store)
        if not pending.jobs:  # no worker needs to start
            return _summary(run_id, group, store, pending)
    _check_collections(store, group, config)
    if where is not None:
        on_progress(Progress(stage="ingest", message=where))
    store.require_writable()
    factories = make_workers(request, _with_stored_precision(store, group), store.uri)
    run = Run(run_id=run_id, collections=group.collections, version=__version__, settings=_settings(request, group))
    with RunRecord(store.runs, run) as record, start_workers(factories, request.run, request.execution) as workers:
        workers.writers = functools.partial(_writers, store, group)
        record.metrics = None if request.execution.in_process else RunMetrics()
        _create_collections(store, group, config, workers.load(slides=len(request.sources)))
        pending = pending_slides(
            request,
            group,
            store,
            present=workers.ask_committer("present", run_id),
            with_views=workers.ask_committer("views_present") if config.views is not None else None,
        )
        counts = record.counts = RunCounts(slides=len(pending.jobs), on_progress=on_progress)
        context = RunContext(
            run_id=run_id,
            config=config,
            run=request.run,
            chunk_bytes=chunk_bytes(request.execution, request.run),
            stored_fingerprints=_stored_fingerprints(store),
            replacing=request.force,
            tile_bytes=factories.tile_bytes,
        )
        Scheduler(
            workers, pending.jobs, counts, context, record=record, ledger=store.ledger, should_stop=should_stop
        ).run()
        workers.ask_committer("close", record.is_alone())
        if counts.ended == counts.slides:
            record.end("done")
    remaining = counts.slides - counts.ended
    return replace(
        _summary(run_id, group, store, pending),
        done=counts.done,
        already=pending.already + counts.elsewhere,
        failed=counts.failed,
        empty=counts.empty,
        warned=counts.warned,
        remaining=remaining,
        tiles=counts.tiles,
        tiles_per_s=counts.tiles_per_s,
        seconds=time.monotonic() - began,
        stage_s=_stage_seconds(store, group, run_id),
        stopped=remaining > 0 and should_stop(),  # a run that is stopped after its last slide is complete
    )


def _writers(store: Store, group: TilingGroup, but: str | None) -> list[str]:
    """Which processes write to the group's collections, but for one."""
    try:
        writers = [(name, store.writer_of(name, but=but)) for name in group.collections]
    except (OSError, RuntimeError, ValueError) as error:  # Lance's; it is only a note, and the store may be away
        log.info("who writes to the collections cannot be read: %s", error)
        return []
    return [f"{name} is being written by {writer}" for name, writer in writers if writer is not None]


def _settings(request: IngestRequest, group: TilingGroup) -> dict[str, Any]:
    """What a run's row says of how it was started: all but the slides."""
    settings = {
        "ingest": as_record(request.config_for(group)),
        "run": as_record(request.run),
        "extractors": [as_record(target.extractor) for target in group.targets],
        "execution": as_record(request.execution),
        "retry_failed": request.retry_failed,
        "limit": request.limit,
    }
    return json.loads(json.dumps(settings, default=str))


@through_outages
def _summary(run_id: str, group: TilingGroup, store: Store, pending: PendingSlides) -> IngestSummary:
    """Of a run that had nothing to do."""
    return IngestSummary(
        run_id=run_id,
        collections=group.collections,
        already=pending.already,
        left_failed=pending.left_failed,
        without_views=_without_views(store, group),
        off_map=_off_map(store, group),
    )


def _without_views(store: Store, group: TilingGroup) -> dict[str, int]:
    """Number of slides without views, for each collection that has stored views of other slides."""
    counts = {
        name: len(store.collection(name).slides().keys() - store.views(name).slides().keys())
        for name in group.collections
        if store.views(name).exists()
    }
    return {name: slides for name, slides in counts.items() if slides}


def _off_map(store: Store, group: TilingGroup) -> dict[str, int]:
    """Number of slides that are not on its map yet, for each collection that has one."""
    counts = {name: store.map(name).coverage(store.collection(name).slides())[1] for name in group.collections}
    return {name: slides for name, slides in counts.items() if slides}


def _same_request(store: Store, group: TilingGroup, config: IngestConfig) -> bool:
    """Whether every collection is there, and was made with the same configuration.

    If anything differs, the run goes on to load the weights, and compares digests.
    """
    existing = set(store.collection_names())
    return all(
        target.collection in existing
        and store.collection(target.collection).record().request == _request_record(target, config)
        and (config.views is None or _same_views(store, target, config.views))
        for target in group.targets
    )


def _with_stored_precision(store: Store, group: TilingGroup) -> TilingGroup:
    """The group with each extractor in the precision that its collection was made with.

    A precision that the user asks for is taken; that it differs is said.
    """
    targets, existing = [], set(store.collection_names())
    for target in group.targets:
        extractor = target.extractor
        if target.collection in existing:
            details = store.collection(target.collection).record().extractor.details
            extractor = with_precision_of(extractor, details)
            if extractor.precision != details.get("precision", extractor.precision):
                log.warning(
                    "collection %r was made with precision %s; the slides of this run are embedded in %s",
                    target.collection, details["precision"], extractor.precision,
                )  # fmt: skip
        targets.append(replace(target, extractor=extractor))
    return replace(group, targets=tuple(targets))


def _same_views(store: Store, target: Target, config: ViewConfig) -> bool:
    views = store.views(target.collection)
    return views.exists() and views.config() == config


def _request_record(target: Target, config: IngestConfig) -> dict[str, Any]:
    """The requested configuration of a collection, in the form that it has after a round trip through JSON."""
    tiling, tissue = as_record(config.tiling), as_record(config.tissue)
    return json.loads(json.dumps({"extractor": as_record(target.extractor), "tiling": tiling, "tissue": tissue}))


@through_outages
def _stored_fingerprints(store: Store) -> dict[str, str | None]:
    """Fingerprints of the slides that have rows; the file of a slide that failed may have been replaced."""
    done = {outcome.slide_id for outcome in store.ledger.outcomes(states=("done",))}
    return {slide.slide_id: slide.fingerprint for slide in store.ledger.slides() if slide.slide_id in done}


@through_outages
def _check_collections(store: Store, group: TilingGroup, config: IngestConfig) -> None:
    """Check the collections that exist by what is known before any weights are fetched and loaded.

    Raises:
        CollectionMismatchError: a collection was made with another tiling, or has vectors of another length.
    """
    there = set(store.collection_names())
    for target in group.targets:
        if target.collection not in there:
            continue
        collection = store.collection(target.collection)
        stored = collection.record()
        collection.check_same(replace(stored, tiling=config.tiling, tissue=config.tissue))
        dim = None if target.imported else embedding_dim(target.extractor)  # imports have their vectors already
        if dim not in (None, stored.extractor.ref.dim):
            raise CollectionMismatchError(
                f"collection {target.collection!r} has vectors of {stored.extractor.ref.dim} dimensions, by "
                f"{stored.extractor.ref}, and {target.extractor.ref} gives {dim}; use the same extractor, or give the "
                "new embeddings a collection of their own with --collection"
            )


@through_outages
def _create_collections(
    store: Store, group: TilingGroup, config: IngestConfig, records: Sequence[list[dict[str, Any]]]
) -> None:
    """Make the group's collections, or check that existing ones were made with the same configuration.

    Args:
        records: What each machine says of its extractors.

    Raises:
        CollectionMismatchError: a collection was made with another configuration or extractor.
        ConfigError: the machines of a cluster loaded different weights.
    """
    if any(record != records[0] for record in records):
        raise ConfigError(
            f"the cluster's machines loaded different extractors: {records}; bring the same weights to each"
        )
    for target, extractor in zip(group.targets, records[0], strict=True):
        record = CollectionRecord(
            tiling=config.tiling,
            tissue=config.tissue,
            extractor=ExtractorRecord.from_record(extractor),
            reading=config.reading,
            request=_request_record(target, config),
            imported=target.imported,
        )
        Collection.create(store.uri, target.collection, record)
        if config.views is not None:
            store.views(target.collection).create(record.of_views(config.views))


@through_outages
def _stage_seconds(store: Store, group: TilingGroup, run_id: str) -> StageSeconds:
    total = StageSeconds()
    for i, name in enumerate(group.collections):
        outcomes = [outcome for outcome in store.ledger.outcomes(collection=name) if outcome.run_id == run_id]
        total += StageSeconds(
            plan=0.0 if i else sum(outcome.plan_s for outcome in outcomes),  # once for all collections
            read=0.0 if i else sum(outcome.read_s for outcome in outcomes),
            extract=sum(outcome.extract_s for outcome in outcomes),
            write=sum(outcome.write_s for outcome in outcomes),
        )
    return total
