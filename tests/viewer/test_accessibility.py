"""Every view by the rules of WCAG 2.2 AA that axe can check, light and dark; and that keys lead everywhere."""

import pytest
from axe_playwright_python.base import AXE_FILE_PATH

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SLIDE = "slides/synthetic-02-tumour.svs"
VIEWS = {
    "wall": "slides", "layers": f"{SLIDE}?panel=layers", "find": f"{SLIDE}?panel=find", "teach": f"{SLIDE}?panel=teach",
    "map": "map", "heads": "heads",
}  # fmt: skip
NO_MAP = "404 .*/map"  # a browser's console tells it; the page offers to make one
#: Until all that moves has come to its end.
ENDED = """() => Promise.allSettled(document.getAnimations()
  .filter((each) => each.effect.getComputedTiming().endTime !== Infinity).map((each) => each.finished))"""
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(url: str, open_page, screenshot, dark: bool):
    page = open_page(url, dark=dark, may_fail=NO_MAP)
    page.evaluate(AXE_FILE_PATH.read_text())
    found = {}
    for name, place in VIEWS.items():
        page.evaluate("place => { location.hash = '#/' + place }", place)
        page.get_by_role("status").filter(has_text="Loading").wait_for(state="hidden")
        page.wait_for_timeout(300)
        page.evaluate(ENDED)  # what fades in is checked when it is there
        screenshot(page, f"{name}-{'dark' if dark else 'light'}")
        for violation in page.evaluate("rules => axe.run(document, rules)", RULES)["violations"]:
            found[name, violation["id"]] = [node["html"] for node in violation["nodes"]]
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.evaluate(ENDED)
    for violation in page.evaluate("rules => axe.run(document, rules)", RULES)["violations"]:
        found["keys", violation["id"]] = [node["html"] for node in violation["nodes"]]
    assert not found


def test_keys_alone_lead_from_view_to_view(url: str, open_page):
    page = open_page(url, may_fail=NO_MAP)
    page.get_by_role("list", name="Slides").get_by_role("listitem").first.wait_for()
    page.keyboard.press("h")
    page.wait_for_url("**/#/heads")
    page.keyboard.press("m")
    page.wait_for_url("**/#/map")
    page.keyboard.press("s")
    page.wait_for_url("**/#/slides")
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys")
    sheet.get_by_text("Go to Map").wait_for()
    page.keyboard.press("Escape")
    sheet.wait_for(state="detached")
