"""What a store of many slides grows to: versions, fragments, bytes of manifests, and seconds to resume.

    python benchmarks/store_growth.py [--slides 20000] [--tiles 8] [--dim 64] [--group 8]

Slides are committed by the committer that a run uses, in groups as small as a slow run makes them; the rows are
random. After every tenth of the slides a line tells how large the table is; at the end the time that a second run
needs to learn that nothing is to do. Few rows a slide, since it is the number of slides and commits that manifests
grow with.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import write_row

from actors.committer import Committer, Group
from embedstore.store import Collection, Outcome, SlideFacts, SlideWriter, Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=20_000)
    parser.add_argument("--tiles", type=int, default=8)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--group", type=int, default=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(f"{folder}/store")
        extractor = {"name": "random", "dim": args.dim, "digest": "sha256:0"}
        collection = Collection.create(store.uri, "c", dim=args.dim, record={"extractor": extractor})
        committer = Committer(store.uri, ["c"], compact_every=64)
        rng = np.random.default_rng(0)
        schema, commit_s, slowest_s, most = collection.schema, 0.0, 0.0, 0
        for start in range(0, args.slides, args.group):
            names = [f"case-{i:06d}/slide.svs" for i in range(start, min(start + args.group, args.slides))]
            deliveries = []
            for name in names:
                writer = SlideWriter(
                    table_uri=collection.table.uri, schema=schema, collection="c", slide_id=name,
                    xy_l0=np.stack([np.arange(args.tiles), np.zeros(args.tiles)], axis=1).astype(np.int32),
                    edge_l0=512, tissue=np.ones(args.tiles, np.float32),
                )  # fmt: skip
                writer.put(np.arange(args.tiles), rng.normal(size=(args.tiles, args.dim)).astype(np.float16))
                deliveries.append(writer.delivery())
            group = Group(
                deliveries=tuple(deliveries),
                facts=tuple(SlideFacts(slide_id=name, path=name, kind="wsi") for name in names),
                outcomes=tuple(
                    Outcome(collection="c", slide_id=n, path=n, state="done", tiles=args.tiles) for n in names
                ),
            )
            began = time.perf_counter()
            committer.commit(group)
            took = time.perf_counter() - began
            commit_s, slowest_s = commit_s + took, max(slowest_s, took)
            if (start // args.group) % max(1, args.slides // args.group // 10) == 0:
                fragments = len(collection.dataset().get_fragments())
                most = max(most, fragments)
                print(f"{start + len(names)} slides, {fragments} fragments, {commit_s:.0f} s in commits", flush=True)
        committer.close()
        began = time.perf_counter()
        present = Committer(store.uri, ["c"], compact_every=64)
        done = present.present("again")["c"]
        resume_s = time.perf_counter() - began
        present.close()
        assert len(done) == args.slides
        manifests = list(Path(collection.table.uri).rglob("*.manifest"))
        write_row(
            "store_growth",
            {
                "slides": args.slides,
                "group": args.group,
                "commits": args.slides // args.group,
                "fragments_seen": most,
                "fragments_end": len(collection.dataset().get_fragments()),
                "versions_end": len(collection.dataset().versions()),
                "manifests_mb": round(sum(path.stat().st_size for path in manifests) / 1e6, 1),
                "commit_ms": round(1000 * commit_s / (args.slides / args.group), 1),
                "slowest_commit_s": round(slowest_s, 2),
                "resume_s": round(resume_s, 2),
            },
        )


if __name__ == "__main__":
    main()
