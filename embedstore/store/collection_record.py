"""How the vectors of a collection were made: kept with its table, and compared before more are added."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig, ViewConfig, as_record
from embedstore.errors import StoreError
from embedstore.extractor_ref import ExtractorRecord
from embedstore.store.schema import FORMAT_VERSION

CONFIG_KEY = b"embedstore.collection"
#: What of a record decides whether vectors of two records may be compared.
_IDENTITY = ("tiling", "tissue", "extractor", "views")


@dataclass(frozen=True, kw_only=True)
class CollectionRecord:
    """How the vectors of a collection, or of its views, were made.

    Attributes:
        tiling, tissue: How slides were cut into tiles.
        extractor: What embedded them.
        reading: How pixels were read; None where that was not kept.
        request: What the user asked for, as JSON values: `extractor`, `tiling` and `tissue`; None where that was not
            kept.
        views: How the views of tiles were made; None for the tiles themselves.
        imported: Where the vectors come from, if another tool made the first of them: `layout`, `tool`, what the user
            `given`, and what the files say. How that tool found tissue and laid its grid is not known.
    """

    tiling: TilingConfig
    tissue: TissueConfig
    extractor: ExtractorRecord
    reading: ReadingConfig | None = None
    request: Mapping[str, Any] | None = None
    views: ViewConfig | None = None
    imported: Mapping[str, Any] | None = None

    def of_views(self, config: ViewConfig) -> "CollectionRecord":
        """The record of the views of this collection."""
        return replace(self, views=config, reading=None, request=None)

    def differences(self, other: "CollectionRecord") -> list[str]:
        """What decides the vectors and differs in another record, in words: this one is 'there', the other 'here'."""
        there, here = self.as_record(), other.as_record()
        if self.imported is None:
            return list(_differences(there, here, _IDENTITY))
        for record in (there, here):  # of the grid, only these decide the vectors
            record["tiling"] = {name: record["tiling"][name] for name in ("tile_px", "mpp", "downsample")}
        return list(_differences(there, here, [name for name in _IDENTITY if name != "tissue"]))

    def as_record(self) -> dict[str, Any]:
        """As JSON values; `from_record` takes them back."""
        record: dict[str, Any] = {"tiling": as_record(self.tiling), "tissue": as_record(self.tissue)}
        record["extractor"] = self.extractor.as_record()
        for name in ("reading", "views"):
            if (config := getattr(self, name)) is not None:
                record[name] = as_record(config)
        for name in ("request", "imported"):
            if (values := getattr(self, name)) is not None:
                record[name] = dict(values)
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "CollectionRecord":
        """Parse what `as_record` gave; settings that an older version did not have are the defaults."""
        return cls(
            tiling=TilingConfig(**record.get("tiling", {})),
            tissue=TissueConfig(**record.get("tissue", {})),
            extractor=ExtractorRecord.from_record(record["extractor"]),
            reading=ReadingConfig(**record["reading"]) if "reading" in record else None,
            request=record.get("request"),
            views=ViewConfig(**record["views"]) if "views" in record else None,
            imported=record.get("imported"),
        )

    def schema_metadata(self) -> dict[bytes, bytes]:
        """The metadata of a table's schema that keeps it."""
        return {CONFIG_KEY: json.dumps({"format": FORMAT_VERSION, **self.as_record()}, sort_keys=True).encode()}

    @classmethod
    def from_schema(cls, schema: pa.Schema, where: str) -> "CollectionRecord":
        """The record that a table's schema keeps.

        Raises:
            StoreError: there is none, or one that this version does not read.
        """
        raw = (schema.metadata or {}).get(CONFIG_KEY)
        if raw is None:
            raise StoreError(f"table {where} has no {CONFIG_KEY.decode()} metadata: it was not written by embedstore")
        record = json.loads(raw)
        if record.get("format") != FORMAT_VERSION:
            raise StoreError(
                f"collection {where} has format {record.get('format')}; this embedstore reads format {FORMAT_VERSION}; "
                "install the embedstore version that wrote it"
            )
        try:
            return cls.from_record(record)
        except TypeError as error:  # a setting that this version does not have
            raise StoreError(
                f"the configuration of collection {where} cannot be read: {error}; install the embedstore version that "
                "wrote it"
            ) from error


def _differences(
    stored: Mapping[str, Any], given: Mapping[str, Any], keys: Sequence[str], path: str = ""
) -> Iterator[str]:
    for key in keys:
        there, here = stored.get(key), given.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            if "digest" in there and there["digest"] == here.get("digest"):
                continue  # the same network and preprocessing, however it was named or loaded
            yield from _differences(there, here, sorted(there.keys() | here.keys()), f"{path}{key}.")
        elif json.dumps(there) != json.dumps(here):
            yield f"{path}{key} is {there!r} there and {here!r} here"
