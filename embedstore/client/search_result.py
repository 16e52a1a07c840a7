"""The neighbours that a search over HTTP found, as a table with pictures that are fetched when they are shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from embedstore.arguments import checks_arguments
from embedstore.client.connection import Connection, path
from embedstore.client.query import RemoteQuery
from embedstore.client.tile_pictures import pictures_at_hand
from embedstore.result_table import Table

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from embedstore.api import SearchResult
    from embedstore.config import TilingConfig
    from embedstore.export import WrittenHits
    from embedstore.search import Hits
    from embedstore.store import SlideRow, TileLocation


@checks_arguments
class RemoteSearchResult(Table):
    """Tiles, nearest first, as a table with a picture; as `embedstore.SearchResult`."""

    def __init__(self, connection: Connection, collection: str, query: RemoteQuery, rows: pa.Table, note: str):
        super().__init__(rows, title=f"nearest to {query.title}")
        self._connection, self._collection, self._query, self._note = connection, collection, query, note

    @property
    def note(self) -> str:
        """What the user should know, such as why there are fewer neighbours than requested; "" if nothing."""
        return self._note

    def _heading(self) -> str:
        return "\n".join([super()._heading(), *([f"note: {self.note}"] if self.note else [])])

    @property
    def hits(self) -> "Hits":
        """The query and the rows."""
        from embedstore.search import Hits, Query
        from embedstore.store import TileLocation

        query = self._query
        return Hits(
            store=_SearchedService(self._connection, self._collection),
            collection=self._collection,
            query=Query(
                vector=query.vector,
                title=query.title,
                slides=query.slides,
                tile_ids=query.tile_ids,
                tiles=tuple(map(TileLocation.from_row, query.tiles)),
                picture=query.picture,
            ),
            table=self._table,
            note=self._note,
        )

    def show(self, *, columns: int = 6, tile_px: int = 192) -> "Image.Image":
        """A picture of the query and its neighbours; arguments as of `embedstore.SearchResult.show`."""
        return self._shown().show(columns=columns, tile_px=tile_px)

    def export(self, path: str | Path) -> "WrittenHits":
        """Write the query and its neighbours on this machine; as `embedstore.SearchResult.export`."""
        return self._shown().export(path)

    def export_files(
        self,
        *,
        montage: Path | None = None,
        page: Path | None = None,
        geojson: Path | None = None,
        table: Path | None = None,
    ) -> "WrittenHits":
        """Write several files at once on this machine; as `embedstore.SearchResult.export_files`."""
        return self._shown().export_files(montage=montage, page=page, geojson=geojson, table=table)

    def _shown(self) -> "SearchResult":
        from embedstore.api import SearchResult

        return SearchResult(self.hits)

    def _repr_html_(self) -> str:
        """The first neighbours as a notebook shows them: a card with a picture each."""
        return self._shown()._repr_html_()


class _SearchedService:
    """What showing hits needs of a store, from a service."""

    def __init__(self, connection: Connection, collection: str):
        self._connection, self._collection = connection, collection

    def tiling(self) -> "TilingConfig":
        from embedstore.config import TilingConfig

        return TilingConfig(**self._connection.get(path("collections", self._collection))["record"]["tiling"])

    def slides(self, slide_ids: Sequence[str]) -> "dict[str, SlideRow]":
        from embedstore.store import SlideRow

        rows = {slide_id: self._connection.table(path("slides", slide_id)).to_pylist()[0] for slide_id in slide_ids}
        return {slide_id: _slide_row(SlideRow, row) for slide_id, row in rows.items()}

    def pictures(self, tiles: "Sequence[TileLocation]") -> "list[np.ndarray | str]":
        return pictures_at_hand(self._connection, self._collection, [tile.tile_id for tile in tiles])


def _slide_row(kind: "type[SlideRow]", row: Mapping[str, Any]) -> "SlideRow":
    own = ("width_l0", "height_l0", "bounds_x", "bounds_y", "bounds_width", "bounds_height", "slide_mpp")
    known: dict[str, Any] = {name: row.get(name) for name in own}
    return kind(slide_id=row["slide_id"], path="", kind=row.get("kind") or "wsi", **known)
