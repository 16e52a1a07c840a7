"""Frames of the page's map, and what it takes until the map is there, at 100,000 tiles and beyond.

    python benchmarks/page_map.py --work FOLDER [--tiles 100000] [--on-map 0] [--size 1280x800] [--seconds 4]

A collection of synthetic vectors is committed by the project's own writer and laid out by two principal components,
which take no time: what is drawn costs the same wherever the points lie. `--on-map` is the sample that is on the map, 0
for all. The page shows it in Chromium, served by `embedstore serve`; rows tell what was done meanwhile: moved, zoomed
by the wheel, pointed at tiles, drawn with the lasso, moved with half of the tiles chosen. `map_s` and `colours_s` are
wall seconds of the service's first answers, `open_s` from the address to the legend in the browser, `choose_s` from the
end of the lasso until the tiles are counted. `main_thread_ms` does not depend on what else the machine does. Without a
GPU, Chromium draws in software, on the processors that the service uses too.

Rows: results/page_map.csv.
"""

import argparse
import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
from browser_frames import ARGUMENTS, frames_while
from measure import absolute_path, write_row
from playwright.sync_api import Page, sync_playwright
from search_data import COLLECTION, TILES_A_SLIDE, Mixture, new_collection, slide_writer
from service_http import Served

from embedstore import api
from embedstore.store import CollectionWriter, SlideRow, Store

DIM = 64
SLIDES_A_PATIENT = 2


def build(folder: Path, tiles: int) -> api.Store:
    """A store with so many tiles, made once."""
    if folder.exists():
        return api.open(folder)
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    store = Store.create(part)
    collection = new_collection(store, DIM)
    store.ledger.admit_columns([{"patient": "p"}])
    mixture, rng = Mixture(DIM), np.random.default_rng(1)
    deliveries, facts = [], []
    for number, start in enumerate(range(0, tiles, TILES_A_SLIDE)):
        name, count = f"slide-{number:04d}.svs", min(TILES_A_SLIDE, tiles - start)
        writer = slide_writer(collection, name, count)
        writer.put(np.arange(count), mixture.draw(count, rng))
        deliveries.append(writer.finish())
        patient = f"patient-{number // SLIDES_A_PATIENT:04d}"
        facts.append(SlideRow(slide_id=name, path=name, kind="wsi", metadata={"patient": patient}))
    store.ledger.record(facts, [])
    CollectionWriter(collection).commit(deliveries)
    part.rename(folder)
    return api.open(folder)


class Plot:
    """The map on the page, and what a hand does there."""

    def __init__(self, page: Page):
        self.page = page
        box = page.get_by_role("application", name="Map of").bounding_box()
        assert box is not None
        self.left, self.top, self.width, self.height = box["x"], box["y"], box["width"], box["height"]

    def to(self, x: float, y: float) -> None:
        """Bring the pointer to a place, as shares of the plot."""
        self.page.mouse.move(self.left + x * self.width, self.top + y * self.height)

    def move(self, seconds: float) -> None:
        self.to(0.5, 0.5)
        self.page.mouse.down()
        began, step = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            step += 1
            self.to(0.5 + 0.2 * np.sin(step / 15), 0.5 + 0.2 * np.cos(step / 23))
        self.page.mouse.up()

    def zoom(self, seconds: float) -> None:
        self.to(0.45, 0.55)
        began, step = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            step += 1
            self.page.mouse.wheel(0, -40 if step % 100 < 50 else 40)

    def hover(self, seconds: float) -> None:
        began, step = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            step += 1
            self.to(0.5 + 0.3 * np.sin(step / 40), 0.5 + 0.3 * np.cos(step / 57))

    def draw(self, seconds: float) -> None:
        """A lasso round the left half, which stays open."""
        self.to(0.02, 0.12)
        self.page.mouse.down()
        steps = 0
        began = time.monotonic()
        while (share := (time.monotonic() - began) / seconds) < 1:
            steps += 1
            self.to(0.02 + 0.48 * min(2 * share, 1), 0.12 if share < 0.5 else 0.12 + 1.7 * (share - 0.5))
        self.to(0.02, 0.97)


def measure(served: Served, page: Page, seconds: float) -> list[tuple[str, dict[str, Any]]]:
    """Rows, and what was done in each."""
    found = []
    began = time.monotonic()
    page.goto(f"http://{served.address}/#/map?by=patient")
    page.get_by_role("region", name="Legend").get_by_text("patient-0000").wait_for()
    opened = {"open_s": round(time.monotonic() - began, 2)}
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)
    plot = Plot(page)
    for action in (plot.move, plot.zoom, plot.hover):
        found.append((action.__name__, {**frames_while(page, partial(action, seconds)), **opened}))
    page.mouse.move(5, 5)
    page.get_by_role("application", name="Map of").focus()
    page.keyboard.press("Home")
    page.get_by_role("button", name="Lasso").click()
    found.append(("lasso", frames_while(page, lambda: plot.draw(seconds))))
    began = time.monotonic()
    page.mouse.up()
    page.get_by_text("tiles chosen").wait_for()
    found[-1][1]["choose_s"] = round(time.monotonic() - began, 2)
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Move", exact=True).click()
    plot = Plot(page)
    found.append(("move, half chosen", frames_while(page, lambda: plot.move(seconds))))
    return found


def seconds_of(address: str) -> tuple[float, int]:
    """Wall seconds of an answer, and its bytes."""
    began = time.monotonic()
    with urlopen(address) as answer:
        size = len(answer.read())
    return round(time.monotonic() - began, 2), size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=absolute_path, required=True, help="folder for the stores, kept")
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--on-map", type=int, default=0, help="tiles of the sample; 0 for all")
    parser.add_argument("--size", default="1280x800", help="of the window, pixels")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--browser", default=shutil.which("chromium"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    store = build(arguments.work / f"map-{arguments.tiles}", arguments.tiles)
    collection = store.collection()
    settings = {"method": "pca", "tiles": arguments.on_map}
    held = collection.map_facts
    facts = collection.make_map(rebuild=held is None or held.record.config.tiles != arguments.on_map, **settings)
    width, height = map(int, arguments.size.split("x"))
    with Served(Path(store.uri)) as served, sync_playwright() as playwright:
        at = f"http://{served.address}/api/collections/{COLLECTION}/map"
        map_s, size = seconds_of(at)
        colours_s, _ = seconds_of(f"{at}/colours?by=patient")
        browser = playwright.chromium.launch(executable_path=arguments.browser, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(120_000)
        load = round(os.getloadavg()[0], 1)
        for action, row in measure(served, page, arguments.seconds):
            about = {"tiles": arguments.tiles, "on_map": facts.tiles, "size_px": arguments.size, "action": action}
            server = {"map_s": map_s, "map_bytes": size, "colours_s": colours_s}
            times = {"open_s": None, "choose_s": None, **row}
            write_row("page_map", {**about, **server, **times, "drawn_by": "software", "load_before": load})
        browser.close()


if __name__ == "__main__":
    main()
