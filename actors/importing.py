"""`import`: vectors that another tool made in, a store out. It is an ingest whose workers read and write vectors."""

import dataclasses
import functools
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from actors.committer import Committer
from actors.feature_reader import FeatureReader, FeatureSource, SlideFile, facts_with, open_features, open_slide_of
from actors.ingest import ingest
from actors.known_slides import recognise
from actors.request import IngestRequest, Target, TilingGroup
from actors.summary import IngestSummary
from actors.vector_writer import VectorWriter
from actors.worker_group import WorkerFactories
from embedstore.config import ExecutionConfig, IngestConfig, RunConfig, TilingConfig, as_record
from embedstore.errors import CollectionMismatchError, FeatureFileError, LayoutError
from embedstore.extractor_ref import UNKNOWN_DIGEST, ExtractorRecord, ExtractorRef
from embedstore.extractors import ExtractorConfig, catalogue, embedding_dim, load_extractor
from embedstore.layouts import Entry, FeatureConfig, FeatureFacts, Layout, SlideFacts, TileFacts, look_apart, tile_facts
from embedstore.layouts.extractor_names import name_of_catalogue
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.quantities import first_few
from embedstore.slides import FoundSlides, SlideSource, SourceSummary
from embedstore.store import CollectionRecord, SlideRow, Store
from embedstore.version import __version__

#: Files that are looked at until one says what the vectors are.
LOOKED_AT = 20
#: Each waits for the process in which it reads: one alone would leave one of two cores idle meanwhile.
FEWEST_READERS = 2


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """Everything that an import needs to know, checked before any work.

    Attributes:
        sources: The slides.
        understood: What the folder was understood as.
        collection: Where the vectors go.
        config: What the user says of the vectors.
        wanted: What the collection holds.
        extractor: What made the vectors, as it is recorded.
        loaded: How that extractor is loaded, where its weights are at hand; else None.
        imported: What the record of a new collection says of the import.
    """

    sources: Sequence[FeatureSource]
    understood: SourceSummary
    store_uri: str
    collection: str
    config: FeatureConfig
    wanted: TileFacts
    extractor: ExtractorRecord
    imported: dict[str, Any]
    loaded: ExtractorConfig | None = None
    run: RunConfig = field(default_factory=RunConfig)
    retry_failed: bool = False
    force: frozenset[str] = frozenset()
    limit: int | None = None

    def as_record(self) -> dict[str, Any]:
        """What the folder was understood as, as plain JSON values."""
        return {
            "collection": self.collection,
            "extractor": self.extractor.as_record(),
            "tile_px": self.wanted.tile_px,
            "mpp": self.wanted.mpp,
            "imported": self.imported,
            "slides": [
                {"slide_id": source.slide_id, "name": source.entry.slide, "path": source.path or None}
                for source in self.sources
            ],
            "understood": self.understood.as_record(),
        }

    def verified(self, record: Mapping[str, Any]) -> "ImportRequest":
        """The same, whose record says how it was verified."""
        return dataclasses.replace(self, imported={**self.imported, "verified": dict(record)})

    def as_ingest(self) -> IngestRequest:
        """The same as a request for an ingest."""
        extractor = self.loaded or ExtractorConfig(ref=self.wanted.extractor)
        target = Target(extractor=extractor, collection=self.collection, imported=self.imported)
        tiling = TilingConfig(tile_px=self.wanted.tile_px, mpp=self.wanted.mpp)
        return IngestRequest(
            sources=self.sources,
            understood=self.understood,
            store_uri=self.store_uri,
            groups=[TilingGroup(tiling=tiling, targets=(target,))],
            config=IngestConfig(),
            run=dataclasses.replace(
                self.run, readers=self.run.readers or max(FEWEST_READERS, (os.cpu_count() or 1) - 1)
            ),
            execution=ExecutionConfig(in_process=True),
            retry_failed=self.retry_failed,
            force=self.force,
            limit=self.limit,
        )


def import_request(
    folder: Path,
    store_uri: str,
    config: FeatureConfig,
    *,
    slides: FoundSlides | None = None,
    collection: str | None = None,
    weights: ExtractorConfig | None = None,
    device: str = "auto",
    **options: Any,
) -> ImportRequest:
    """Recognise a folder, find its slides, and check what is known of its vectors.

    Args:
        slides: Slides among which the files of the folder's slides are found.
        collection: Name of the collection; '<extractor>-<px>px-<mpp>mpp' when None.
        weights: The extractor that made the vectors, to be loaded for its digest; it is not known when None.
        options: Further fields of ImportRequest.
    Raises:
        LayoutError: the folder has no layout that is known, or several, or no file of it says what the vectors are.
        CollectionMismatchError: the collection holds other vectors.
        WeightsError, UnknownExtractorError: the extractor cannot be loaded.
    """
    layout, entries = look_apart(folder, config.layout, config.features)
    _check_names(folder, entries)
    if not entries:
        raise LayoutError(f"{folder} holds no slide in the layout of {layout.title}; expected {layout.where}")
    if config.coordinates is not None:
        entries = _with_coordinates(entries, Path(config.coordinates))
    store = Store(store_uri)
    sources, notes = _sources(entries, layout, slides, store)
    wanted, facts = _tile_facts(folder, sources, config)
    wanted = _as_in_catalogue(wanted, layout, config, collection, store)
    name = collection or _default_name(wanted)
    if config.mpp is None and facts.mpp is None and name in store.collection_names():
        # It followed from the first slide, which may be another one than that of the first import.
        wanted = dataclasses.replace(wanted, mpp=store.collection(name).record().tiling.mpp)
    extractor, loaded = _extractor(store, name, wanted, weights, device)
    with_file = sum(bool(source.path) for source in sources)
    summary = SourceSummary(
        slides={layout.title: len(sources)},
        notes=(
            f"vectors of {wanted.extractor}, {wanted.dim} dimensions, tiles of {wanted.tile_px} px at {wanted.mpp:g} "
            f"µm/px; {with_file:,} of {len(sources):,} slides have a file",
            *notes,
            *_about_name(facts, wanted, layout, config),
            *_consequences(extractor.ref),
        ),
        warnings=() if slides is None else slides.summary.warnings,
    )
    given = {name: value for name, value in as_record(config).items() if value is not None}
    return ImportRequest(
        sources=sources,
        understood=summary,
        store_uri=store_uri,
        collection=name,
        config=config,
        wanted=wanted,
        extractor=extractor,
        loaded=loaded,
        imported={
            "layout": layout.name,
            "tool": facts.tool or layout.title,
            "folder": str(folder.absolute()),
            "version": __version__,
            "given": given,
            "stated": {key: getattr(facts, key) for key in ("extractor", "tile_px", "mpp")},
            "understood": {key: getattr(wanted, key) for key in ("extractor", "tile_px", "mpp")},
        },
        **options,
    )


def import_features(
    request: ImportRequest,
    *,
    on_progress: OnProgress = no_progress,
    should_stop: Callable[[], bool] = lambda: False,
) -> IngestSummary:
    """Bring the vectors of a request into its store; everything that holds for `ingest` holds here.

    Raises:
        CollectionMismatchError: the collection was made with another configuration or extractor.
        RunError: reading or writing failed more often than allowed.
    """

    def workers(ingest_request: IngestRequest, group: TilingGroup, store_uri: str) -> WorkerFactories:
        return WorkerFactories(
            reader=functools.partial(FeatureReader, request.config, request.wanted),
            extractor=functools.partial(VectorWriter, store_uri, request.collection, request.extractor),
            committer=functools.partial(
                Committer, store_uri, [request.collection], compact_every=request.run.compact_every
            ),
            store_uri=store_uri,
            tile_bytes=4 * request.wanted.dim,
        )

    def of_import(progress: Progress) -> None:
        on_progress(dataclasses.replace(progress, stage="import"))

    run = functools.partial(ingest, on_progress=of_import, should_stop=should_stop, make_workers=workers)
    try:
        return run(request.as_ingest())
    except CollectionMismatchError:  # before any work
        agreed = _with_stored_digest(request)
        if agreed is request:
            raise
        request = agreed  # another process made the collection meanwhile
        return run(request.as_ingest())


def _with_stored_digest(request: ImportRequest) -> ImportRequest:
    """The request once its collection is there, which another process may have made meanwhile."""
    store = Store.create(request.store_uri)
    if not request.extractor.ref.is_known and request.collection in store.collection_names():
        stored = store.collection(request.collection).record()
        if _same_but_digest(stored, request.extractor):
            return dataclasses.replace(request, extractor=stored.extractor)
    return request


def _tile_facts(
    folder: Path, sources: Sequence[FeatureSource], config: FeatureConfig
) -> tuple[TileFacts, FeatureFacts]:
    """What the vectors are, as the first slides say that have any.

    Raises:
        LayoutError: none of them can be read, or none says it.
    """
    reasons = list[str]()
    for source in sources:
        slide = open_slide_of(source, config)
        try:
            with open_features(source, slide.facts) as features:
                if features.facts.tiles:
                    return tile_facts(
                        source.slide_id, features, config, facts_with(features, slide.facts)
                    ), features.facts
                reasons.append(f"slide {source.slide_id!r} has no tile")
        except FeatureFileError as error:
            reasons.append(str(error))
        if len(reasons) == LOOKED_AT:
            break
    more = f"; it is alike with {len(reasons) - 1:,} more" if len(reasons) > 1 else ""
    raise LayoutError(f"what the vectors of {folder} are is not known: {reasons[0]}{more}")


def _default_name(wanted: TileFacts) -> str:
    return f"{wanted.extractor}-{wanted.tile_px}px-{wanted.mpp:g}mpp".replace("/", "-").replace(":", "-")


def _as_in_catalogue(
    wanted: TileFacts, layout: Layout, config: FeatureConfig, collection: str | None, store: Store
) -> TileFacts:
    """The same with the catalogue's name for the extractor, unless the user or the collection names it otherwise."""
    if config.extractor is not None:
        return wanted
    name = collection or _default_name(wanted)
    if name in store.collection_names() and store.collection(name).record().extractor.ref.name == wanted.extractor:
        return wanted  # it was imported before under the tool's name, and goes on so
    return dataclasses.replace(wanted, extractor=name_of_catalogue(layout.name, wanted.extractor, wanted.dim))


def _about_name(facts: FeatureFacts, wanted: TileFacts, layout: Layout, config: FeatureConfig) -> list[str]:
    """What tells that the extractor is not called as in the files, or is not what the catalogue calls so."""
    name = wanted.extractor
    if config.extractor is None and facts.extractor != name:
        return [f"{layout.title} calls the extractor {facts.extractor}, embedstore {name}; --extractor says otherwise"]
    entry = catalogue().get(name)
    if entry is None or entry.embedding_dim == wanted.dim:
        return []
    return [
        f"{name} of `embedstore extractors` gives {entry.embedding_dim} dimensions: these are another output of that "
        "network, or of another one; --extractor NAME gives them a name of their own"
    ]


def _extractor(
    store: Store, collection: str, wanted: TileFacts, weights: ExtractorConfig | None, device: str
) -> tuple[ExtractorRecord, ExtractorConfig | None]:
    """The extractor as the collection has it or will have it, and how it is loaded where that is known.

    Raises:
        CollectionMismatchError: the collection holds other vectors.
    """
    stored = store.collection(collection).record() if collection in store.collection_names() else None
    if weights is not None:
        weights = dataclasses.replace(weights, tile_px=weights.tile_px or wanted.tile_px, mpp=weights.mpp or wanted.mpp)
        _check_dim(weights.ref, embedding_dim(weights), wanted)  # before the weights are fetched
        if stored is not None and not (stored.extractor.ref.is_known and stored.extractor.ref.dim == wanted.dim):
            raise CollectionMismatchError(
                f"collection {collection!r} has vectors of {stored.extractor.ref}, {stored.extractor.ref.dim} "
                f"dimensions, and those given are of the weights of {weights.ref}, {wanted.dim} dimensions; expected "
                "the same digest, which only --weights of `embedstore import` says; give the new vectors a collection "
                "of their own with --collection"
            )
        loaded = load_extractor(weights, device=device)
        _check_dim(loaded.name, loaded.dim, wanted)
        return ExtractorRecord.from_record(loaded.record()), weights
    unknown = ExtractorRecord(
        ref=ExtractorRef(name=wanted.extractor, digest=f"{UNKNOWN_DIGEST}{uuid.uuid4().hex}", dim=wanted.dim),
        tile_px=wanted.tile_px,
        mpp=wanted.mpp,
    )
    if stored is None or not _same_but_digest(stored, unknown):
        return unknown, None
    return stored.extractor, None


def _check_dim(name: str, dim: int | None, wanted: TileFacts) -> None:
    if dim not in (None, wanted.dim):
        raise CollectionMismatchError(
            f"extractor {name!r} gives vectors of {dim} dimensions, and the files hold {wanted.dim}: they were made by "
            "another; give the right --extractor"
        )


def _same_but_digest(stored: CollectionRecord, unknown: ExtractorRecord) -> bool:
    """Whether a collection has an unknown extractor of that name: the user says that it is the same."""
    there = stored.extractor.ref
    return not there.is_known and (there.name, there.dim) == (unknown.ref.name, unknown.ref.dim)


def _consequences(extractor: ExtractorRef) -> list[str]:
    if extractor.is_known:
        return []
    return [
        f"which weights of {extractor.name} made the vectors is not known, so heads fitted on this collection serve no "
        "other one, and neither images nor new slides can be embedded for it; --weights says which they are"
    ]


# -- the slides -----------------------------------------------------------------------------


def _check_names(folder: Path, entries: Sequence[Entry]) -> None:
    """Raise LayoutError where a slide has no name, or one that no table can hold."""
    for entry in entries:
        if not entry.slide.strip():
            raise LayoutError(f"{entry.features} has tiles of a slide without a name; expected its id in each row")
        if not entry.slide.isascii():
            try:
                entry.slide.encode()
            except UnicodeEncodeError as error:
                shown = entry.slide.encode(errors="backslashreplace").decode()
                raise LayoutError(f"{folder} has a file {shown!r} whose name is not in UTF-8; rename it") from error


def _with_coordinates(entries: Sequence[Entry], folder: Path) -> list[Entry]:
    """The slides with their files of places in another folder.

    Raises:
        LayoutError: it has none of a slide.
    """
    files = {path.stem: path for path in sorted(folder.iterdir())} if folder.is_dir() else {}
    for suffix in ("_patches", "_coords"):
        files |= {stem.removesuffix(suffix): path for stem, path in files.items() if stem.endswith(suffix)}
    found = [dataclasses.replace(entry, coordinates=files.get(entry.slide, entry.coordinates)) for entry in entries]
    if not any(entry.coordinates in files.values() for entry in found):
        raise LayoutError(
            f"--coordinates {folder} has no file of a slide's places; expected {entries[0].slide}.h5 and the like"
        )
    return found


def _sources(
    entries: Sequence[Entry], layout: Layout, found: FoundSlides | None, store: Store
) -> tuple[list[FeatureSource], list[str]]:
    """The slides of a folder, under the ids of the store or of the slides given, and what should be told.

    A slide is found by its id with or without suffix, or by the name of its file.
    """
    rows = store.ledger.slides()
    given = recognise(found, store)[0].sources if found is not None else ()
    stored = {row.slide_id: row for row in rows if not row.is_ready_made}
    known = [SlideSource(slide_id=row.slide_id, path=row.path, kind=row.kind) for row in stored.values()]
    notes, sources, taken = list[str](), list[FeatureSource](), dict[str, str]()
    by_given, by_known = _by_names(given), _by_names(known)
    unfound = []
    for entry in entries:
        given_slide, known_slide = _one(by_given, entry.slide), _one(by_known, entry.slide)
        slide = given_slide or known_slide
        if given_slide is not None and known_slide is not None:  # it keeps the id under which it came without its file
            slide = dataclasses.replace(given_slide, slide_id=known_slide.slide_id)
        if slide is None:
            slide = SlideSource(slide_id=entry.slide, path="", kind="wsi")
            unfound.append(entry.slide)
        if slide.slide_id in taken:
            raise LayoutError(
                f"{entry.slide!r} and {taken[slide.slide_id]!r} are both features of slide {slide.slide_id!r}; give a "
                "list of slides with --slides whose column slide_id has the names of the features"
            )
        taken[slide.slide_id] = entry.slide
        own = {each.name: getattr(slide, each.name) for each in dataclasses.fields(slide)}
        in_store = None if given_slide is not None or slide.slide_id not in stored else _file_of(stored[slide.slide_id])
        sources.append(FeatureSource(**own, entry=entry, layout=layout.name, known=in_store))
    if found is not None and unfound:
        notes.append(f"{len(unfound):,} slide(s) are not among the slides given: {first_few(unfound)}")
    return sources, notes


def _file_of(row: SlideRow) -> SlideFile | None:
    """What the store knows of a slide's file; None where it knows nothing."""
    if row.width_l0 is None or row.height_l0 is None:
        return None
    bounds = (row.bounds_x, row.bounds_y, row.bounds_width, row.bounds_height)
    return SlideFile(
        facts=SlideFacts(mpp=row.slide_mpp, size_l0=(row.width_l0, row.height_l0)),
        of_plan={
            "vendor": row.vendor or "",
            "bounds_l0": None if None in bounds else bounds,
            "fingerprint": row.fingerprint or "",
            "tissue_mm2": row.tissue_mm2,
        },
    )


def _by_names(slides: Sequence[SlideSource]) -> dict[str, list[SlideSource]]:
    """Slides by each name that features may have for them, those that say most first."""
    names = dict[str, list[SlideSource]]()
    for slide in slides:
        of_id, of_path = PurePosixPath(slide.slide_id), PurePosixPath(slide.path)
        for name in dict.fromkeys((slide.slide_id, str(of_id.parent / of_id.stem), of_id.stem, of_path.stem)):
            names.setdefault(name, []).append(slide)
    return names


def _one(names: dict[str, list[SlideSource]], name: str) -> SlideSource | None:
    """The slide that a name means: that of this id, or else the only one; None where several could be meant."""
    for tried in dict.fromkeys((name, PurePosixPath(name).name)):
        slides = names.get(tried, [])
        exact = [slide for slide in slides if slide.slide_id == tried]
        if len(exact or slides) == 1:
            return (exact or slides)[0]
    return None
