"""What it costs to find tiles on the page: a search and its 24 pictures, at the server and until a browser shows them.

    python benchmarks/page_find.py STORE [--searches 40] [--collection NAME]

Each search is of another tile, drawn at random. Server: CPU time of the service with all its processes, for the search
and for its pictures, which six connections fetch as a browser does; first, when they are read from slides that are
open, and again, from its cache. Browser: wall time in Chromium on the same machine, from the change of the address
until the strip has its tiles, and until it has their pictures.
"""

import argparse
import http.client
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure import absolute_path, write_row
from playwright.sync_api import sync_playwright
from service_http import Served

K = 24
CONNECTIONS = 6  # of a browser to one origin
CHROMIUM = "/usr/bin/chromium"
SHOWN_MS = """async (hash) => {
  const began = performance.now();
  const before = document.querySelector("[role=option]");
  location.hash = hash;
  const until = async (ready) => {
    while (!ready()) await new Promise((resolve) => setTimeout(resolve, 2));
    return performance.now() - began;
  };
  const options = () => [...document.querySelectorAll("[role=listbox] [role=option]")];
  const fresh = () => options().length > 0 && options()[0] !== before;
  const strip = await until(() => fresh() && document.querySelector("[role=listbox]").ariaBusy === "false");
  const shown = (option) => {
    const box = option.getBoundingClientRect();
    const image = option.querySelector("img");
    return box.top > innerHeight || (image?.complete && image.naturalWidth > 0);
  };
  return [strip, await until(() => options().every(shown))];
}"""


def _costs(served: Served, action: Callable[[], Any]) -> tuple[float, float, Any]:
    """CPU milliseconds of the service, wall milliseconds, and what the action returns."""
    cpu_s, began = served.cpu_s(), time.perf_counter()
    done = action()
    wall_s = time.perf_counter() - began
    return 1e3 * (served.cpu_s() - cpu_s), 1e3 * wall_s, done


def _fetch(address: str, paths: Sequence[str]) -> None:
    connection = http.client.HTTPConnection(address, timeout=120)
    for path in paths:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status}")
    connection.close()


def _pictures(served: Served, collection: str, hits: Sequence[dict[str, Any]]) -> None:
    paths = [f"/api/collections/{collection}/tiles/{hit['tile_id']}/picture" for hit in hits]
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(_fetch, [served.address] * CONNECTIONS, [paths[i::CONNECTIONS] for i in range(CONNECTIONS)]))


def _server(served: Served, collection: str, tile_ids: Sequence[str]) -> dict[str, float]:
    """CPU and wall milliseconds a search: each kind of work for all tiles in turn, as CPU time is counted coarsely."""
    path = f"/api/collections/{collection}/search"

    def search() -> list[list[dict[str, Any]]]:
        return [served.post(path, {"query": {"tile_id": tile}, "k": K})["hits"] for tile in tile_ids]

    def pictures() -> None:
        for hits in found:
            _pictures(served, collection, hits)

    _pictures(served, collection, [hit for hits in search() for hit in hits[:1]])  # opens the slides
    search_cpu, search_wall, found = _costs(served, search)
    first_cpu, first_wall, _ = _costs(served, pictures)
    again_cpu, again_wall, _ = _costs(served, pictures)
    sums = {
        "search_cpu_ms": search_cpu, "search_wall_ms": search_wall,
        "pictures_first_cpu_ms": first_cpu, "pictures_first_wall_ms": first_wall,
        "pictures_again_cpu_ms": again_cpu, "pictures_again_wall_ms": again_wall,
    }  # fmt: skip
    return {name: round(value / len(tile_ids), 1) for name, value in sums.items()}


def _browser(served: Served, collection: str, tile_ids: Sequence[str]) -> dict[str, float]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"http://{served.address}/#/heads?collection={collection}")
        page.get_by_role("navigation", name="Views").wait_for()
        page.wait_for_timeout(1000)
        took = [page.evaluate(SHOWN_MS, f"#/heads?collection={collection}&find=tile%3A{tile}") for tile in tile_ids]
        browser.close()
    strip, shown = ([each[i] for each in took] for i in (0, 1))
    return {
        "browser_strip_p50_ms": round(statistics.median(strip)), "browser_strip_max_ms": round(max(strip)),
        "browser_pictures_p50_ms": round(statistics.median(shown)), "browser_pictures_max_ms": round(max(shown)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=absolute_path)
    parser.add_argument("--collection")
    parser.add_argument("--searches", type=int, default=40)
    options = parser.parse_args()

    import embedstore

    collection = embedstore.open(options.store).collection(options.collection)
    ids = [str(row["tile_id"]) for row in collection.tiles(columns=["tile_id"])]
    chosen = random.Random(0).sample(ids, min(2 * options.searches, len(ids)))
    half = len(chosen) // 2
    with Served(Path(options.store)) as served:
        row = _server(served, collection.name, chosen[:half])
        row |= _browser(served, collection.name, chosen[half:])
    write_row("page_find", {"store": options.store.parent.name, "tiles": len(ids), "searches": half, **row})


if __name__ == "__main__":
    main()
