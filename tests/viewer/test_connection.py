"""Tokens, and a service that goes away and comes back."""

import pytest

from embedstore import api

pytestmark = [pytest.mark.slow, pytest.mark.browser]

REFUSED = "401|Failed to load resource"


def test_a_token_is_asked_for_once_and_pictures_come_with_it(own_store: api.Store, serve_store, open_page, screenshot):
    token = own_store.tokens.create("ann", role="read")
    server = serve_store(own_store)
    page = open_page(server.url, may_fail=REFUSED)
    field = page.get_by_label("Token")
    field.wait_for()
    screenshot(page, "login")
    field.fill("embedstore_wrong")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("the token is unknown").wait_for()
    field.fill(token)
    page.keyboard.press("Enter")
    page.get_by_text("ann · read").wait_for()
    page.wait_for_function(
        "() => [...document.querySelectorAll('ul[aria-label=Slides] img')].some(i => i.naturalWidth)"
    )
    page.reload()  # the tab keeps it
    page.get_by_text("ann · read").wait_for()
    with page.expect_response(lambda answer: "deep-zoom_files" in answer.url and answer.ok):
        page.get_by_role("list", name="Slides").get_by_role("link").first.click()


def test_page_says_that_the_service_is_away_and_goes_on_when_it_is_back(own_store: api.Store, serve_store, open_page):
    server = serve_store(own_store)
    page = open_page(server.url, may_fail="ERR_CONNECTION|Failed to load resource")
    wall = page.get_by_role("list", name="Slides").get_by_role("listitem")
    wall.nth(5).wait_for()
    server.stop()
    page.get_by_label("Find slides").fill("02-tum")
    away = page.get_by_text("The service does not answer").first
    away.wait_for()
    server.start()
    away.wait_for(state="detached")
    wall.nth(1).wait_for(state="detached")
    assert "02-tum" in wall.nth(0).inner_text() and wall.count() == 1
