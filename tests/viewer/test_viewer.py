"""A slide as it is looked at: heat maps, labels, links, and the pointer."""

import json
import re
import time
from collections.abc import Callable

import pytest

from tests.viewer.conftest import CLASS, HEAD

pytestmark = [pytest.mark.slow, pytest.mark.browser]
SLIDE = "synthetic-02-tumour.svs"
#: Whatever is asked of the service but pictures of the slide.
BUT_PICTURES = re.compile("/api/(?!.*deep-zoom)")


def query(page) -> dict[str, str]:
    return page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.split('?')[1]))")


def layers(page) -> list[int]:
    """Pixels of the layers' canvas."""
    return page.evaluate(
        """() => {
          const canvas = document.querySelector('.view > canvas');
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          return Array.from({ length: data.length / 4000 }, (_, i) => data[4000 * i + 3]);
        }"""
    )


def drawn(page, holds: Callable[[list[int]], bool]) -> list[int]:
    """The same once something holds of it: it is drawn with a frame of the browser, later than the page says so."""
    deadline = time.monotonic() + 300
    while not holds(found := layers(page)):
        assert time.monotonic() < deadline, f"the layers have {sorted(set(found))}"
    return found


def settled(page) -> None:
    page.wait_for_url(re.compile("zoom="))
    page.get_by_text("µm/px").wait_for()


def test_sliders_of_a_heat_map_follow_the_hand_without_a_request(url: str, open_page, screenshot):
    page = open_page(f"{url}/#/slides/{SLIDE}?show=none")
    settled(page)
    assert not any(layers(page))
    with page.expect_response(lambda answer: answer.url.endswith("/raster")):
        page.get_by_label("Head").select_option(HEAD)
    page.get_by_text("probability of dense nuclei").wait_for()
    page.wait_for_load_state("networkidle")
    full = drawn(page, lambda pixels: max(pixels) == pytest.approx(0.6 * 255, abs=1))
    asked = []  # pictures of the slide may still come
    page.on("request", lambda request: asked.append(request.url) if BUT_PICTURES.search(request.url) else None)
    page.get_by_label("Opacity").fill("100")
    page.get_by_label("Show from").fill("50")
    page.wait_for_url(re.compile("threshold=50"))
    drawn(page, lambda some: max(some) == 255 and 0 < sum(map(bool, some)) < sum(map(bool, full)))
    page.get_by_label("Class").select_option("other")
    page.wait_for_url(re.compile("class=other"))
    assert not asked
    screenshot(page, "heat-map")
    again = open_page(page.url)
    again.get_by_text("probability of other").wait_for()
    settled(again)
    assert {**query(again), "x": "", "y": "", "zoom": ""} == {**query(page), "x": "", "y": "", "zoom": ""}
    assert again.get_by_label("Show from").input_value() == "50"


def test_what_is_under_the_pointer_is_told(url: str, open_page):
    page = open_page(f"{url}/#/slides/{SLIDE}?head={HEAD}&show=labels,grid,tissue")
    settled(page)
    page.get_by_text(f"probability of {CLASS}").wait_for()
    page.get_by_text("By").wait_for()
    box = page.get_by_role("application").bounding_box()
    found, deadline = set[str](), time.monotonic() + 300
    while not {"tile", CLASS, f"demo: {CLASS}"} <= found:
        assert time.monotonic() < deadline, found
        for i in range(8):
            page.mouse.move(box["x"] + box["width"] * (0.3 + i * 0.05), box["y"] + box["height"] * (0.3 + i * 0.05))
            said = page.locator(".foot .said span").all_text_contents()
            found |= {re.sub(r"[\d., ]+$", "", text) for text in said}


def test_keys_pan_and_zoom_and_two_heads_are_divided(url: str, open_page, screenshot):
    page = open_page(f"{url}/#/slides/{SLIDE}?head={HEAD}&beside={HEAD}&besideclass=other&show=none")
    settled(page)
    page.get_by_text("probability of other").wait_for()
    before = query(page)
    page.keyboard.press("Shift+Digit3")
    page.get_by_text(re.compile("^10×")).wait_for()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(  # once it has come there
        "x => new URLSearchParams(location.hash.split('?')[1]).get('x') > x + 50", arg=float(before["x"])
    )
    page.keyboard.press("Home")
    page.wait_for_url(re.compile(f"zoom={before['zoom']}"))
    divider = page.get_by_role("separator")
    divider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile("divide=60"))
    screenshot(page, "two-heads")


def test_files_of_what_is_seen(url: str, open_page):
    page = open_page(f"{url}/#/slides/{SLIDE}?head={HEAD}")
    settled(page)
    page.get_by_text(f"probability of {CLASS}").wait_for()
    page.get_by_text("By").wait_for()
    page.get_by_text("Save as a file").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Predictions for QuPath").click()
    features = json.loads(saved.value.path().read_text())["features"]
    assert len(features) > 10 and saved.value.suggested_filename.endswith(".geojson")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Picture of this view").click()
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Labels for QuPath").click()
    assert json.loads(saved.value.path().read_text())["features"]


def test_the_card_of_a_head_leads_to_its_heat_map(url: str, open_page, screenshot):
    page = open_page(f"{url}/#/heads")
    page.get_by_text("Only 3 patients").wait_for()
    page.get_by_role("row", name="AUROC").wait_for()
    page.get_by_text("stain-texture, 294 dimensions").wait_for()
    screenshot(page, "heads")
    page.get_by_role("button", name=SLIDE).click()
    page.get_by_text(f"probability of {CLASS}").wait_for()
