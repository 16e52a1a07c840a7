"""What a collection holds, in numbers, and the columns of its tiles that are shown."""

from dataclasses import dataclass

#: Columns of a table of tiles unless others are named; without the vector, which is 100 times as large as all of these.
TILE_COLUMNS = ["tile_id", "slide_id", "x", "y", "edge_l0", "name", "tissue"]


@dataclass(frozen=True, kw_only=True)
class CollectionSummary:
    """What a collection holds, in numbers.

    Attributes:
        name: Its name in the store.
        table: The LanceDB table, for programs that open it themselves.
        extractor: Name of the extractor that made it.
        digest: Of the extractor's weights and preprocessing.
        dim: Length of an embedding.
        tile_px: Edge of a tile, pixels.
        mpp: Resolution of a tile, µm/px.
        slides: Slides that are complete.
        tiles: Tiles.
        views: Stored views of each tile.
        slides_with_views: Slides whose views are stored.
        map_tiles: Tiles on its map; 0 where it has none.
        slides_off_map: Slides that came after its map was made and were not placed into it yet.
        bytes: Size of the vectors.
        version: Of the table.
        downsample: How tiles were made smaller than the level they were read from, as in `TilingConfig`.
        text: Whether its extractor has a text tower, so that words can be searched by.
    """

    name: str
    table: str
    extractor: str
    digest: str
    dim: int
    tile_px: int
    mpp: float
    slides: int
    tiles: int
    views: int
    slides_with_views: int
    map_tiles: int
    slides_off_map: int
    bytes: int
    version: int
    downsample: str = "area"
    text: bool = False
