"""Frames of the page while a slide is panned with a heat map over more than 20,000 tiles.

    python benchmarks/page_frames.py [--work FOLDER] [--tile-px N] [--size WIDTHxHEIGHT] [--seconds S] [--browser PATH]

A synthetic slide is cut into small tiles, so that there are many; a head is fitted and predicts them; and the page
shows them in Chromium, served by `embedstore serve`. The pointer drags the slide to and fro. Each view is measured
without layers and with them, so that what the layers cost can be told from what the slide and the browser cost; what
frames are is told in `browser_frames`. `main_thread_ms` does not depend on what else the machine does. Without a GPU,
Chromium draws in software, on the processors that the service uses too.

Rows: results/page_frames.csv.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from browser_frames import ARGUMENTS, frames_while
from measure import absolute_path, write_row
from playwright.sync_api import Page, sync_playwright
from service_http import Served

from embedstore import api

TASK, CLASS, HEAD = "dense-nuclei", "dense nuclei", "dense-nuclei"
LAYERS = {
    "none": "show=none",
    "heat map": f"show=none&head={HEAD}",
    "heat map, tissue, grid": f"show=tissue,grid&head={HEAD}",
    "two heat maps, tissue, labels": f"show=tissue,labels&head={HEAD}&beside={HEAD}&besideclass=*",
}


def build(folder: Path, size_px: tuple[int, int], tile_px: int) -> api.Store:
    """A store with one slide of many tiles, its labels, and a head that has predicted it."""
    if (folder / "store").exists():
        return api.open(folder / "store")
    api.synthesize_slides(folder / "slides", slides=1, size_px=size_px)
    store = api.create(folder / "store")
    store.ingest(
        [folder / "slides" / "slides.csv"], extractors="colour-12", tiling={"tile_px": tile_px},
        execution={"in_process": True},
    )  # fmt: skip
    labels = sorted((folder / "slides").glob("*.geojson"))
    store.labels.read(labels, task=TASK, only=(CLASS,), negative="other", author="demo")
    store.fit_head(TASK, positive=CLASS, split={"group_by": "auto"}, name=HEAD).predict()
    return store


def drag(page: Page, seconds: float) -> None:
    """Drag the slide in circles."""
    box = page.get_by_role("application").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    began = time.monotonic()
    step = 0
    while time.monotonic() - began < seconds:
        step += 1
        page.mouse.move(x + 90 * ((step % 80) / 40 - 1) * (-1) ** (step // 80), y + 60 * ((step % 50) / 25 - 1))
    page.mouse.up()


def measure(page: Page, address: str, seconds: float) -> dict[str, Any]:
    page.goto("about:blank")
    page.goto(address)
    page.get_by_text("µm/px").wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)
    drag(page, 1)  # tiles of the surroundings are loaded
    page.wait_for_load_state("networkidle")
    return frames_while(page, lambda: drag(page, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=absolute_path, help="folder for slide and store, kept; a temporary one if not given"
    )
    parser.add_argument("--size", default="7600x6400", help="of the slide, pixels")
    parser.add_argument("--tile-px", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--browser", default=shutil.which("chromium"))
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.work or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        store = build(folder, (width, height), arguments.tile_px)
        ((slide, tiles),) = store.collection().slides.items()
        with Served(Path(store.uri)) as served, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=arguments.browser, args=list(ARGUMENTS))
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            for view, place in {"whole slide": "", "5×": f"&x={width // 2}&y={height // 2}&zoom=0.25"}.items():
                for layers, query in LAYERS.items():
                    load = os.getloadavg()[0]
                    row = measure(page, f"http://{served.address}/#/slides/{slide}?{query}{place}", arguments.seconds)
                    facts = {"tiles": tiles, "view": view, "layers": layers, "size_px": "1280x800"}
                    drawn = {"drawn_by": "software", "load_before": round(load, 1)}
                    write_row("page_frames", {**facts, **row, **drawn})
            browser.close()


if __name__ == "__main__":
    main()
