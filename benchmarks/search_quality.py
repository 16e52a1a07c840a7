"""What is found near tiles of each class: through an index, and by exact brute force in NumPy on the same vectors."""

from dataclasses import dataclass
from pathlib import Path

import head_quality
import numpy as np
from measure import write_row
from numpy.typing import NDArray

from embedstore.store import Collection, Label, Store, nearest_tiles
from embedstore.store.index import build_index, index_facts

K = 10
#: Neighbours that are asked for at first, so that enough are left without those of the query's own patient.
FETCHED = 40
QUERIES = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """The labelled tiles of a collection.

    Attributes:
        ids: (n,) tile ids.
        vectors: (n, dim) float32, length 1.
        label: (n,) class of each.
        group: (n,) patient; each tile its own where none is known.
        groups_known: Whether patients are known.
    """

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    label: NDArray[np.str_]
    group: NDArray[np.int64]
    groups_known: bool


def quality(data: Path, folder: Path, tasks: list[str]) -> None:
    """A row for each set, extractor and class, and one for the mean of the classes."""
    for task, store in head_quality.stores(data, folder, tasks):
        for name in store.collection_names():
            collection = store.collection(name)
            with store.lease(name):
                build_index(collection)
            tiles = labelled(store, collection, task)
            drawn = np.random.default_rng(0).permutation(len(tiles.ids))[:QUERIES]
            exact = brute_force(tiles, drawn)
            found = through_index(collection, tiles, drawn)
            same = [len(np.intersect1d(a, b)) / len(a) for a, b in zip(exact, found, strict=True)]
            precision = {"exact": precisions(tiles, drawn, exact), "index": precisions(tiles, drawn, found)}
            facts = index_facts(collection)
            for label in (*np.unique(tiles.label), "mean of classes"):
                row = {
                    "set": task,
                    "extractor": collection.extractor().name,
                    "dim": collection.dim,
                    "tiles": len(tiles.ids),
                    "index": facts.kind,
                    "partitions": facts.partitions,
                    "apart": "patient" if tiles.groups_known else "tile",
                    "queries": len(drawn),
                    "class": label,
                    "share": round(float(np.mean(tiles.label == label)), 4) if label in tiles.label else "",
                    "exact_p10": round(precision["exact"][label], 4),
                    "index_p10": round(precision["index"][label], 4),
                    "points_lost": round(100 * (precision["exact"][label] - precision["index"][label]), 2),
                    "recall_at_10": round(float(np.mean(same)), 4),
                }
                write_row("search_quality", row)


def labelled(store: Store, collection: Collection, task: str) -> Labelled:
    """The tiles that have a label by their file's name, with its patient."""
    labels = {label.name: label for label in Label.from_table(store.labels.table(task=task))}
    table = collection.tiles(columns=["tile_id", "name", "vector"])
    names = table.column("name").to_pylist()
    rows = np.array([i for i, name in enumerate(names) if name in labels])
    raw = table.column("vector").combine_chunks().flatten().to_numpy().reshape(-1, collection.dim)
    vectors = raw[rows].astype(np.float32)
    patients = [labels[names[i]].patient for i in rows]
    alone = [patient or f"tile {i}" for i, patient in enumerate(patients)]
    return Labelled(
        ids=table.column("tile_id").to_numpy()[rows],
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        label=np.array([labels[names[i]].label for i in rows]),
        group=np.unique(alone, return_inverse=True)[1],
        groups_known=all(patients),
    )


def brute_force(tiles: Labelled, drawn: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Ids of the K nearest tiles of other groups, of each drawn tile."""
    scores = tiles.vectors[drawn] @ tiles.vectors.T
    scores[tiles.group[drawn][:, None] == tiles.group] = -np.inf
    return [tiles.ids[row] for row in np.argsort(-scores, axis=1, kind="stable")[:, :K]]


def through_index(collection: Collection, tiles: Labelled, drawn: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The same by `nearest_tiles` at its default effort; more are asked for until K are of other groups."""
    group_of = dict(zip(tiles.ids.tolist(), tiles.group.tolist(), strict=True))
    found = []
    for at in drawn:
        fetched, others = FETCHED, np.empty(0, np.int64)
        while len(others) < K:
            near = nearest_tiles(collection, tiles.vectors[at], k=fetched).column("tile_id").to_numpy()
            others = near[[group_of.get(i, tiles.group[at]) != tiles.group[at] for i in near.tolist()]]
            if fetched >= len(tiles.ids):
                break
            fetched *= 4
        found.append(others[:K])
    return found


def precisions(tiles: Labelled, drawn: NDArray[np.int64], found: list[NDArray[np.int64]]) -> dict[str, float]:
    """Share of neighbours that are of the query's class, by class, and the mean of the classes."""
    label_of = dict(zip(tiles.ids.tolist(), tiles.label.tolist(), strict=True))
    right = np.array(
        [np.mean([label_of[i] == tiles.label[at] for i in ids.tolist()]) for at, ids in zip(drawn, found, strict=True)]
    )
    by_class = {label: float(right[tiles.label[drawn] == label].mean()) for label in np.unique(tiles.label).tolist()}
    return by_class | {"mean of classes": float(np.mean(list(by_class.values())))}
