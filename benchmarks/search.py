"""What search costs and finds.

    python benchmarks/search.py speed --rows 100000 --work FOLDER [--peers embedstore,faiss-hnsw,faiss-ivfpq,hnswlib]
    python benchmarks/search.py effort --rows 100000 --work FOLDER
    python benchmarks/search.py quality --data ../shared/data [--store FOLDER]
    python benchmarks/search.py concurrent [--work FOLDER]
    python benchmarks/search.py scale

`speed`: embedstore beside faiss-cpu (HNSW; IVF-PQ with refining) and hnswlib on vectors of low intrinsic dimension
(`search_data.py` says how they are made) and 500 held-out queries: time of the build, size, memory of a fresh process
that answers, p50, p95 and p99 of single queries, queries a second of 1 and 8 clients (threads; of embedstore processes
too), and recall@10 against brute force in NumPy, over all rows and under filters that keep 1 % and 0.1 % of them.
Peers hold everything in memory and are given the cheapest settings of a grid that reach a recall of 0.99 (0.95 under a
filter) on 100 other queries; embedstore has its defaults, and its filter is evaluated anew for each query, from the
ledger on. The collection, its truth and the indexes stay in the folder; without its `.build.json` a side builds anew.

`effort`: recall@10 and latency of embedstore over a grid of nprobes and refine_factor, with the files' pages in the
machine's cache. The slopes in docs/scale.md come from these rows.

`quality`: precision@10 of the tiles of each class on PatchCamelyon, CAMELYON16 and atypical mitoses, for three
extractors, through an index (forced: the sets are small) and by exact brute force in NumPy on the same vectors. A
neighbour counts where it is of the query's class; tiles of the query's own patient are left out where it is known.

`concurrent`: eight threads and two processes ask while slides are committed, replaced and taken out and the index is
kept up; counts errors, slides that were seen in part, and slides that went away.

`scale`: writes the tables of docs/scale.md anew from the rows of `speed` and `effort`.

Rows go to results/search_*.csv. `load_1m` is how busy the machine was before.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import absolute_path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "effort", "quality", "concurrent", "scale"])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument(
        "--work", type=absolute_path, help="folder to keep collections and indexes in; a temporary one by default"
    )
    parser.add_argument("--peers", default="embedstore,faiss-hnsw,faiss-ivfpq,hnswlib", help="speed: sides, in turn")
    parser.add_argument("--seconds", type=float, default=5.0, help="speed: of each count of queries a second")
    parser.add_argument(
        "--data", type=absolute_path, default="../shared/data", help="quality: holds tiles/ and weights/"
    )
    parser.add_argument(
        "--store", type=absolute_path, help="quality: folder to keep stores in; a temporary one by default"
    )
    parser.add_argument("--task", action="append", help="quality: a set of tiles; all by default")
    parser.add_argument("--slides", type=int, default=60, help="concurrent: slides that are committed")
    parser.add_argument("--tiles", type=int, default=1000, help="concurrent: of each slide")
    args = parser.parse_args()
    if args.what == "scale":
        from search_scale import scale

        scale()
    elif args.what == "quality":
        from at_hand import TASKS
        from search_quality import quality

        with kept(args.store) as folder:
            quality(args.data, folder, args.task or list(TASKS))
    elif args.what == "concurrent":
        from search_concurrent import concurrent

        with kept(args.work) as folder:
            concurrent(folder, args.slides, args.tiles, args.dim)
    elif args.what == "effort":
        from search_effort import effort

        with kept(args.work) as folder:
            effort(folder, args.rows, args.dim)
    else:
        from search_speed import speed

        with kept(args.work) as folder:
            speed(folder, args.rows, args.dim, args.peers.split(","), args.seconds)


@contextlib.contextmanager
def kept(folder: Path | None) -> Iterator[Path]:
    """The given folder, or one that is thrown away."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


if __name__ == "__main__":
    main()
