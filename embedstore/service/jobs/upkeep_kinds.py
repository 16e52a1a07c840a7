"""The kinds of jobs that keep a store in order: compaction, index, map.

A job's parameters are the fields of its class, as JSON. They never name a file of the server.
"""

import dataclasses
import datetime as dt
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from embedstore.config import require
from embedstore.map_config import MapConfig
from embedstore.service.jobs.kind import JobKind, Workplace
from embedstore.store import Store as StoreTables


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
