"""The collection that search is measured on: vectors of few intrinsic dimensions, cohorts to filter by, and the truth.

How vectors are made: 300 centres, standard normal in 768 dimensions; about each a random subspace of 32 dimensions. A
tile is a centre, plus 2 x a standard normal draw in its subspace (scaled so that each of the 768 values varies with a
deviation of about 2), plus noise with a deviation of 0.1 in every dimension, rounded to fp16. Every slide draws from
all centres: what a filter keeps lies anywhere among the partitions of an index, which is the hard case.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.store import Collection, CollectionRecord, CollectionWriter, FragmentWriter, Outcome, SlideRow, Store

COLLECTION = "synthetic"
CENTRES, INTRINSIC, SPREAD, NOISE = 300, 32, 2.0, 0.1
EDGE_L0 = 512
TILES_A_SLIDE = 5000
SLIDES_A_PATIENT = 10
SLIDES_A_COMMIT = 20
#: Share of the rows that each filter keeps; they are ten small slides each, as biopsies are.
COHORTS = {"percent": 0.01, "permille": 0.001}
COHORT_SLIDES = 10
#: Held-out queries: the first to choose each peer's settings with and to warm up, the others to measure with.
TUNED, MEASURED = 100, 500
K = 10


class Mixture:
    """Draws vectors; the same seed, the same centres."""

    def __init__(self, dim: int, *, seed: int = 0):
        rng = np.random.default_rng(seed)
        self._centres = rng.normal(size=(CENTRES, dim)).astype(np.float32)
        self._axes = rng.normal(size=(CENTRES, INTRINSIC, dim)).astype(np.float32) / np.sqrt(INTRINSIC)

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.float16]:
        dim = self._centres.shape[1]
        of = rng.integers(0, CENTRES, n)
        place = rng.standard_normal((n, INTRINSIC), np.float32) * np.float32(SPREAD)
        out = rng.standard_normal((n, dim), np.float32) * np.float32(NOISE)
        for centre in np.unique(of):
            rows = np.flatnonzero(of == centre)
            out[rows] += self._centres[centre] + place[rows] @ self._axes[centre].astype(np.float32)
        return out.astype(np.float16)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A folder with the store, queries and the truth; everything is made once.

    Attributes:
        folder: Of this size; `Bench.at` names it.
        rows: Of the collection.
        dim: Of a vector.
    """

    folder: Path
    rows: int
    dim: int

    @classmethod
    def at(cls, work: Path, rows: int, dim: int) -> "Bench":
        bench = cls(folder=work / f"{rows}x{dim}", rows=rows, dim=dim)
        bench.folder.mkdir(parents=True, exist_ok=True)
        if not bench.done.exists():
            if bench.store_path.exists():
                raise SystemExit(f"{bench.folder} was left half made; delete it and begin again")
            make_store(bench)
            np.savez(bench.done, **truth(bench))
        return bench

    @property
    def store_path(self) -> Path:
        return self.folder / "store"

    @property
    def done(self) -> Path:
        return self.folder / "truth.npz"

    def store(self) -> Store:
        return Store.open(self.store_path)

    def collection(self) -> Collection:
        return self.store().collection(COLLECTION)

    @cached_property
    def queries(self) -> NDArray[np.float32]:
        """(TUNED + MEASURED, dim), held out: none of them is a row."""
        drawn = Mixture(self.dim).draw(TUNED + MEASURED, np.random.default_rng(1_000_003))
        return drawn.astype(np.float32)

    def cohort_slides(self, cohort: str) -> list[str]:
        slides = self.store().ledger.slides()
        return [slide.slide_id for slide in slides if slide.column("cohort") == cohort]

    def blocks(self, columns: tuple[str, ...] = ("tile_id", "slide_id")) -> Iterator[tuple[dict[str, np.ndarray], int]]:
        """Batches of rows in the table's order, with unit vectors in fp32 under 'vector', and where each begins."""
        at = 0
        for batch in self.collection().batches(columns=[*columns, "vector"]):
            found = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in columns}
            raw = batch.column("vector").flatten().to_numpy(zero_copy_only=True).reshape(-1, self.dim)
            yield {**found, "vector": unit(raw.astype(np.float32))}, at
            at += batch.num_rows

    def matrix(self) -> NDArray[np.float32]:
        """(rows, dim) unit vectors, as the peers index them: cosine is their inner product."""
        out = np.empty((self.rows, self.dim), np.float32)
        for block, at in self.blocks(()):
            out[at : at + len(block["vector"])] = block["vector"]
        return out

    @cached_property
    def truths(self) -> dict[str, np.ndarray]:
        """`tile_id` (rows,); of each filter, and of `all`, `mask_FILTER` (rows,) and `near_FILTER` (queries, K)."""
        with np.load(self.done) as held:
            return dict(held)


def unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def recall(found: list[NDArray[np.int64]], near: NDArray[np.int64]) -> float:
    """Share of the true neighbours that were found, over all queries."""
    return float(np.mean([len(np.intersect1d(ids, true)) for ids, true in zip(found, near, strict=True)])) / K


def slide_sizes(rows: int) -> list[tuple[str | None, int]]:
    """(cohort, tiles) of each slide: the small slides of the cohorts, then slides of TILES_A_SLIDE and a last one."""
    sizes: list[tuple[str | None, int]] = []
    for cohort, share in COHORTS.items():
        sizes += [(cohort, max(1, round(rows * share / COHORT_SLIDES)))] * COHORT_SLIDES
    left = rows - sum(tiles for _, tiles in sizes)
    sizes += [(None, min(TILES_A_SLIDE, left - start)) for start in range(0, left, TILES_A_SLIDE)]
    return sizes


def new_collection(store: Store, dim: int) -> Collection:
    """A collection of the store for vectors that no extractor made."""
    record = {
        "tiling": {"tile_px": 256, "mpp": 0.5},
        "tissue": {"method": "all"},
        "extractor": {"name": "synthetic", "dim": dim, "digest": "sha256:0"},
    }
    return Collection.create(store.uri, COLLECTION, CollectionRecord.from_record(record))


def make_store(bench: Bench) -> None:
    """Commit all slides by the project's own writer, then compact, as an ingest leaves it; no index."""
    store = Store.create(bench.store_path)
    collection = new_collection(store, bench.dim)
    writer = CollectionWriter(collection)
    store.ledger.admit_columns([{"patient": "p", "cohort": "c"}])
    mixture, rng = Mixture(bench.dim), np.random.default_rng(1)
    sizes = slide_sizes(bench.rows)
    order = np.random.default_rng(2).permutation(len(sizes))  # small slides stand between the others
    for first in range(0, len(order), SLIDES_A_COMMIT):
        deliveries, facts, outcomes = [], [], []
        for number in range(first, min(first + SLIDES_A_COMMIT, len(order))):
            cohort, tiles = sizes[order[number]]
            name = f"slide-{number:06d}.svs"
            made = slide_writer(collection, name, tiles)
            made.put(np.arange(tiles), mixture.draw(tiles, rng))
            deliveries.append(made.finish())
            patient = f"patient-{number // SLIDES_A_PATIENT:05d}"
            facts.append(
                SlideRow(slide_id=name, path=name, kind="wsi", metadata={"patient": patient, "cohort": cohort})
            )
            outcomes.append(Outcome(collection=COLLECTION, slide_id=name, path=name, state="done", tiles=tiles))
        store.ledger.record(facts, ())
        writer.commit(deliveries)
        store.ledger.record((), outcomes)
    writer.compact(keep_s=0)
    print(f"made {bench.rows} rows of {len(sizes)} slides", file=sys.stderr, flush=True)


def slide_writer(collection: Collection, name: str, tiles: int) -> FragmentWriter:
    """The writer of a slide whose tiles are laid out on a grid of 70 columns."""
    at = np.arange(tiles)
    return FragmentWriter(
        table_uri=collection.table.uri,
        schema=collection.schema,
        collection=collection.name,
        slide_id=name,
        xy_l0=(np.stack([at % 70, at // 70], axis=1) * EDGE_L0).astype(np.int32),
        edge_l0=EDGE_L0,
        tissue=np.random.default_rng(tiles).uniform(0.5, 1, tiles).astype(np.float32),
    )


def truth(bench: Bench) -> dict[str, np.ndarray]:
    """The exact neighbours by NumPy: fp32 inner products of unit vectors, block by block; see `Bench.truths`."""
    queries = unit(bench.queries)
    names = ("all", *COHORTS)
    slides = {cohort: bench.cohort_slides(cohort) for cohort in COHORTS}
    best = {name: (np.full((len(queries), K), -2, np.float32), np.zeros((len(queries), K), np.int64)) for name in names}
    ids, masks = [], {name: [] for name in names}
    for block, _ in bench.blocks():
        scores = queries @ block["vector"].T
        ids.append(block["tile_id"])
        for name in names:
            keep = np.isin(block["slide_id"], slides[name]) if name in COHORTS else np.ones(len(scores[0]), bool)
            masks[name].append(keep)
            if keep.any():
                best[name] = _merge(*best[name], scores[:, keep], block["tile_id"][keep])
    out = {"tile_id": np.concatenate(ids)}
    for name in names:
        out |= {f"mask_{name}": np.concatenate(masks[name]), f"near_{name}": best[name][1]}
    return out


def _merge(
    best: NDArray[np.float32], near: NDArray[np.int64], scores: NDArray[np.float32], ids: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The K best of what was known and of a block, best first."""
    every = np.concatenate([best, scores], axis=1)
    held = np.concatenate([near, np.broadcast_to(ids, scores.shape)], axis=1)
    top = np.argpartition(-every, K - 1, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(every, top, axis=1), axis=1, kind="stable")
    top = np.take_along_axis(top, order, axis=1)
    return np.take_along_axis(every, top, axis=1), np.take_along_axis(held, top, axis=1)
