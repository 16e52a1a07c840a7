"""Where tiles lie is remembered for a version of a collection, and of the last ones only."""

from types import SimpleNamespace

from embedstore.service.known_tiles import KnownTiles
from embedstore.store import TileLocation


class Table:
    """A collection with tiles 1 to 3, which counts how often it is asked."""

    name = "toy"

    def __init__(self):
        self.version, self.asked = 1, 0
        self.tiles = {i: TileLocation(i, "a.svs", 128 * i, 0, 128, None) for i in (1, 2, 3)}

    def dataset(self):
        return SimpleNamespace(version=self.version)

    def tile(self, tile_id: int):
        self.asked += 1
        return SimpleNamespace(location=self.tiles[tile_id]) if tile_id in self.tiles else None


def test_tiles_that_were_found_are_not_asked_for_until_the_collection_changes():
    table, known = Table(), KnownTiles()
    known.keep(table, 1, [table.tiles[1], table.tiles[2]])
    assert known.location(table, 2) == table.tiles[2] and table.asked == 0
    assert known.location(table, 3) == known.location(table, 3) == table.tiles[3] and table.asked == 1
    table.version, removed = 2, table.tiles.pop(2)
    assert removed is not None and known.location(table, 2) is None and known.location(table, 4) is None


def test_what_is_known_is_bounded():
    table, known = Table(), KnownTiles(most=2)
    known.keep(table, 1, table.tiles.values())
    assert known.location(table, 3) is not None and table.asked == 0
    assert known.location(table, 1) is not None and table.asked == 1
