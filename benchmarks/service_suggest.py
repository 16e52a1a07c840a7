"""The first proposal of tiles that a service makes for a head: CPU time and memory of its process, and of the next one.

python benchmarks/service_suggest.py --store FOLDER --head marks --beside OTHER_CHECKOUT

The store is one of `start_up.py --store FOLDER`, or any other with a head for tiles. A proposal without a head comes
first, so that what both need is loaded.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import psutil
from measure import absolute_path, measured_with, sources, write_row

SETTLED_S = 8.0  # what a service does beside, when it has started


def measure_here(path: Path, head: str) -> None:
    """Print what it takes in this process."""
    warnings.simplefilter("ignore")  # of the test client
    from starlette.testclient import TestClient

    from embedstore.access_config import AccessConfig
    from embedstore.service import create_app
    from embedstore.service_config import ServiceConfig
    from embedstore.store import Store

    store, process = Store.open(str(path)), psutil.Process()
    took = {}
    app = create_app(store.uri, ServiceConfig(host="127.0.0.1", access=AccessConfig(insecure=True)))
    here = "127.0.0.1", 50_000
    with TestClient(app, base_url="http://127.0.0.1:8765", client=here) as client:
        collection = store.heads.get(head).collection
        client.post(f"/api/collections/{collection}/suggest", json={}).raise_for_status()
        time.sleep(SETTLED_S)
        for name in ("first", "again"):
            began, held = time.process_time(), process.memory_info().rss
            client.post(f"/api/heads/{head}/suggest", json={}).raise_for_status()
            took[f"{name}_cpu_s"] = round(time.process_time() - began, 2)
            took[f"{name}_mb"] = (process.memory_info().rss - held) >> 20
    print(json.dumps(took))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=absolute_path, required=True)
    parser.add_argument("--head", required=True)
    parser.add_argument("--beside", type=absolute_path, help="a checkout whose embedstore/ is measured in turn")
    parser.add_argument("--here", action="store_true", help="measure in this process, and write no row")
    args = parser.parse_args()
    if args.here:
        measure_here(args.store, args.head)
        return
    for source, root in sources(args.beside).items():
        took = measured_with(root, __file__, "--here", "--store", str(args.store), "--head", args.head)
        write_row("service_suggest", {"source": source, **took})


if __name__ == "__main__":
    main()
