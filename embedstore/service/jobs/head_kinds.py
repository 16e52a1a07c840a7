"""The kinds of jobs that fit and choose: heads, augmenters, extractors.

A job's parameters are the fields of its class, as JSON. They never name a file of the server.
"""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from embedstore.api import Head
from embedstore.api.settings import fit_config
from embedstore.config import require
from embedstore.errors import ConfigError
from embedstore.progress import Progress
from embedstore.service.jobs.kind import JobKind, Workplace
from embedstore.settings import build_config
from embedstore.store import Store as StoreTables
from embedstore.typed_values import guess

#: Tiles of a collection up to which a fit's labels are joined and split before it waits; above that, when it runs.
CHECKED_TILES = 1_000_000


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
        replace: Replace all earlier predictions, of whatever collection and slides.
    """

    NAME: ClassVar[str] = "predict"
    ON_CLUSTER: ClassVar[bool] = True

    head: str
    slides: tuple[str, ...] = ()
    where: str | None = None
    collection: str | None = None
    replace: bool = False

    def check(self, tables: StoreTables) -> None:
        collection = tables.collection(self.collection or tables.heads.get(self.head).collection)
        tables.ledger.resolve_slides(slides=self.slides)
        _check_where(tables, collection.name, self.where)

    def run(self, at: Workplace) -> dict[str, Any]:
        predicted = at.store.head(self.head).predict(
            slides=self.slides, where=self.where, collection=self.collection, replace=self.replace,
            on_progress=at.on_progress,
        )  # fmt: skip
        return dataclasses.asdict(predicted)

    def left(self, tables: StoreTables, since: dt.datetime) -> str:
        written = tables.predictions(self.head).written_at()
        if written is None or written < since:
            return "nothing was written; earlier predictions are as they were"
        return "its predictions were written before that, whole"


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
