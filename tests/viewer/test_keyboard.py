"""The whole way without a pointer: to a slide, its like, marks, a fit, and back."""

import pytest

from embedstore import api
from tests.viewer.standing import until_standing

pytestmark = [pytest.mark.slow, pytest.mark.browser]

MOST_STEPS = 80


def tab_to(page, name: str) -> None:
    """Press Tab until what has this name, or begins with it, has the focus."""
    said = "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()"
    passed = []
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        passed.append(page.evaluate(said)[:40])
        if passed[-1].startswith(name):
            return
    raise AssertionError(f"Tab does not lead to {name!r}; it leads to {passed}")


def test_keys_alone_lead_from_a_slide_to_a_heat_map(own_store: api.Store, serve_store, open_page):
    page = open_page(serve_store(own_store).url)
    page.get_by_role("list", name="Slides").get_by_role("link").first.wait_for()
    for key in ("/", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.get_by_role("application", name="Slide ").wait_for()
    tab_to(page, "Find")
    page.keyboard.press("Enter")
    page.get_by_text("Search by").wait_for()
    page.keyboard.press("c")  # the tile in the middle
    strip = page.get_by_role("listbox")
    strip.get_by_role("option").nth(3).wait_for()

    tab_to(page, "Teach")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="New …").wait_for()
    tab_to(page, "New …")
    page.keyboard.press("Enter")
    page.keyboard.type("cells")
    page.keyboard.press("Tab")
    page.keyboard.type("dense")
    page.keyboard.press("Tab")
    page.keyboard.type("other")
    page.keyboard.press("Enter")
    page.get_by_role("radio", name="dense").wait_for()
    tab_to(page, "Tile 1,")
    for key in "111222":
        page.keyboard.press(key)
        page.keyboard.press("ArrowRight")
    strip.get_by_role("option", name="marked other").nth(2).wait_for()
    page.get_by_text("Saving …").wait_for(state="detached")
    until_standing(own_store, "cells", lambda now: now == {"dense": 3, "other": 3})

    page.keyboard.press("f")
    page.get_by_role("button", name="Fit again").wait_for()
    assert len(own_store.head("cells-marks").predictions.to_arrow()["slide_id"].unique()) == 6
    assert "head=cells-marks" in page.url
    page.keyboard.press("Control+z")
    strip.get_by_role("option", name="marked other").nth(2).wait_for(state="detached")
    page.get_by_text("Saving …").wait_for(state="detached")
    until_standing(own_store, "cells", lambda now: now == {"dense": 3, "other": 2})
