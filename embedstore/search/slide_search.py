"""Slides similar to a slide, by sets of tiles and not by a mean vector."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import require
from embedstore.errors import SlideNotInStoreError
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.search.filters import select_slides
from embedstore.search.parallel import parallel_map
from embedstore.search.tile_sample import directions, sample_tiles
from embedstore.store import Collection, Patients, Store, nearest_tiles
from embedstore.store.sql import sql_in
from embedstore.store.vectors import matrix

#: Tiles that are sampled to choose representatives from: a slide of 50,000 takes as long as one of 4,000.
CHOSEN_AMONG = 4_000
#: Neighbours fetched for each representative, at first and at most; more while too few slides are among them.
FETCH, MAX_FETCH = 200, 6_400
#: Slides compared in full at most, as a multiple of k; the search mostly ends after 1 to 2.
MAX_COMPARED = 8
#: Rounds of k-means; on 4,000 tiles of 24 kinds the centres stop moving after 5 to 15.
ROUNDS = 20

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
    on_progress: OnProgress = no_progress,
) -> pa.Table:
    """Rank slides by how well they match the tiles of a slide.

    A few tiles represent the slide. The distance to another slide is the median, over these tiles, of the distance to
    the nearest tile of the other slide, as in Yottixel (Kalra et al., Medical Image Analysis 65, 2020), with cosine
    distances instead of barcodes. One kind of tissue that the other slide lacks, or one artefact, does not decide it.

    First, the nearest tiles of each representative are fetched. A slide without a tile among them gets the largest
    distance that was fetched, as its own distance cannot be smaller. This gives a lower bound for every slide. Slides
    are then compared with all of their tiles, in the order of these bounds, until no bound is below the k-th distance.
    The result equals that of comparing all slides, as far as the index finds the nearest tiles. At most
    MAX_COMPARED x k slides are compared.

    Args:
        slide_id: A slide of the collection; it is left out of the result.
        k: How many slides.
        representatives: Tiles that represent the slide, at most.
        where: Only slides that fulfil this condition; see `select_slides`.
        exclude_same_patient: Leave out other slides of the same patient.
    Returns:
        Up to k rows: rank from 1, slide_id, patient, distance (0 to 2), coverage (share of the representatives that
        had a tile of the slide among their nearest), tiles (how many were compared).
    Raises:
        ConfigError: k or representatives is below 1; or `where` is not a valid condition on slides.
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
        selected = select_slides(store, collection, where)
        if not selected:
            return COLUMNS.empty_table()
        allowed.append(sql_in("slide_id", selected))
    bounds, coverage = _bounds(collection, queries, " AND ".join(allowed), k)
    ranking: list[tuple[float, str, int]] = []
    for compared, other in enumerate(sorted(bounds, key=lambda name: (bounds[name], name))):
        done = len(ranking) >= k and bounds[other] >= sorted(ranking)[k - 1][0]
        if done or compared >= MAX_COMPARED * k:
            break
        distance, tiles = _compare(collection, queries, other)
        if tiles:
            ranking.append((distance, other, tiles))
        on_progress(Progress(stage="similar slides", done=compared + 1, unit="slides"))
    best = sorted(ranking)[:k]
    names = [name for _, name, _ in best]
    columns = {
        "rank": range(1, len(best) + 1),
        "slide_id": names,
        "patient": [patients.of_slide.get(name) for name in names],
        "distance": [distance for distance, _, _ in best],
        "coverage": [coverage[name] for name in names],
        "tiles": [tiles for _, _, tiles in best],
    }
    return pa.table({name: pa.array(values, COLUMNS.field(name).type) for name, values in columns.items()})


def _representatives(collection: Collection, slide_id: str, n: int) -> NDArray[np.float32]:
    sample = sample_tiles(collection, CHOSEN_AMONG, slides=[slide_id])
    if not len(sample):
        raise SlideNotInStoreError(
            f"collection {collection.name!r} has no tile of slide {slide_id!r} to search with; `embedstore status` "
            "lists the slides and their states"
        )
    return sample.vectors[choose_representatives(sample.vectors, n)[0]]


def choose_representatives(
    vectors: NDArray[np.float32], n: int, *, seed: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose a few tiles that represent all tiles of a slide.

    Spherical k-means (Dhillon and Modha, Machine Learning 42, 2001) starts at a farthest-point cover (Gonzalez,
    Theoretical Computer Science 38, 1985), so that rare tissue has a centre of its own. The tile nearest to each centre
    is chosen. The result is deterministic.

    Args:
        vectors: (m, dim) float32, length 1.
        n: Tiles to choose at most; there are fewer where fewer vectors differ.
    Returns:
        Positions of the chosen tiles, ascending, and how many tiles each represents.
    """
    centres = vectors[_cover(vectors, n, np.random.default_rng(seed))]
    nearest = (vectors @ centres.T).argmax(axis=1)
    for _ in range(ROUNDS):
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, vectors)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(length > 0, sums / np.maximum(length, 1e-12), centres)
        before, nearest = nearest, (vectors @ centres.T).argmax(axis=1)
        if (before == nearest).all():
            break
    similarity = vectors @ centres.T
    used, sizes = np.unique(nearest, return_counts=True)
    own = np.where(nearest[:, None] == used, similarity[:, used], -np.inf)
    chosen = own.argmax(axis=0)
    order = np.argsort(chosen)
    return chosen[order], sizes[order]


def _cover(vectors: NDArray[np.float32], n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions of tiles, each the farthest from those before it."""
    chosen = [int(rng.integers(len(vectors)))]
    similarity = vectors @ vectors[chosen[0]]
    while len(chosen) < min(n, len(vectors)):
        farthest = int(similarity.argmin())
        if similarity[farthest] > 1 - 1e-6:  # all others equal a chosen one
            break
        chosen.append(farthest)
        similarity = np.maximum(similarity, vectors @ vectors[farthest])
    return np.array(chosen)


def _bounds(
    collection: Collection, queries: NDArray[np.float32], where: str, k: int
) -> tuple[dict[str, float], dict[str, float]]:
    """For each slide among the nearest tiles, a lower bound of its distance, and the share of queries that found it."""
    fetch = min(max(FETCH, 10 * k), len(collection))
    nearest = _fetch(collection, queries, where, fetch)
    slides = _slides_of(nearest)
    while len(slides) < 3 * k and fetch < MAX_FETCH and any(len(table) == fetch for table in nearest):
        fetch *= 4
        nearest = _fetch(collection, queries, where, fetch)
        slides = _slides_of(nearest)
    code = {name: i for i, name in enumerate(slides)}
    distance = np.empty((len(nearest), len(slides)), np.float32)
    seen = np.zeros((len(nearest), len(slides)), bool)
    for q, table in enumerate(nearest):
        slide = np.array([code[name] for name in table.column("slide_id").to_pylist()], np.intp)
        tile_distance = table.column("distance").to_numpy()
        distance[q] = tile_distance[-1] if len(tile_distance) else 0.0
        np.minimum.at(distance[q], slide, tile_distance)
        seen[q, slide] = True
    bounds, coverage = np.median(distance, axis=0).tolist(), seen.mean(axis=0).tolist()
    return dict(zip(slides, bounds, strict=True)), dict(zip(slides, coverage, strict=True))


def _fetch(collection: Collection, queries: NDArray[np.float32], where: str, fetch: int) -> list[pa.Table]:
    def search(query: NDArray[np.float32]) -> pa.Table:
        return nearest_tiles(collection, query, k=fetch, where=where, columns=("slide_id",))

    return list(parallel_map(search, queries))


def _slides_of(nearest: list[pa.Table]) -> list[str]:
    return sorted({name for table in nearest for name in table.column("slide_id").unique().to_pylist()})


def _compare(collection: Collection, queries: NDArray[np.float32], slide_id: str) -> tuple[float, int]:
    """The median of the queries' distances to their nearest tile of a slide, and how many tiles the slide has."""
    best = np.full(len(queries), -np.inf, np.float32)
    tiles = 0
    for batch in collection.batches(slides=[slide_id], columns=["vector"]):
        vectors, _ = directions(matrix(batch.column(0), collection.dim))
        if len(vectors):
            best = np.maximum(best, (queries @ vectors.T).max(axis=1))
            tiles += len(vectors)
    return float(np.median(np.maximum(1 - best, 0))), tiles  # rounding can give less than 0
