"""Clicks on a slide."""

import re
import time

from playwright.sync_api import Error, Page


def click_for_tiles(page: Page, x: float, y: float) -> None:
    """Click a tile of the slide until its like are there.

    The viewer takes a press of over 0.3 s for no click, which one becomes where the page draws much just then.
    """
    strip, deadline = page.get_by_role("listbox", name=re.compile("^Like")), time.monotonic() + 300
    while True:
        page.mouse.click(x, y)
        try:
            strip.get_by_role("option").first.wait_for(timeout=10_000)
            return
        except Error:
            if time.monotonic() > deadline:
                raise
