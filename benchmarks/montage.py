"""A search's picture of 24 neighbours: CPU time with that of the children that read slides, by this source and another.

python benchmarks/montage.py DEMO/store --beside OTHER_CHECKOUT
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from measure import absolute_path, measured_with, sources, write_row

REPEATS = 10


def cpu_s() -> float:
    """Of this process and of children that have ended."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measure_here(store: Path) -> None:
    import embedstore

    collection = embedstore.open(store).collection()
    tile_id = int(collection.tiles().to_arrow().column("tile_id")[7].as_py())
    with tempfile.TemporaryDirectory() as folder:
        found = collection.search(tile_id, k=24)
        took = []
        for _ in range(REPEATS + 1):
            began, began_cpu = time.monotonic(), cpu_s()
            found.export(Path(folder, "m.png"))
            took.append((cpu_s() - began_cpu, time.monotonic() - began))
        size = Path(folder, "m.png").stat().st_size
    (first, _), *rest = took
    cpu, wall = (sorted(column)[REPEATS // 2] for column in zip(*rest, strict=True))
    row = {"first_cpu_s": first, "again_cpu_s": cpu, "again_s": wall}
    print(json.dumps({**{name: round(value, 3) for name, value in row.items()}, "png_kb": size >> 10}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=absolute_path)
    parser.add_argument("--beside", type=absolute_path, help="a checkout whose embedstore/ is measured in turn")
    parser.add_argument("--here", action="store_true", help="measure in this process, and write no row")
    args = parser.parse_args()
    if args.here:
        measure_here(args.store)
        return
    for source, root in sources(args.beside).items():
        took = measured_with(root, __file__, str(args.store), "--here")
        write_row("montage", {"source": source, "neighbours": 24, **took})


if __name__ == "__main__":
    main()
