"""The map of a collection: where its tiles lie in two dimensions, in a table of its own."""

import json
from collections.abc import Iterable, Sequence

import lance
import pyarrow as pa
from lance.fragment import write_fragments

from embedstore.errors import MapNotFoundError, StoreError
from embedstore.map_record import MapRecord
from embedstore.store.derived_table import DerivedTable
from embedstore.store.schema import FORMAT_VERSION, check_collection_name

PREFIX = "map-"
RECORD_KEY = b"embedstore.map"

MAP = pa.schema(
    [
        pa.field("tile_id", pa.int64(), nullable=False),
        pa.field("slide_id", pa.string(), nullable=False),
        pa.field("map_x", pa.float32(), nullable=False),
        pa.field("map_y", pa.float32(), nullable=False),
        pa.field("placed", pa.bool_(), nullable=False),
    ]
)


class CollectionMap(DerivedTable):
    """The table of a collection's map; it may not exist yet."""

    def __init__(self, store_uri: str, collection: str):
        self.collection = check_collection_name(collection)
        super().__init__(store_uri, PREFIX + collection)

    def pinned(self) -> "CollectionMap":
        """The map at its present version, for several reads that must agree.

        Raises:
            MapNotFoundError: there is none.
        """
        self._require()
        pinned = CollectionMap(self._store_uri, self.collection)
        pinned._table = self._table.pinned()
        return pinned

    def record(self) -> MapRecord:
        """How it was made.

        Raises:
            MapNotFoundError: there is none.
        """
        self._require()
        raw = (self._table.open().schema.metadata or {}).get(RECORD_KEY)
        record = {} if raw is None else json.loads(raw)
        if record.pop("format", None) != FORMAT_VERSION:
            raise StoreError(
                f"the map of collection {self.collection!r} was not written by this version of embedstore; make it "
                "anew: `embedstore map --rebuild`"
            )
        return MapRecord.from_record(record)

    def coverage(self, slides: Iterable[str]) -> tuple[int, int]:
        """Tiles of some slides that are on the map, and how many of the slides it lacks; (0, 0) without a map."""
        if not self.exists():
            return 0, 0
        known, on_map = set(slides), self.slides()
        return sum(count for name, count in on_map.items() if name in known), len(known - on_map.keys())

    def rows(self, *, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows; errors as in `record`."""
        self._require()
        return self._table.open().to_table(columns=None if columns is None else list(columns))

    def _require(self) -> None:
        if not self.exists():
            raise MapNotFoundError(
                f"collection {self.collection!r} has no map yet; `embedstore map --collection {self.collection}` makes "
                "it"
            )

    def write(self, record: MapRecord, rows: pa.Table) -> None:
        """Make the map, in place of one that there was; the caller holds the lease.

        Args:
            rows: As of MAP.
        """
        about = json.dumps({"format": FORMAT_VERSION, **record.as_record()}, sort_keys=True).encode()
        schema = MAP.with_metadata({RECORD_KEY: about})
        self._table.overwrite(schema, self._fragments(rows, schema, "overwrite" if self.exists() else "create"))

    def add(self, rows: pa.Table) -> None:
        """Add tiles to the map; the caller holds the lease."""
        if len(rows):
            self._table.replace(None, self._fragments(rows, self._table.open().schema, "append"))

    def _fragments(self, rows: pa.Table, schema: pa.Schema, mode: str) -> list[lance.FragmentMetadata]:
        return write_fragments(rows.cast(MAP).replace_schema_metadata(schema.metadata), self._table.uri, mode=mode)


def mapped_collections(table_names: Iterable[str]) -> list[str]:
    """The collections that have a map."""
    return sorted(name.removeprefix(PREFIX) for name in table_names if name.startswith(PREFIX))
