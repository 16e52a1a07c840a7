"""How the map of a collection was made, and what is on it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embedstore.map_config import MapConfig


@dataclass(frozen=True, kw_only=True)
class MapRecord:
    """How a map was made.

    Attributes:
        config: The settings.
        method: What laid the tiles out: that of the settings, or `pca` where there were too few tiles for it.
        library: Package and version that did it; None for `pca`.
        components: Principal components that it was given.
        tiles: Tiles that were laid out.
        candidates: Tiles that the collection had then.
        slides: Slides that the collection had then.
        collection_version: Version of the collection's table.
        extractor_digest: Of the extractor that made its vectors.
        embedstore: Version of embedstore.
        created_at: ISO 8601.
    """

    config: MapConfig
    method: str
    library: str | None
    components: int
    tiles: int
    candidates: int
    slides: int
    collection_version: int
    extractor_digest: str
    embedstore: str
    created_at: str

    def as_record(self) -> dict[str, Any]:
        """As JSON values; `from_record` takes them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "MapRecord":
        return cls(**{**record, "config": MapConfig(**record["config"])})


@dataclass(frozen=True, kw_only=True)
class MapFacts:
    """What is on a map now.

    Attributes:
        record: How it was made.
        version: Of what it shows; the same version, the same tiles in the same order.
        tiles: Tiles on it.
        placed: How many of them came after it was made, and were placed beside the tiles that they resemble.
        slides: Slides on it.
        collection_tiles: Tiles of the collection.
        new_slides: Slides of the collection that are not on it yet.
    """

    record: MapRecord
    version: str
    tiles: int
    placed: int
    slides: int
    collection_tiles: int
    new_slides: int

    @property
    def note(self) -> str:
        """What of the collection is on the map, for people."""
        text = f"{self.tiles:,} of {self.collection_tiles:,} tiles"
        if self.tiles < self.collection_tiles:
            text += ", drawn evenly over the slides"
        if self.placed:
            text += f"; {self.placed:,} of them placed later"
        if self.new_slides:
            text += f"; {self.new_slides:,} new slide(s) not on it yet"
        return text

    def as_record(self) -> dict[str, Any]:
        """As JSON values; `from_record` takes them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "MapFacts":
        known = {each.name for each in dataclasses.fields(cls)}
        values = {name: value for name, value in record.items() if name in known}
        return cls(**{**values, "record": MapRecord.from_record(record["record"])})
