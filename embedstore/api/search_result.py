"""The neighbours that a search found."""

from pathlib import Path
from typing import TYPE_CHECKING

from embedstore.access_errors import tells_access_errors
from embedstore.arguments import checks_arguments
from embedstore.errors import ExportError
from embedstore.result_table import Table

if TYPE_CHECKING:
    from PIL import Image

    from embedstore.export import WrittenHits
    from embedstore.search import Hits

#: What a file's ending stands for.
KINDS = {
    ".png": "montage", ".jpg": "montage", ".jpeg": "montage", ".tif": "montage", ".tiff": "montage", ".html": "page",
    ".csv": "table", ".parquet": "table", ".json": "table", ".geojson": "geojson", "": "geojson",
}  # fmt: skip


@tells_access_errors
@checks_arguments
class SearchResult(Table):
    """Tiles, nearest first, as a table with a picture.

    Attributes:
        hits: The query and the rows.
    """

    def __init__(self, hits: "Hits"):
        super().__init__(hits.table, title=f"nearest to {hits.query.title}")
        self.hits = hits

    @property
    def note(self) -> str:
        """What the user should know, such as why there are fewer neighbours than requested; "" if nothing."""
        return self.hits.note

    def _heading(self) -> str:
        return "\n".join([super()._heading(), *([f"note: {self.note}"] if self.note else [])])

    def show(self, *, columns: int = 6, tile_px: int = 192) -> "Image.Image":
        """A picture of the query and its neighbours.

        Args:
            columns: Tiles in a row.
            tile_px: Edge of a tile in the picture, pixels.
        """
        from embedstore.export import draw_montage

        return draw_montage(self.hits, columns=columns, tile_px=tile_px)

    def export(self, path: str | Path) -> "WrittenHits":
        """Write the query and its neighbours, in the format of the path's ending.

        Args:
            path: .png or .jpg, a picture; .html, a page that needs no other file; .csv, .parquet or .json, the rows;
                .geojson for QuPath; or a folder, which gets a .geojson for each slide.
        Raises:
            ExportError: the path has another ending or cannot be written to, or no tile has a place for QuPath.
        """
        path = Path(path)
        kind = KINDS.get(path.suffix.lower())
        if kind is None:
            endings = ", ".join(filter(None, KINDS))
            raise ExportError(f"{path} ends in {path.suffix!r}; expected one of {endings}, or a folder for QuPath")
        return self.export_files(**{kind: path})

    def export_files(
        self,
        *,
        montage: Path | None = None,
        page: Path | None = None,
        geojson: Path | None = None,
        table: Path | None = None,
    ) -> "WrittenHits":
        """Write several files at once; see `export`.

        Args:
            montage: A picture of the query and its neighbours, as PNG.
            page: A web page that needs no other file.
            geojson: For QuPath: a file, or a folder of one for each slide.
            table: The rows, as .csv, .parquet or .json.
        Raises:
            ExportError: a file cannot be written, or no tile has a place for QuPath.
        """
        from embedstore.export import HitFiles, write_hits

        return write_hits(self.hits, HitFiles(montage=montage, page=page, geojson=geojson, table=table))

    def _repr_html_(self) -> str:
        """The first neighbours as a notebook shows them: a card with a picture each."""
        from embedstore.export import notebook_html

        return notebook_html(self.hits)
