"""The kinds of jobs: what each is asked for, what is checked before it waits, what it does, and what it may leave.

A job's parameters are the fields of its class, as JSON. They never name a file of the server.
"""

import dataclasses
import datetime as dt
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from embedstore.api import Head
from embedstore.api.settings import fit_config
from embedstore.config import require
from embedstore.errors import ConfigError
from embedstore.export import ExportRequest, ExportResult
from embedstore.export.predictions import ExportScope, export_scope
from embedstore.export_format import ONE_FILE, SUFFIXES, ServedFormat
from embedstore.map_config import MapConfig
from embedstore.output_files import file_name
from embedstore.progress import Progress
from embedstore.service.jobs.check_kinds import Check, FitAgain
from embedstore.service.jobs.kind import JobKind, Workplace
from embedstore.service.jobs.spool import keep_slides
from embedstore.settings import build_config, check_settings
from embedstore.store import Store as StoreTables
from embedstore.typed_values import guess

#: Tiles of a collection up to which a fit's labels are joined and split before it waits; above that, when it runs.
CHECKED_TILES = 1_000_000
#: Longer side of a heat map, pixels: one of 67 megapixels has 200 MB, and there are copies of it on the way.
MOST_PICTURE_PX = 8192
_MEDIA_TYPES = {
    ".csv": "text/csv; charset=utf-8", ".parquet": "application/vnd.apache.parquet", ".json": "application/json",
    ".geojson": "application/geo+json", ".png": "image/png", ".zip": "application/zip", ".h5ad": "application/x-hdf5",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fit(JobKind):
    """Fit a head for each task, all in one pass over the vectors, and predict with them if asked to.

    Attributes:
        tasks: Tasks that have labels in the store.
        names: Names of the heads; from task and model when empty.
        collection: Collection whose vectors are used; the only one when None.
        where: Only slides that fulfil this SQL.
        replace: Replace heads of the same names.
        predict: Predict all slides of the collection with each head once it is saved.
        slides: Predict these first, in a step of their own, as somebody looks at them; one without tiles is left out.
        settings: Fields of `FitConfig` that differ from their defaults.
    """

    NAME: ClassVar[str] = "fit"
    ON_CLUSTER: ClassVar[bool] = True

    tasks: tuple[str, ...]
    names: tuple[str, ...] = ()
    collection: str | None = None
    where: str | None = None
    replace: bool = False
    predict: bool = False
    slides: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self, tables: StoreTables) -> None:
        _check_split(self.settings)
        config = fit_config(None, self.settings)
        collection = tables.collection(self.collection)
        require(len(set(self.tasks)) == len(self.tasks) > 0, "tasks is empty or names one twice; expected each once")
        for name in self._head_names():
            tables.heads.require_free(name, replace=self.replace)
        for task in self.tasks:
            tables.labels.of_task(task)
        require(self.predict or not self.slides, "slides to predict first go with predict, which is not asked for")
        tables.ledger.resolve_slides(slides=self.slides)
        if len(collection) <= CHECKED_TILES:
            from heads.examples import gather_examples

            gather_examples(tables, collection, self.tasks, config, self.where)

    def run(self, at: Workplace) -> dict[str, Any]:
        heads = at.store.fit_heads(
            self.tasks, names=list(self.names) or None, collection=self.collection, where=self.where,
            replace=self.replace, on_progress=at.on_progress, **self.settings,
        )  # fmt: skip
        if self.predict:
            for head in heads:
                self._predict(head, at)
        return {
            "heads": [
                {
                    "name": head.name,
                    "task": head.task,
                    "digest": head.digest,
                    "metrics": {name: dataclasses.asdict(metric) for name, metric in head.metrics.items()},
                    "notes": list(head.record.notes),
                }
                for head in heads
            ]
        }

    def left(self, tables: StoreTables, since: dt.datetime) -> str:
        saved = {head.name for head in tables.heads.summaries() if head.created_at and head.created_at >= since}
        made = [name for name in self._head_names() if name in saved]
        lacking = [name for name in self._head_names() if name not in saved]
        if not made:
            return super().left(tables, since)
        rest = f", and {', '.join(lacking)} not" if lacking else ""
        return f"head {', '.join(made)} was saved before that, whole{rest}"

    def _predict(self, head: Head, at: Workplace) -> None:
        def first(progress: Progress) -> None:
            at.on_progress(dataclasses.replace(progress, stage="predict-first"))

        stored = at.tables.collection(head.collection).slides()
        if slides := [name for name in self.slides if name in stored]:
            head.predict(slides=slides, on_progress=first)
        head.predict(where=self.where, on_progress=at.on_progress)

    def _head_names(self) -> list[str]:
        from heads.config import default_head_name

        if self.names:
            require(len(self.names) == len(self.tasks), f"{len(self.names)} names for {len(self.tasks)} tasks")
            return list(self.names)
        config = fit_config(None, self.settings)
        return [default_head_name(task, config) for task in self.tasks]


@dataclass(frozen=True, kw_only=True)
class Predict(JobKind):
    """Predict the tiles, slides or patients of a collection with a head, and store the predictions.

    Attributes:
        head: Name of the head.
        slides: Only these; all when empty.
        where: Only slides that fulfil this SQL.
        collection: Another collection of the same extractor; the head's own when None.
    """

    NAME: ClassVar[str] = "predict"
    ON_CLUSTER: ClassVar[bool] = True

    head: str
    slides: tuple[str, ...] = ()
    where: str | None = None
    collection: str | None = None

    def check(self, tables: StoreTables) -> None:
        collection = tables.collection(self.collection or tables.heads.get(self.head).collection)
        tables.ledger.resolve_slides(slides=self.slides)
        _check_where(tables, collection.name, self.where)

    def run(self, at: Workplace) -> dict[str, Any]:
        predicted = at.store.head(self.head).predict(
            slides=self.slides, where=self.where, collection=self.collection, on_progress=at.on_progress
        )
        return dataclasses.asdict(predicted)

    def left(self, tables: StoreTables, since: dt.datetime) -> str:
        written = tables.predictions(self.head).written_at()
        if written is None or written < since:
            return "nothing was written; earlier predictions are as they were"
        return "its predictions were written before that, whole"


@dataclass(frozen=True, kw_only=True)
class Export(JobKind):
    """Write the predictions of a head or the embeddings of a collection to a file, to be downloaded.

    Attributes:
        format: geojson, png (heat maps), csv, parquet, slides (a row for each slide) or anndata; of geojson and png of
            several slides a ZIP.
        head: Export its predictions; without one, the embeddings of a collection.
        collection: Collection to export where no head is named; may be left out where there is only one.
        slides: Only these.
        where: Only slides that fulfil this SQL.
        settings: The other fields of `ExportRequest`: origin, merge, min_probability, of_class, picture_px.
    """

    NAME: ClassVar[str] = "export"

    format: ServedFormat
    head: str | None = None
    collection: str | None = None
    slides: tuple[str, ...] = ()
    where: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self, tables: StoreTables) -> None:
        request = self._request(Path())
        require(
            request.picture_px <= MOST_PICTURE_PX,
            f"picture_px is {request.picture_px}; expected at most {MOST_PICTURE_PX} pixels of a service",
        )
        self.scope(tables)

    def scope(self, tables: StoreTables) -> ExportScope:
        """What is exported. Raises what the export would."""
        scope = export_scope(
            tables, head=self.head, collection=self.collection, slides=self.slides, where=self.where
        )  # fmt: skip
        if self.format in SUFFIXES:
            scope.tile_values(self.format)
            scope.located_slides(self.format, named=bool(self.slides))
        return scope

    def run(self, at: Workplace) -> dict[str, Any]:
        path, media_type, result = self.write(at)
        return {
            "file": {"name": path.name, "bytes": path.stat().st_size, "media_type": media_type},
            "files": [
                {"name": _name_within(file.path, path), "rows": file.rows, "slide_id": file.slide_id}
                for file in result.files
            ],
            "slides": result.slides,
            "rows": sum(file.rows for file in result.files),
            "unit": result.unit,
            "notes": list(result.notes),
        }

    def write(self, at: Workplace) -> tuple[Path, str, ExportResult]:
        """Write the file; returns its path, its media type, and what is in it."""
        scope = self.scope(at.tables)
        keep_slides(at.folder, scope.slides)
        at.on_progress(Progress(stage="export", message=f"export {len(scope.slides):,} slide(s) as {self.format}"))
        name = self._file_name(scope)
        result = at.store.export(
            at.folder / name, format=self.format, head=self.head, collection=self.collection,
            slides=self.slides, where=self.where, on_progress=at.on_progress, **self.settings,
        )  # fmt: skip
        path = _one_file(at.folder / name, result)
        return path, _MEDIA_TYPES[path.suffix], result

    def left(self, tables: StoreTables, since: dt.datetime) -> str:
        return "its unfinished file was deleted"

    def _request(self, path: Path) -> ExportRequest:
        own = {each.name for each in dataclasses.fields(self)} | {"path"}
        if wrong := sorted(own & self.settings.keys()):
            raise ConfigError(f"settings of an export may not have {', '.join(wrong)}; see the other parameters")
        return build_config(
            ExportRequest, self.settings, format=self.format, path=path, head=self.head, collection=self.collection,
            slides=self.slides, where=self.where,
        )  # fmt: skip

    def _file_name(self, scope: ExportScope) -> str:
        """The file; of a file for each slide, the folder."""
        source = self.head or scope.collection
        if self.format not in SUFFIXES:
            return f"{source}-{ONE_FILE[self.format]}"
        located, _ = scope.located_slides(self.format, named=bool(self.slides))
        if len(located) > 1:
            return f"{source}-{self.format}"
        return file_name(f"{source}-{located[0].replace('/', '-')}", SUFFIXES[self.format])


@dataclass(frozen=True, kw_only=True)
class Compact(JobKind):
    """Merge small files, purge removed rows and forget old versions.

    Attributes:
        keep_hours: Keep versions that are younger than this; 0 purges removed rows from the disk now.
    """

    NAME: ClassVar[str] = "compact"

    keep_hours: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.keep_hours >= 0, f"keep_hours is {self.keep_hours}; expected 0 or more")

    def run(self, at: Workplace) -> dict[str, Any]:
        return {"collections": at.store.compact(keep_hours=self.keep_hours, on_progress=at.on_progress)}

    def left(self, tables: StoreTables, since: dt.datetime) -> str:
        return "each table is as before or compacted, and whole; compact again for the rest"


@dataclass(frozen=True, kw_only=True)
class UpdateIndex(JobKind):
    """Bring the search index of a collection up to date, or choose another kind.

    Attributes:
        collection: The collection; the only one when None.
        kind: `auto`, `ivf_rq` or `flat`; the one that the collection remembers when None.
        partitions: Partitions of the index; the square root of the tiles when None.
        bits: Bits per dimension; 1 when None, or 2 below 128 dimensions.
        rebuild: Build it from scratch.
    """

    NAME: ClassVar[str] = "update-index"

    collection: str | None = None
    kind: Literal["auto", "ivf_rq", "flat"] | None = None
    partitions: int | None = None
    bits: int | None = None
    rebuild: bool = False

    def check(self, tables: StoreTables) -> None:
        tables.collection(self.collection)

    def run(self, at: Workplace) -> dict[str, Any]:
        facts = at.store.collection(self.collection).update_index(
            kind=self.kind, partitions=self.partitions, bits=self.bits, rebuild=self.rebuild, on_progress=at.on_progress
        )
        return dataclasses.asdict(facts)

    def left(self, tables: StoreTables, since: dt.datetime) -> str:
        return "the index is as before or the new one, and whole"


@dataclass(frozen=True, kw_only=True)
class FitAugmenter(JobKind):
    """Train a small network that predicts the vector of an augmented tile from the vector of the tile.

    Attributes:
        collection: Collection whose views are used; the only one when None.
        name: Name of the augmenter; COLLECTION-augmenter when None.
        where: Only slides that fulfil this SQL.
        force: Save it even if it predicts no better than the tile's own vector.
        replace: Replace one of the same name.
        settings: Fields of `AugmenterConfig` that differ from their defaults.
    """

    NAME: ClassVar[str] = "fit-augmenter"
    ON_CLUSTER: ClassVar[bool] = True

    collection: str | None = None
    name: str | None = None
    where: str | None = None
    force: bool = False
    replace: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self, tables: StoreTables) -> None:
        from heads.config import AugmenterConfig

        build_config(AugmenterConfig, self.settings)
        collection = tables.collection(self.collection).name
        tables.augmenters.require_free(self._augmenter_name(tables), replace=self.replace)
        len(tables.views(collection))  # raises where there are none
        _check_where(tables, collection, self.where)

    def run(self, at: Workplace) -> dict[str, Any]:
        augmenter = at.store.fit_augmenter(
            collection=self.collection, name=self.name, where=self.where, force=self.force, replace=self.replace,
            on_progress=at.on_progress, **self.settings,
        )  # fmt: skip
        return {"name": augmenter.name, "digest": augmenter.digest, "notes": list(augmenter.record.notes)}

    def left(self, tables: StoreTables, since: dt.datetime) -> str:
        name = self._augmenter_name(tables)
        saved = [a for a in tables.augmenters.summaries() if a.name == name and a.created_at and a.created_at >= since]
        return f"augmenter {name} was saved before that, whole" if saved else super().left(tables, since)

    def _augmenter_name(self, tables: StoreTables) -> str:
        from heads.config import default_augmenter_name

        return self.name or default_augmenter_name(tables.collection(self.collection).name)


@dataclass(frozen=True, kw_only=True)
class SelectExtractor(JobKind):
    """Compare candidates for an extractor on a sample of a task's labelled tiles.

    Attributes:
        task: A labelled task of the target domain.
        candidates: Names of extractors of the catalogue.
        collection: Collection whose tiles are sampled; the only one when None.
        rank_check: Further tasks, on which the ranking is checked.
        where: Only slides that fulfil this SQL.
        tile_px: Tiles for every candidate, pixels; each candidate's own when None.
        mpp: Resolution for every candidate, µm/px; each candidate's own when None.
        settings: Fields of `SelectConfig` that differ from their defaults.
    """

    NAME: ClassVar[str] = "select-extractor"
    ON_CLUSTER: ClassVar[bool] = True

    task: str
    candidates: tuple[str, ...]
    collection: str | None = None
    rank_check: tuple[str, ...] = ()
    where: str | None = None
    tile_px: int | None = None
    mpp: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self, tables: StoreTables) -> None:
        from embedstore.extractors import catalogue
        from heads.config import SelectConfig

        _check_split(self.settings)
        build_config(SelectConfig, self.settings)
        known = catalogue().keys()
        require(len(self.candidates) > 0, "candidates is empty; expected two or more names of extractors")
        if unknown := [name for name in self.candidates if name not in known]:
            raise ConfigError(
                f"{', '.join(unknown)} is not in the catalogue of extractors, the only ones that a service tries; it "
                f"has {', '.join(known)}{guess(unknown, known)}"
            )
        collection = tables.collection(self.collection).name
        for task in (self.task, *self.rank_check):
            tables.labels.of_task(task)
        _check_where(tables, collection, self.where)

    def run(self, at: Workplace) -> dict[str, Any]:
        selection = at.store.select_extractor(
            self.task, self.candidates, collection=self.collection, rank_check=self.rank_check, where=self.where,
            tile_px=self.tile_px, mpp=self.mpp, on_progress=at.on_progress, **self.settings,
        )  # fmt: skip
        return selection.report.as_record()


@dataclass(frozen=True, kw_only=True)
class MakeMap(JobKind):
    """Lay the tiles of a collection out in two dimensions; where there is a map, place new slides into it.

    Attributes:
        collection: The collection; the only one when None.
        rebuild: Make it anew where there is one.
        method, tiles, neighbours, seed: As of `MapConfig`; where none is given, those of the map that there is, or the
            defaults.
    """

    NAME: ClassVar[str] = "map"

    collection: str | None = None
    rebuild: bool = False
    method: Literal["pacmap", "pca"] | None = None
    tiles: int | None = None
    neighbours: int | None = None
    seed: int | None = None

    def check(self, tables: StoreTables) -> None:
        from embedstore.maps import check_map

        check_map(tables, tables.collection(self.collection), self._config(), rebuild=self.rebuild)

    def run(self, at: Workplace) -> dict[str, Any]:
        facts = at.store.collection(self.collection).make_map(
            self._config(), rebuild=self.rebuild, on_progress=at.on_progress
        )
        return {**facts.as_record(), "note": facts.note}

    def left(self, tables: StoreTables, since: dt.datetime) -> str:
        return "the map is as before or the new one, and whole"

    def _config(self) -> MapConfig | None:
        names = [each.name for each in dataclasses.fields(MapConfig)]
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return MapConfig(**given) if given else None


_KINDS: tuple[type[JobKind], ...] = (
    Fit, FitAgain, Predict, Export, Check, Compact, UpdateIndex, FitAugmenter, SelectExtractor, MakeMap,
)  # fmt: skip
KINDS: dict[str, type[JobKind]] = {kind.NAME: kind for kind in _KINDS}


def job_kind(name: str, params: Mapping[str, Any]) -> JobKind:
    """A job of a kind by its name, with its parameters.

    Raises:
        ConfigError: there is no such kind or parameter, or a value of another type.
    """
    if name not in KINDS:
        raise ConfigError(f"no kind of job {name!r}; expected one of {', '.join(KINDS)}{guess([name], KINDS)}")
    kind = KINDS[name]
    check_settings(kind, params)
    for each in dataclasses.fields(kind):
        no_default = each.default is each.default_factory is dataclasses.MISSING
        require(not no_default or each.name in params, f"a job {name!r} needs {each.name}, which is missing")
    return kind(**params)


def _check_split(settings: Mapping[str, Any]) -> None:
    split = settings.get("split")
    if isinstance(split, Mapping) and ("file" in split or split.get("kind") == "file"):
        raise ConfigError(
            "a split by file reads a file of the server, which a service does not; give the split with the labels and "
            "take kind 'given', or a column of the slides and kind 'column'"
        )


def _check_where(tables: StoreTables, collection: str, where: str | None) -> None:
    from embedstore.search.filters import slides_where

    if where is not None:
        slides_where(tables, tables.collection(collection), where)


def _name_within(path: Path, file: Path) -> str:
    """The name of one of the files of an export in the file that is downloaded: in the ZIP, or of the whole."""
    return path.relative_to(file.with_suffix("")).as_posix() if file.suffix == ".zip" else file.name


def _one_file(path: Path, result: ExportResult) -> Path:
    """The file of an export; a ZIP of the files of its folder, which is removed."""
    if path.is_file():
        return path
    packed = path.with_name(f"{path.name}.zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in result.files:
            archive.write(file.path, file.path.relative_to(path).as_posix())
            file.path.unlink()
    return packed
