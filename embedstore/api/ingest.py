"""Ingest: from slides and settings to a request, and from a request to embeddings in a store."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import pyarrow as pa

from embedstore.config import (
    ExecutionConfig,
    IngestConfig,
    ReadingConfig,
    RunConfig,
    TilingConfig,
    TissueConfig,
    ViewConfig,
)
from embedstore.errors import SlideNotFoundError
from embedstore.progress import OnProgress, Progress
from embedstore.progress_bar import progress_bar
from embedstore.python_terms import python_terms
from embedstore.quantities import human_time
from embedstore.result_table import Table
from embedstore.settings import as_names, build_config, check_settings
from embedstore.uris import as_store

if TYPE_CHECKING:
    from actors.estimate import IngestEstimate
    from actors.request import IngestRequest
    from actors.summary import IngestSummary
    from embedstore.extractors import ExtractorConfig

DEFAULT_EXTRACTOR = "stain-texture"
Slides = str | Path | Sequence[str | Path]
State = Literal["failed", "empty", "failed earlier"]


class IngestOptions(TypedDict, total=False):
    """Arguments of `Store.ingest` except the slides; see there."""

    extractors: "str | ExtractorConfig | Sequence[str | ExtractorConfig]"
    collections: Sequence[str]
    mpp: float | None
    views: int | ViewConfig | Mapping[str, Any] | None
    tiling: Mapping[str, Any]
    tissue: TissueConfig | Mapping[str, Any] | None
    reading: ReadingConfig | Mapping[str, Any] | None
    run: RunConfig | Mapping[str, Any] | None
    execution: ExecutionConfig | Mapping[str, Any] | None
    retry_failed: bool
    force: Sequence[str]
    limit: int | None


class IngestResult(Table):
    """Slides of an ingest that have no embeddings, a row each with the reason.

    Attributes:
        summary: What the ingest did: slides done, tiles, seconds, collections.
        notes: What the slides given were understood as, and the next steps where slides failed or remain.
        signal: Number of the signal that stopped it; None where none did.
    """

    shown_text = 500  # reasons whole: the next step stands at their end

    def __init__(self, summary: "IngestSummary", *, signal: int | None = None):
        states: dict[State, Sequence[tuple[str, str]]] = {
            "failed": summary.failed, "empty": summary.empty, "failed earlier": summary.left_failed,
        }  # fmt: skip
        rows = [(slide, state, reason) for state, slides in states.items() for slide, reason in slides]
        names = ("slide_id", "state", "reason")
        columns = [pa.array([row[i] for row in rows], pa.string()) for i in range(len(names))]
        super().__init__(
            pa.table(columns, names=names),
            title=f"{summary.done} slide(s) done, {summary.already} already there, {summary.tiles:,} tiles in "
            f"{human_time(summary.seconds)}; slides without embeddings",
        )
        self.summary, self.signal = summary, signal
        terms = [python_terms(reason) for _, _, reason in rows]
        self.notes = tuple(summary.understood.lines()[1:])
        self.notes += tuple(f"{slide_id}: {warning}" for slide_id, warning in summary.warned)
        self.notes += tuple(f"in Python: {term}" for term in dict.fromkeys(filter(None, terms)))
        if summary.failed or summary.left_failed:
            self.notes += ("once the reason is mended, the same call with retry_failed=True tries failed slides again",)
        if summary.stopped:
            self.notes += (f"interrupted: {summary.remaining} slide(s) remain; the same call goes on from here",)

    def __repr__(self) -> str:
        return "\n".join([super().__repr__() if len(self) else self._heading(), *self.notes])

    def _repr_html_(self) -> str:
        return super()._repr_html_() + "".join(f"<p>{escape(note)}</p>" for note in self.notes)


def ingest_request(slides: Slides, store_uri: str, **options: Unpack[IngestOptions]) -> "IngestRequest":
    """Find the slides and check all settings of an ingest, before any work; arguments as in `Store.ingest`."""
    from actors.known_slides import recognise
    from actors.request import IngestRequest, group_by_tiling
    from embedstore.slides import find_slides
    from embedstore.store import Store

    paths = [slides] if isinstance(slides, str | Path) else list(slides)
    check_settings(TilingConfig, options.get("tiling", {}))
    groups = group_by_tiling(
        as_extractors(options.get("extractors", DEFAULT_EXTRACTOR)),
        options.get("tiling", {}),
        as_names(options.get("collections", ())),
    )
    tile_px = max(group.tiling.tile_px for group in groups)
    found = find_slides([str(path) for path in paths], mpp=options.get("mpp"), tile_px=tile_px)
    if not found.sources:
        where = ", ".join(map(str, paths)) or "an empty list"
        raise SlideNotFoundError(
            "; ".join(
                [
                    f"no slide in {where}; expected slide files, folders of tiles, or a list",
                    *found.summary.lines(),
                    *filter(None, map(as_store, paths)),
                ]
            )
        )
    found, ids = recognise(found, Store(store_uri))
    config = IngestConfig(
        tissue=build_config(TissueConfig, options.get("tissue")),
        reading=build_config(ReadingConfig, options.get("reading")),
        views=_views(options.get("views")),
    )
    return IngestRequest(
        sources=found.sources,
        understood=found.summary,
        store_uri=store_uri,
        groups=groups,
        config=config,
        run=build_config(RunConfig, options.get("run")),
        execution=build_config(ExecutionConfig, options.get("execution")),
        retry_failed=options.get("retry_failed", False),
        force=frozenset(ids.get(name, name) for name in as_names(options.get("force", ()))),
        limit=options.get("limit"),
    )


def run_ingest(request: "IngestRequest", *, on_progress: OnProgress | None = None) -> IngestResult:
    """Embed the tissue tiles of a request's slides; Ctrl-C stops after the slides that are finished."""
    from actors.ingest import ingest
    from actors.interruption import stop_on_interrupt

    with progress_bar(on_progress) as report, stop_on_interrupt(report) as interruption:
        for line in request.understood.lines():
            report(Progress(stage="ingest", message=line))
        summary = ingest(request, on_progress=report, should_stop=interruption)
        return IngestResult(summary, signal=interruption.signal)


def estimate_ingest(request: "IngestRequest") -> "IngestEstimate":
    """Plan every slide of a request and time the extractors on this machine; nothing is written."""
    from actors.estimate import estimate

    return estimate(request)


def as_extractors(
    extractors: "str | ExtractorConfig | Sequence[str | ExtractorConfig]",
) -> "list[ExtractorConfig]":
    """Configurations of extractors that are given by name or as configurations, one or several."""
    from embedstore.extractors import ExtractorConfig

    if isinstance(extractors, str | ExtractorConfig):
        extractors = [extractors]
    return [ExtractorConfig(ref=extractor) if isinstance(extractor, str) else extractor for extractor in extractors]


def _views(views: int | ViewConfig | Mapping[str, Any] | None) -> ViewConfig | None:
    if isinstance(views, int):
        return ViewConfig(count=views) if views else None
    return None if views is None else build_config(ViewConfig, views)
