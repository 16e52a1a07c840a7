"""Pictures of the page on the demo's store: python docs/images/page.py http://127.0.0.1:8765 (needs Chromium).

The store is that of `embedstore demo`, with a map; see README.md here.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
SLIDE = "#/slides/synthetic-06-tumour.svs?head=dense-nuclei"
SIZE = {"width": 1440, "height": 900}


def find(page: Page, url: str) -> None:
    """A heat map over a slide, and the tiles that are nearest to one."""
    page.goto(f"{url}/{SLIDE}&panel=find")
    page.wait_for_timeout(4000)
    page.mouse.click(420, 330)
    page.wait_for_timeout(5000)
    page.mouse.move(440, 345)
    page.wait_for_timeout(500)
    page.screenshot(path=HERE / "page-find.png")


def map_(page: Page, url: str) -> None:
    """The map of the collection, coloured by the head's score."""
    page.goto(f"{url}/#/map?by=head:dense-nuclei")
    page.wait_for_timeout(5000)
    page.screenshot(path=HERE / "page-map.png")


def main() -> None:
    url = sys.argv[1].rstrip("/")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for draw, scheme in ((find, "light"), (map_, "dark")):
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            page.set_default_timeout(120_000)
            draw(page, url)
        browser.close()


if __name__ == "__main__":
    main()
