"""Jobs that check and write nothing: heads fitted again or evaluated, and audits of a collection."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import pyarrow as pa

from embedstore.config import require
from embedstore.errors import ConfigError
from embedstore.service.jobs.kind import JobKind, Workplace
from embedstore.settings import build_config
from embedstore.store import Store as StoreTables

#: Most tiles that an audit examines: its findings are an answer of JSON.
MOST_SAMPLE = 20_000


@dataclass(frozen=True, kw_only=True)
class FitAgain(JobKind):
    """Fit a head again from its record, and compare; nothing is saved.

    Attributes:
        head: Name of the head.
    """

    NAME: ClassVar[str] = "fit-again"
    ON_CLUSTER: ClassVar[bool] = True

    head: str

    def check(self, tables: StoreTables) -> None:
        tables.heads.get(self.head)

    def run(self, at: Workplace) -> dict[str, Any]:
        return asdict(at.store.head(self.head).fit_again(on_progress=at.on_progress))


@dataclass(frozen=True, kw_only=True)
class Evaluate(JobKind):
    """Evaluate heads on labelled slides that they were not fitted on.

    Attributes:
        heads: Names of the heads.
        collection: A collection of the same extractor; the one that each head was fitted on when None.
        where: Only slides that fulfil this SQL.
        settings: Fields of `EvaluateConfig` that differ from their defaults.
    """

    NAME: ClassVar[str] = "evaluate"
    ON_CLUSTER: ClassVar[bool] = True

    heads: tuple[str, ...]
    collection: str | None = None
    where: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self, tables: StoreTables) -> None:
        from embedstore.search.filters import slides_where
        from heads.config import EvaluateConfig

        build_config(EvaluateConfig, self.settings)
        require(len(set(self.heads)) == len(self.heads) > 0, "heads is empty or names one twice; expected each once")
        collections = {self.collection or tables.heads.get(name).collection for name in self.heads}
        for name in sorted(collections):
            slides_where(tables, tables.collection(name), self.where)

    def run(self, at: Workplace) -> dict[str, Any]:
        found = at.store.evaluate(
            self.heads, collection=self.collection, where=self.where, on_progress=at.on_progress, **self.settings
        )
        # Whoever asked knows the filter and the store as they see them, and they alone may.
        return {"evaluations": [{**record, "where": None, "store": ""} for record in found.as_record()]}


@dataclass(frozen=True, kw_only=True)
class Check(JobKind):
    """Look for leaks, duplicate slides or outliers in a collection.

    Attributes:
        collection: The collection.
        what: What to look for.
        head: leaks: compare the parts of this head's split, not patients.
        distance: leaks, duplicates: cosine distance up to which two tiles count as the same; from the collection when
            None.
        sample: Tiles to check, spread evenly over slides.
    """

    NAME: ClassVar[str] = "check"

    collection: str
    what: Literal["leaks", "duplicates", "outliers"]
    head: str | None = None
    distance: float | None = None
    sample: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.sample <= MOST_SAMPLE, f"sample is {self.sample}; a service checks 1 to {MOST_SAMPLE} tiles")
        require(self.head is None or self.what == "leaks", f"head {self.head!r} is for leaks, not for {self.what}")
        require(self.distance is None or self.what != "outliers", "a distance is for leaks and duplicates")

    def check(self, tables: StoreTables) -> None:
        tables.collection(self.collection)
        if self.head is not None:
            head = tables.heads.get(self.head)
            if head.collection != self.collection:
                raise ConfigError(f"head {self.head} was fitted on collection {head.collection}, not {self.collection}")

    def run(self, at: Workplace) -> dict[str, Any]:
        collection = at.store.collection(self.collection)
        if self.what == "leaks":
            leaks = collection.find_leaks(
                head=self.head, distance=self.distance, sample=self.sample, on_progress=at.on_progress
            )
            found = {"pairs": _rows(leaks.pairs), "distance": leaks.distance}
            return {**found, **_examined(leaks)}
        if self.what == "duplicates":
            duplicates = collection.find_duplicates(
                distance=self.distance, sample=self.sample, on_progress=at.on_progress
            )
            pairs = [asdict(pair) for pair in duplicates.pairs]
            return {"pairs": pairs, "distance": duplicates.distance, **_examined(duplicates)}
        outliers = collection.find_outliers(sample=self.sample, on_progress=at.on_progress)
        tables = {"tiles": _rows(outliers.tiles), "slides": _rows(outliers.slides)}
        return {**tables, "limit": outliers.limit, "neighbours": outliers.neighbours, **_examined(outliers)}


def _examined(audit: Any) -> dict[str, Any]:
    return {"sampled": audit.sampled, "candidates": audit.candidates, "notes": list(audit.notes)}


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as JSON values, with the ids of tiles as text."""
    ids = {name for name in table.column_names if name.endswith("tile_id")}
    return [{name: str(value) if name in ids else value for name, value in row.items()} for row in table.to_pylist()]
