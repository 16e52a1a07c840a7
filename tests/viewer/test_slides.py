"""The wall of slides, and a slide that is opened from it."""

import re

import pytest

from embedstore import api
from embedstore.store import Outcome, Store

pytestmark = [pytest.mark.slow, pytest.mark.browser]

REASON = "the file ends in the middle of a directory"


def test_a_slide_is_found_and_opened_and_its_link_leads_there_again(url: str, open_page, screenshot):
    page = open_page(url)
    wall = page.get_by_role("list", name="Slides")
    wall.get_by_role("listitem").nth(5).wait_for()
    screenshot(page, "slides")
    page.keyboard.press("/")
    page.keyboard.type("02-tum")
    wall.get_by_role("listitem").nth(1).wait_for(state="detached")
    with page.expect_response(lambda answer: "deep-zoom_files" in answer.url and answer.ok):
        wall.get_by_role("link").click()
    page.get_by_role("application", name="Slide synthetic-02-tumour.svs").wait_for()
    screenshot(page, "slide")
    again = open_page(page.url)
    again.get_by_role("application", name="Slide synthetic-02-tumour.svs").wait_for()
    page.go_back()
    wall.get_by_role("listitem").first.wait_for()
    assert page.get_by_label("Find slides").input_value() == "02-tum"


def test_what_failed_is_told_with_its_reason_and_the_keyboard_alone_leads_there(
    own_store: api.Store, serve_store, open_page, screenshot
):
    name = own_store.collection().name
    ledger = Store.open(own_store.uri).ledger
    broken, fat = "synthetic-03-ihc.svs", "synthetic-04-fat.svs"
    ledger.record(
        [],
        [
            Outcome(collection=name, slide_id=broken, path="", state="failed", tiles=0, error="X", reason=REASON),
            Outcome(collection=name, slide_id=fat, path="", state="empty", tiles=0, reason="no tile has tissue"),
        ],
    )
    page = open_page(serve_store(own_store).url, size=(1920, 1080), dark=True, may_fail="400")
    wall = page.get_by_role("list", name="Slides")
    wall.get_by_text(REASON).wait_for()
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("i")
    sheet = page.get_by_label("About the slide")
    sheet.get_by_text("--retry-failed").wait_for()
    assert REASON in sheet.inner_text()
    screenshot(page, "slides-failed")
    page.keyboard.press("ArrowRight")  # the sheet follows
    sheet.get_by_text("no tile has tissue").wait_for()
    page.keyboard.press("Escape")
    sheet.wait_for(state="detached")
    page.get_by_role("button", name="failed").click()
    wall.get_by_role("listitem").nth(1).wait_for(state="detached")
    assert wall.get_by_role("link").get_attribute("aria-label").startswith(broken)
    page.get_by_role("button", name="All").click()
    wall.get_by_role("listitem").nth(5).wait_for()
    page.get_by_role("button", name="Filter").click()
    page.get_by_label("Where").fill("stain = ")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    assert wall.get_by_role("listitem").count() == 6  # those before stay
    page.get_by_label("Where").fill("slide_id LIKE '%colon%'")
    page.keyboard.press("Enter")
    wall.get_by_role("listitem").nth(2).wait_for(state="detached")
    page.get_by_label("Sort by").select_option("tiles")
    page.wait_for_url(re.compile("sort=tiles"))
    again = open_page(page.url)
    again.get_by_role("list", name="Slides").get_by_role("listitem").nth(1).wait_for()
    assert again.get_by_label("Sort by").input_value() == "tiles"


def test_nothing_is_asked_of_anybody_else(url: str, open_page):
    page = open_page(url)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    with page.expect_response(lambda answer: "deep-zoom_files" in answer.url):
        page.get_by_role("list", name="Slides").get_by_role("link").first.click()
    assert asked
    assert all(address.startswith((url, "blob:", "data:")) for address in asked), asked


def test_an_open_slide_is_named_and_the_wall_is_as_it_was_left(url: str, open_page):
    page = open_page(url, may_fail="404 .*/map")  # which is not made yet
    slides = page.get_by_role("list", name="Slides").get_by_role("link")
    slides.nth(5).wait_for()
    page.get_by_label("Sort by").select_option("tiles")
    page.get_by_label("Find slides").fill("02-tum")
    slides.nth(1).wait_for(state="detached")
    slides.first.click()
    page.get_by_role("heading", name="synthetic-02-tumour.svs").wait_for()
    page.get_by_role("link", name="All slides").click()
    slides.first.wait_for()
    assert page.get_by_label("Find slides").input_value() == "02-tum"
    assert page.get_by_label("Sort by").input_value() == "tiles"
    assert slides.count() == 1
    page.keyboard.press("m")
    page.wait_for_url("**/#/map**")
    page.get_by_role("link", name="Slides", exact=True).click()
    slides.first.wait_for()
    assert page.get_by_label("Find slides").input_value() == "02-tum"


def test_the_page_opens_in_a_browser_that_keeps_nothing(url: str, open_page):
    page = open_page(url)
    for area in ("localStorage", "sessionStorage"):
        page.add_init_script(
            f"Object.defineProperty(window, '{area}', {{ get() {{ throw new DOMException('no'); }} }})"
        )
    page.reload()
    page.get_by_role("list", name="Slides").get_by_role("listitem").nth(5).wait_for()
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Theme: light").wait_for()
