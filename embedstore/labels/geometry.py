"""Which tiles lie in the place of a label, slide by slide."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from embedstore.config import JoinConfig
from embedstore.labels.task_labels import TaskLabels
from embedstore.store.tile_locations import TileLocations

#: (tiles, labels): rows of tile locations, and rows of the labels that are about them; a tile may occur several times.
Matches = tuple[NDArray[np.int64], NDArray[np.int64]]

# Centres are shifted by so much to the right and down, level-0 pixels, so that a centre on the border of two areas lies
# in one of them. The two values differ, as a centre would otherwise stay on a border at 45 degrees.
NUDGE_L0 = np.array([2.0**-10, 2.0**-20])
# Tolerance when shares of a tile's area are compared, as sums of areas are not exact.
SHARE_TOLERANCE = 1e-9
# Areas are cut into pieces of at most so many points, as each tile on a border is compared with all points of a piece.
PIECE_POINTS = 256


class TilesBySlide:
    """The rows of each slide's tiles."""

    def __init__(self, locations: TileLocations):
        self._order = np.argsort(locations.slide, kind="stable")
        self._starts = np.searchsorted(locations.slide[self._order], np.arange(len(locations.slides) + 1))

    def __getitem__(self, slide: int) -> NDArray[np.int64]:
        return self._order[self._starts[slide] : self._starts[slide + 1]]


def no_matches() -> Matches:
    return np.empty(0, np.int64), np.empty(0, np.int64)


def concatenate(pairs: list[Matches]) -> Matches:
    if not pairs:
        return no_matches()
    return np.concatenate([tiles for tiles, _ in pairs]), np.concatenate([labels for _, labels in pairs])


def rows_by_code(codes: NDArray[np.int32], rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(code, its rows) for each code of these rows, without -1."""
    if not len(rows):
        return
    ordered = rows[np.argsort(codes[rows], kind="stable")]
    cuts = np.flatnonzero(np.diff(codes[ordered])) + 1
    for part in np.split(ordered, cuts):
        if codes[part[0]] >= 0:
            yield int(codes[part[0]]), part


# -- the same place -------------------------------------------------------------------------


def match_tiles(locations: TileLocations, labels: TaskLabels) -> tuple[Matches, NDArray[np.int64]]:
    """Labels of tiles, by file name, or by exactly the same square.

    Returns:
        The matches, and the rows of labels whose square is not a tile of this collection.
    """
    rows = labels.rows_of("tile")
    slide = labels.codes_in("slide_id", locations.slides)
    rows = rows[slide[rows] >= 0]
    named = labels.table.column("name").is_valid().to_numpy()[rows]
    by_name = _match_names(locations, labels, slide, rows[named])
    unnamed = rows[~named]
    square = np.stack([labels.numbers(name)[unnamed] for name in ("x", "y", "edge_l0")], axis=1)
    integral = (square == np.floor(square)).all(axis=1) & (np.abs(square) < 2**31).all(axis=1)
    exact = unnamed[integral]
    tile = _match(
        [locations.slide, *locations.xy_l0.T, locations.edge_l0],
        [slide[exact], *square[integral].astype(np.int64).T],
    )
    other_squares = np.concatenate([exact[tile < 0], unnamed[~integral]])
    return concatenate([by_name, (tile[tile >= 0], exact[tile >= 0])]), np.sort(other_squares)


def _match_names(
    locations: TileLocations, labels: TaskLabels, slide: NDArray[np.int32], rows: NDArray[np.int64]
) -> Matches:
    if locations.names is None or not len(rows):
        return no_matches()
    label_names = labels.table.column("name").take(rows).combine_chunks()
    both = pa.chunked_array([pa.array(locations.names, pa.string()), label_names]).combine_chunks()
    codes = both.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    tile = _match([locations.slide, codes[: len(locations)]], [slide[rows], codes[len(locations) :]])
    return tile[tile >= 0], rows[tile >= 0]


def _match(table: list[NDArray], keys: list[NDArray]) -> NDArray[np.int64]:
    """Row of the table that equals each key in all columns, -1 if there is none; rows of the table are distinct."""
    rows, count = len(table[0]), len(keys[0])
    if not rows or not count:
        return np.full(count, -1, np.int64)
    codes, most = np.zeros(rows + count, np.int64), 1  # codes are below `most`
    for in_table, in_keys in zip(table, keys, strict=True):
        column = np.concatenate([in_table, in_keys]).astype(np.int64)
        least = int(column.min())
        span = int(column.max()) - least + 1  # below 2^33
        if most * span >= 1 << 62:  # together the columns of a few slides stay below it
            codes, most = np.unique(codes, return_inverse=True)[1].astype(np.int64), rows + count
        codes, most = codes * span + (column - least), most * span
    codes = np.unique(codes, return_inverse=True)[1]
    row_of = np.full(rows + count, -1, np.int64)
    row_of[codes[:rows]] = np.arange(rows)
    return row_of[codes[rows:]]


# -- points and areas -----------------------------------------------------------------------


def match_points(locations: TileLocations, tiles_of: TilesBySlide, labels: TaskLabels) -> Matches:
    """Labels of points: every tile that holds the point; left and upper borders belong to a tile."""
    slide = labels.codes_in("slide_id", locations.slides)
    x, y = labels.numbers("x"), labels.numbers("y")
    pairs = []
    for code, rows in rows_by_code(slide, labels.rows_of("point")):
        tiles = tiles_of[code]
        tree = shapely.STRtree(shapely.points(x[rows], y[rows]))
        tile, point = tree.query(_boxes(locations, tiles), predicate="intersects")
        tiles, rows = tiles[tile], rows[point]
        left, top = locations.xy_l0[tiles].T
        edge = locations.edge_l0[tiles]
        inside = (left <= x[rows]) & (x[rows] < left + edge) & (top <= y[rows]) & (y[rows] < top + edge)
        pairs.append((tiles[inside], rows[inside]))
    return concatenate(pairs)


def match_areas(
    locations: TileLocations, tiles_of: TilesBySlide, labels: TaskLabels, rows: NDArray[np.int64], config: JoinConfig
) -> Matches:
    """Labels of areas, or of tiles of another tiling: the tiles that lie in them by the rule of `config`.

    With `overlap`, areas of one class count together; the overlap of two areas counts once.
    """
    slide = labels.codes_in("slide_id", locations.slides)
    pairs = []
    for code, of_slide in rows_by_code(slide, rows):
        tiles = tiles_of[code]
        areas = _areas(labels, of_slide)
        tiles = tiles[_within(locations, tiles, areas)]
        if not len(tiles):
            continue
        tree = shapely.STRtree(shapely.points(_centres(locations, tiles) + NUDGE_L0))
        if config.rule == "centre":
            area, tile = tree.query(areas, predicate="contains")
            pairs.append((tiles[tile], of_slide[area]))
            continue
        boxes = _boxes(locations, tiles)
        classes = labels.codes["label"][of_slide]
        for code_of_class in np.unique(classes):
            of_class = np.flatnonzero(classes == code_of_class)
            tile, area = _overlaps(tree, boxes, areas[of_class], config.min_overlap)
            pairs.append((tiles[tile], of_slide[of_class[area]]))
    return concatenate(pairs)


def _within(locations: TileLocations, tiles: NDArray[np.int64], areas: NDArray[np.object_]) -> NDArray[np.bool_]:
    """(n,) which tiles meet the bounds of all areas together; ready-made tiles do not."""
    left, top, right, bottom = shapely.total_bounds(areas)
    edge = locations.edge_l0[tiles]
    x, y = locations.xy_l0[tiles].T
    return (edge > 0) & (x <= right) & (x + edge >= left) & (y <= bottom) & (y + edge >= top)


def _overlaps(
    tree: shapely.STRtree, boxes: NDArray[np.object_], areas: NDArray[np.object_], min_overlap: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(tile, area) for each tile of which the areas together cover enough, and each area that covers a part of it."""
    parts = _pieces(shapely.union_all(areas))
    part, tile = _near(tree, boxes, parts)
    shapely.prepare(parts)
    covered = shapely.covers(parts[part], boxes[tile])
    share = covered.astype(np.float64)
    border = np.flatnonzero(~covered)
    border = border[shapely.intersects(parts[part[border]], boxes[tile[border]])]
    share[border] = _shares(parts[part[border]], boxes[tile[border]])
    total = np.bincount(tile, share, len(boxes))
    enough = total >= min_overlap - SHARE_TOLERANCE
    area, tile = _near(tree, boxes, areas)
    kept = enough[tile]
    area, tile = area[kept], tile[kept]
    shapely.prepare(areas)
    kept = shapely.intersects(areas[area], boxes[tile]) & ~shapely.touches(areas[area], boxes[tile])
    return tile[kept], area[kept]


def _shares(parts: NDArray[np.object_], boxes: NDArray[np.object_]) -> NDArray[np.float64]:
    """The share of each box that its part of an area covers, 0 to 1.

    By intersection: GEOS's quicker clipping by a rectangle is wrong for one in a thousand boxes that have a vertex of
    the area on their border.
    """
    return shapely.area(shapely.intersection(parts, boxes)) / shapely.area(boxes)


def _pieces(area: shapely.Geometry) -> NDArray[np.object_]:
    """An area cut into pieces of few points, so that a tile on its border is compared with the pieces near it only."""
    todo, done = list(shapely.get_parts(area)), []
    while todo:
        piece = todo.pop()
        left, top, right, bottom = piece.bounds
        wide = right - left >= bottom - top
        if shapely.get_num_coordinates(piece) <= PIECE_POINTS or max(right - left, bottom - top) < 1:
            done.append(piece)
            continue
        x, y = ((left + right) / 2, bottom) if wide else (right, (top + bottom) / 2)
        halves = shapely.box([left, x if wide else left], [top, top if wide else y], [x, right], [y, bottom])
        cut = shapely.get_parts(shapely.intersection(piece, halves))
        todo += [part for part in cut if part.geom_type == "Polygon"]
    return np.array(done, object)


def _near(
    tree: shapely.STRtree, boxes: NDArray[np.object_], areas: NDArray[np.object_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(area, tile) for each tile that may meet the bounds of an area; the tree holds the centres of the tiles."""
    bounds = shapely.bounds(boxes)
    reach = (bounds[:, 2] - bounds[:, 0]).max() / 2 + 1
    return tree.query(shapely.box(*(shapely.bounds(areas) + np.array([-reach, -reach, reach, reach])).T))


def _areas(labels: TaskLabels, rows: NDArray[np.int64]) -> NDArray[np.object_]:
    """Polygons of the labels: of areas their geometry, of tiles their square."""
    wkb = labels.table.column("geometry").take(rows).to_numpy()
    areas = shapely.from_wkb(wkb)
    squares = np.flatnonzero(shapely.is_missing(areas))
    x, y, edge = (labels.numbers(name)[rows[squares]] for name in ("x", "y", "edge_l0"))
    areas[squares] = shapely.box(x, y, x + edge, y + edge)
    return areas


def _boxes(locations: TileLocations, tiles: NDArray[np.int64]) -> NDArray[np.object_]:
    x, y = locations.xy_l0[tiles].T
    edge = locations.edge_l0[tiles]
    return shapely.box(x, y, x + edge, y + edge)


def _centres(locations: TileLocations, tiles: NDArray[np.int64]) -> NDArray[np.float64]:
    return locations.xy_l0[tiles] + locations.edge_l0[tiles, None] / 2
