"""Slides like a slide, by sets of tiles and not by a mean vector."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import require
from embedstore.errors import SlideNotInStoreError
from embedstore.search.filters.selection import select_slides
from embedstore.search.parallel import ask_many
from embedstore.search.representatives import representatives as choose
from embedstore.search.tile_sample import directions, sample_tiles
from embedstore.store import Collection, Patients, Store, nearest_tiles
from embedstore.store.table import sql_in
from embedstore.store.vectors import matrix

#: Tiles of the slide among which its representatives are chosen: a slide of 50,000 takes as long as one of 4,000.
CHOSEN_AMONG = 4_000
#: Neighbours asked for each representative, at first and at most; more while too few slides are among them.
FETCH, FETCH_MOST = 200, 6_400
#: Slides compared in full at most, as a multiple of k; the search mostly settles after 1 to 2.
COMPARED = 8

COLUMNS = pa.schema(
    [
        pa.field("rank", pa.int64()),
        pa.field("slide_id", pa.string()),
        pa.field("patient", pa.string()),
        pa.field("distance", pa.float32()),
        pa.field("coverage", pa.float32()),
        pa.field("tiles", pa.int64()),
    ]
)


def similar_slides(
    store: Store,
    collection: Collection,
    slide_id: str,
    *,
    k: int = 10,
    representatives: int = 24,
    where: str | None = None,
    exclude_same_patient: bool = False,
) -> pa.Table:
    """Rank slides by how well they match the tiles of one.

    A few tiles stand for the slide. The distance of another slide is the median, over these, of the distance to its
    nearest tile, as in Yottixel (Kalra et al., Medical Image Analysis 65, 2020), with cosine distances in the place
    of barcodes. One kind of tissue that both lack, or one artefact, does not decide it.

    Each representative first asks the collection for its nearest tiles. A slide that has none among them counts with
    the last distance that was fetched, which its own cannot be below: that gives a lower bound for every slide. Slides
    are then compared with all of their tiles, in the order of these bounds, until no bound is below the k-th distance:
    the result is that of comparing all slides, as far as the index finds what is nearest. At most COMPARED x k
    slides are compared.

    Args:
        slide_id: A slide of the collection; it is not among those found.
        k: How many slides.
        representatives: Tiles that stand for the slide, at most.
        where: Only slides that it holds for; see `select_slides`.
        exclude_same_patient: Leave out other slides of its patient.
    Returns:
        Up to k rows: rank from 1, slide_id, patient, distance (0 to 2), coverage (share of the representatives that
        had a tile of it among their nearest), tiles (how many were compared).
    Raises:
        ConfigError: k or representatives is below 1; or `where` cannot be understood, or is of tiles.
        QueryError: slides of the same patient are to be left out, and the slide's patient is not known.
        SlideNotInStoreError: the collection has no tile of the slide.
    """
    require(k >= 1, f"k is {k}; expected 1 or more slides")
    require(representatives >= 1, f"representatives is {representatives}; expected 1 or more tiles")
    collection = collection.pinned()
    queries = _representatives(collection, slide_id, representatives)
    patients = Patients(store)
    left_out = patients.require_slides_with_same([slide_id]) if exclude_same_patient else [slide_id]
    allowed = [f"NOT {sql_in('slide_id', left_out)}"]
    if where is not None:
        chosen = select_slides(store, collection, where)
        if not chosen:
            return COLUMNS.empty_table()
        allowed.append(sql_in("slide_id", chosen))
    bounds, coverage = _bounds(collection, queries, " AND ".join(allowed), k)
    found: list[tuple[float, str, int]] = []
    for compared, other in enumerate(sorted(bounds, key=lambda name: (bounds[name], name))):
        done = len(found) >= k and bounds[other] >= sorted(found)[k - 1][0]
        if done or compared >= COMPARED * k:
            break
        distance, tiles = _compare(collection, queries, other)
        if tiles:
            found.append((distance, other, tiles))
    rows = [
        {
            "rank": rank,
            "slide_id": name,
            "patient": patients.of_slide.get(name),
            "distance": distance,
            "coverage": coverage[name],
            "tiles": tiles,
        }
        for rank, (distance, name, tiles) in enumerate(sorted(found)[:k], start=1)
    ]
    return pa.Table.from_pylist(rows, schema=COLUMNS)


def _representatives(collection: Collection, slide_id: str, n: int) -> NDArray[np.float32]:
    sample = sample_tiles(collection, CHOSEN_AMONG, slides=[slide_id])
    if not len(sample):
        raise SlideNotInStoreError(
            f"collection {collection.name!r} has no tile of slide {slide_id!r} to search with; `embedstore status` "
            "lists the slides and what became of them"
        )
    return sample.vectors[choose(sample.vectors, n)[0]]


def _bounds(
    collection: Collection, queries: NDArray[np.float32], where: str, k: int
) -> tuple[dict[str, float], dict[str, float]]:
    """A distance that each slide found cannot be below, and the share of the queries that found it."""
    fetch = min(max(FETCH, 10 * k), len(collection))
    found = _fetch(collection, queries, where, fetch)
    slides = _slides_of(found)
    while len(slides) < 3 * k and fetch < FETCH_MOST and any(len(table) == fetch for table in found):
        fetch *= 4
        found = _fetch(collection, queries, where, fetch)
        slides = _slides_of(found)
    code = {name: i for i, name in enumerate(slides)}
    distance = np.empty((len(found), len(slides)), np.float32)
    seen = np.zeros((len(found), len(slides)), bool)
    for q, table in enumerate(found):
        own = np.array([code[name] for name in table.column("slide_id").to_pylist()], np.intp)
        away = table.column("distance").to_numpy()
        distance[q] = away[-1] if len(away) else 0.0
        np.minimum.at(distance[q], own, away)
        seen[q, own] = True
    bounds, coverage = np.median(distance, axis=0).tolist(), seen.mean(axis=0).tolist()
    return dict(zip(slides, bounds, strict=True)), dict(zip(slides, coverage, strict=True))


def _fetch(collection: Collection, queries: NDArray[np.float32], where: str, fetch: int) -> list[pa.Table]:
    def ask(query: NDArray[np.float32]) -> pa.Table:
        return nearest_tiles(collection, query, k=fetch, where=where, columns=("slide_id",))

    return ask_many(ask, queries)


def _slides_of(found: list[pa.Table]) -> list[str]:
    return sorted({name for table in found for name in table.column("slide_id").unique().to_pylist()})


def _compare(collection: Collection, queries: NDArray[np.float32], slide_id: str) -> tuple[float, int]:
    """The median of the queries' distances to their nearest tile of a slide, and the slide's tiles."""
    best = np.full(len(queries), -np.inf, np.float32)
    tiles = 0
    for batch in collection.batches(slides=[slide_id], columns=["vector"]):
        vectors, _ = directions(matrix(batch.column(0), collection.dim))
        if len(vectors):
            best = np.maximum(best, (queries @ vectors.T).max(axis=1))
            tiles += len(vectors)
    return float(np.median(1 - best)), tiles
