"""Which method draws the map of a collection: seconds, and how much of the neighbourhoods and of the whole it keeps.

    python benchmarks/map_methods.py pcam --store FOLDER/lymph_node_metastasis_pcam --method pacmap
    python benchmarks/map_methods.py mixture --tiles 100000 --dim 384 --method umap

Each call is one method on one set in a process of its own and writes a row to results/map_methods.csv. Every method is
given the same 50 principal components of the unit vectors. `umap-learn`, `pacmap` and `openTSNE` must be installed for
their own rows; embedstore itself needs only the one that it chose.

Columns: `import_s`, `fit_s` and `cpu_s` (of fit, both cores), `kept_15`, the share of the 15 nearest tiles (by cosine,
of 384 or 544 dimensions) that are among the 15 nearest on the map, over 2,000 tiles; `trust_15`, scikit-learn's
trustworthiness over 5,000 tiles; `triplets`, the share of random triplets whose order of distances the map keeps, which
is about the whole; `label_knn`, the share of tiles whose 15 nearest on the map have the tile's own label by majority,
beside `label_knn_full` by the vectors; `same_again`, whether a second fit with the seed gives the same map.

`placed_*` are of 10 % of the tiles that were left out of the fit and placed into the map: by the weighted mean of the
places of their nearest tiles in it, `neighbours`, or by the method's own `transform`.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import write_row
from numpy.typing import NDArray
from search_data import Mixture
from sklearn.manifold import trustworthiness

from embedstore.store import Label, Store

COMPONENTS = 50
NEIGHBOURS = 15
ASKED, TRUSTED, TRIPLETS = 2000, 5000, 20_000
HELD_OUT = 0.1
Points = NDArray[np.float32]


def pcam(store: Path, collection: str) -> tuple[Points, NDArray[np.str_]]:
    """Unit vectors and labels of the tiles of PCam."""
    tables = Store.open(store)
    table = tables.collection(collection).tiles(columns=["name", "vector"])
    raw = table["vector"].combine_chunks()
    vectors = raw.flatten().to_numpy().reshape(len(table), -1).astype(np.float32)
    labels = {label.name: label.label for label in Label.from_table(tables.labels.table())}
    return unit(vectors), np.array([labels.get(name, "") for name in table["name"].to_pylist()])


def mixture(tiles: int, dim: int) -> tuple[Points, NDArray[np.str_]]:
    """Unit vectors of search_data.py; the label is the centre of a tile, of 300."""
    drawn = Mixture(dim)
    vectors = unit(drawn.draw(tiles, np.random.default_rng(1)).astype(np.float32))
    centres = unit(drawn._centres)
    return vectors, (vectors @ centres.T).argmax(1).astype(str)


def unit(vectors: Points) -> Points:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def components(vectors: Points) -> Points:
    centred = vectors - vectors.mean(0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray(centred @ axes[:, np.argsort(-values)[:COMPONENTS]])


def fit_pacmap(x: Points, seed: int) -> tuple[Points, Callable[[Points], Points]]:
    import pacmap

    model = pacmap.PaCMAP(n_components=2, random_state=seed, apply_pca=False)
    return model.fit_transform(x, init="pca"), lambda new: model.transform(new, basis=x.copy())


def fit_umap(x: Points, seed: int | None) -> tuple[Points, Callable[[Points], Points]]:
    import umap

    model = umap.UMAP(n_neighbors=NEIGHBOURS, random_state=seed, init="pca", low_memory=False)
    return model.fit_transform(x), model.transform


def fit_tsne(x: Points, seed: int) -> tuple[Points, Callable[[Points], Points]]:
    import openTSNE

    model = openTSNE.TSNE(n_jobs=2, random_state=seed, initialization="pca", neighbors="annoy")
    fitted = model.fit(x)
    return np.asarray(fitted, np.float32), lambda new: np.asarray(fitted.transform(new), np.float32)


METHODS: dict[str, tuple[str, Callable[..., Any], dict[str, Any]]] = {
    "pacmap": ("pacmap", fit_pacmap, {}),
    "umap": ("umap", fit_umap, {}),
    "umap-any-order": ("umap", fit_umap, {"seed": None}),
    "tsne": ("openTSNE", fit_tsne, {}),
}


def nearest(x: Points, asked: Points, k: int) -> NDArray[np.intp]:
    """(m, k) rows of x that are nearest to each asked point by distance, the nearest first."""
    square = (x**2).sum(1)
    found = []
    for block in np.array_split(asked, max(1, len(asked) // 200)):
        distance = square - 2 * block @ x.T
        near = np.argpartition(distance, k, axis=1)[:, :k]
        order = np.take_along_axis(distance, near, 1).argsort(1)
        found.append(np.take_along_axis(near, order, 1))
    return np.concatenate(found)


def place(x: Points, xy: Points, new: Points, k: int = 10) -> Points:
    near = nearest(x, new, k)
    distance = np.sqrt(((x[near] - new[:, None]) ** 2).sum(2))
    weight = 1 / np.maximum(distance, 1e-6) ** 2
    return (xy[near] * (weight / weight.sum(1, keepdims=True))[:, :, None]).sum(1)


def kept(vectors: Points, xy: Points, rows: NDArray[np.intp]) -> float:
    far, near = (nearest(each, each[rows], NEIGHBOURS + 1)[:, 1:] for each in (vectors, xy))
    return float(np.mean([len(np.intersect1d(a, b)) / NEIGHBOURS for a, b in zip(far, near, strict=True)]))


def by_label(points: Points, labels: NDArray[np.str_], rows: NDArray[np.intp]) -> float:
    _, code = np.unique(labels, return_inverse=True)
    near = code[nearest(points, points[rows], NEIGHBOURS + 1)[:, 1:]]
    majority = np.array([np.bincount(each).argmax() for each in near])
    return float((majority == code[rows]).mean())


def triplets(vectors: Points, xy: Points, rng: np.random.Generator) -> float:
    a, b, c = rng.integers(0, len(xy), (3, TRIPLETS))

    def nearer(points: Points) -> NDArray[np.bool_]:
        return np.linalg.norm(points[a] - points[b], axis=1) < np.linalg.norm(points[a] - points[c], axis=1)

    return float((nearer(vectors) == nearer(xy)).mean())


def measure(name: str, of: str, vectors: Points, labels: NDArray[np.str_], *, transforms: bool) -> None:
    module, fit, settings = METHODS[name]
    began = time.perf_counter()
    __import__(module)
    import_s = time.perf_counter() - began
    x = components(vectors)
    rng = np.random.default_rng(0)
    fit(x[rng.choice(len(x), 2000, replace=False)], **{"seed": 0} | settings)  # what is compiled is not timed
    began, cpu = time.perf_counter(), time.process_time()
    xy, _ = fit(x, **{"seed": 0} | settings)
    fit_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    rows = rng.choice(len(x), min(ASKED, len(x)), replace=False)
    some = rng.choice(len(x), min(TRUSTED, len(x)), replace=False)
    row = {
        "set": of, "tiles": len(x), "dim": vectors.shape[1], "method": name,
        "version": sys.modules[module].__dict__.get("__version__", ""),
        "import_s": round(import_s, 1), "fit_s": round(fit_s, 1), "cpu_s": round(cpu_s, 1),
        "kept_15": round(kept(vectors, xy, rows), 3),
        "trust_15": round(float(trustworthiness(vectors[some], xy[some], n_neighbors=NEIGHBOURS)), 3),
        "triplets": round(triplets(vectors, xy, rng), 3),
        "label_knn": round(by_label(xy, labels, rows), 3),
        "label_knn_full": round(by_label(vectors, labels, rows), 3),
    }  # fmt: skip
    again, _ = fit(x, **{"seed": 0} | settings)
    row["same_again"] = bool(np.array_equal(again, xy))
    # tiles that come later
    out = rng.random(len(x)) < HELD_OUT
    fitted, transform = fit(x[~out], **{"seed": 0} | settings)
    asked = rng.choice(np.flatnonzero(out), min(ASKED, int(out.sum())), replace=False)
    ways = {"neighbours": lambda: place(x[~out], fitted, x[out]), "transform": lambda: transform(x[out])}
    for way, placed in ways.items():
        if way == "transform" and not transforms:
            row |= {f"placed_{what}_{way}": "" for what in ("s", "kept", "label")}
            continue
        began = time.perf_counter()
        whole = np.empty((len(x), 2), np.float32)
        whole[~out], whole[out] = fitted, placed()
        row[f"placed_s_{way}"] = round(time.perf_counter() - began, 1)
        row[f"placed_kept_{way}"] = round(kept(vectors, whole, asked), 3)
        row[f"placed_label_{way}"] = round(by_label(whole, labels, asked), 3)
    write_row("map_methods", row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=("pcam", "mixture"))
    parser.add_argument("--store", type=Path)
    parser.add_argument("--collection", default="shufflenet-histology-96px-0.972mpp")
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--method", choices=sorted(METHODS), required=True)
    parser.add_argument("--no-transform", dest="transforms", action="store_false")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    found = pcam(asked.store, asked.collection) if asked.set == "pcam" else mixture(asked.tiles, asked.dim)
    measure(asked.method, asked.set, *found, transforms=asked.transforms)


if __name__ == "__main__":
    main()
