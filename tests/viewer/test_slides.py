"""The wall of slides, and a slide that is opened from it."""

import pytest

pytestmark = pytest.mark.slow


def test_a_slide_is_found_and_opened_and_its_link_leads_there_again(url: str, open_page, screenshot):
    page = open_page(url)
    wall = page.get_by_role("list", name="Slides")
    wall.get_by_role("listitem").nth(5).wait_for()
    screenshot(page, "slides")
    page.get_by_label("Find slides").fill("02-tum")
    wall.get_by_role("listitem").nth(1).wait_for(state="detached")
    with page.expect_response(lambda answer: "deep-zoom_files" in answer.url and answer.ok):
        wall.get_by_role("link").click()
    page.get_by_role("application", name="Slide synthetic-02-tumour.svs").wait_for()
    screenshot(page, "slide")
    again = open_page(page.url)
    again.get_by_role("application", name="Slide synthetic-02-tumour.svs").wait_for()


def test_nothing_is_asked_of_anybody_else(url: str, open_page):
    page = open_page(url)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    with page.expect_response(lambda answer: "deep-zoom_files" in answer.url):
        page.get_by_role("list", name="Slides").get_by_role("link").first.click()
    assert asked
    assert all(address.startswith((url, "blob:", "data:")) for address in asked), asked
