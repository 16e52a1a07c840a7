"""Tokens, and a service that goes away and comes back."""

import time

import pytest

from embedstore import api

pytestmark = [pytest.mark.slow, pytest.mark.browser]

REFUSED = "401|Failed to load resource"
AWAY = "ERR_|[Ff]ailed to load"


def until_sharp(page, lost: set[str], came: set[str]) -> None:
    """Wait for those pieces of a slide among `lost` that are of its finest level: they cover the others."""
    level = {url: int(url.split("deep-zoom_files/")[1].split("/")[0]) for url in lost}
    finest = {url for url in lost if level[url] == max(level.values())}
    deadline = time.monotonic() + 300
    while missing := finest - came:
        assert time.monotonic() < deadline, missing
        page.wait_for_timeout(50)


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


def test_pieces_of_a_slide_that_did_not_come_are_asked_for_again(url: str, open_page):
    page = open_page(url, may_fail="500|[Ff]ailed to load")
    refused, came = set(), set()

    def refuse(route) -> None:
        refused.add(route.request.url)
        route.fulfill(status=500, json={"error": {"type": "RegionReadError", "message": "no light"}})

    page.route("**/deep-zoom_files/**", refuse)
    page.evaluate("() => { location.hash = '#/slides/synthetic-02-tumour.svs' }")
    said = page.get_by_text("Part of the slide cannot be shown")
    said.get_by_text("no light").wait_for()
    page.on("response", lambda answer: came.add(answer.url) if answer.ok else None)
    page.unroute("**/deep-zoom_files/**")
    said.wait_for(state="detached")
    until_sharp(page, refused, came)


def test_a_slide_is_sharp_again_when_the_service_is_back(own_store: api.Store, serve_store, open_page):
    server = serve_store(own_store)
    page = open_page(server.url, may_fail=AWAY)
    held, holding = [], True
    page.route("**/deep-zoom_files/**", lambda route: held.append(route) if holding else route.continue_())
    page.evaluate("() => { location.hash = '#/slides/synthetic-02-tumour.svs' }")
    page.wait_for_url("**zoom=**")
    page.wait_for_load_state("load")
    server.stop()
    away = page.locator(".offline")
    came: set[str] = set()
    page.on("response", lambda answer: came.add(answer.url) if answer.ok else None)
    holding = False
    lost = {route.request.url for route in held}
    assert lost
    for route in held:
        route.continue_()
    away.wait_for()  # pieces of a slide are pictures, whose failure tells a page nothing
    server.start()
    away.wait_for(state="detached")
    until_sharp(page, lost, came)


def test_who_comes_back_with_another_token_sees_what_that_one_may(own_store: api.Store, serve_store, open_page):
    tokens = {name: own_store.tokens.create(name, role="label") for name in ("ann", "bob")}
    own_store.tokens.create("boss", role="admin")
    place = "slides/synthetic-02-tumour.svs?panel=teach"
    page = open_page(f"{serve_store(own_store).url}/#/{place}", may_fail=f"{REFUSED}|failed to load")
    field, enter = page.get_by_label("Token"), page.get_by_role("button", name="Open")
    field.fill(tokens["ann"])
    enter.click()
    page.get_by_role("button", name="Suggest", exact=True).click()
    page.get_by_role("region", name="Tiles").wait_for()
    own_store.tokens.revoke("ann")
    while field.count() == 0:  # a running service refuses it within two seconds
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_timeout(200)
    page.get_by_text("Your token holds no longer").wait_for()
    field.fill("embedstore_wrong")
    enter.click()
    page.get_by_role("alert").get_by_text("the token is unknown").wait_for()
    field.fill(tokens["bob"])
    enter.click()
    page.get_by_text("bob · label").wait_for()
    page.get_by_role("button", name="Suggest", exact=True).wait_for()
    assert f"#/{place}" in page.url
    assert page.get_by_role("region", name="Tiles").count() == 0


def test_what_failed_while_the_service_was_away_is_there_when_it_is_back(own_store: api.Store, serve_store, open_page):
    server = serve_store(own_store)
    page = open_page(f"{server.url}/#/slides/synthetic-02-tumour.svs?panel=teach", may_fail=AWAY)
    suggest = page.get_by_role("button", name="Suggest", exact=True)
    suggest.wait_for()
    page.wait_for_load_state("networkidle")
    away, failed = page.locator(".offline"), page.get_by_text("This cannot be shown")
    server.stop()
    suggest.click()
    failed.wait_for()
    away.wait_for()
    server.start()
    away.wait_for(state="detached")
    failed.wait_for(state="detached")
    server.stop()
    page.evaluate("() => { location.hash = '#/slides/synthetic-01-colon.svs' }")
    page.get_by_text("The slide cannot be opened").wait_for()
    server.start()
    page.get_by_role("application", name="Slide synthetic-01-colon.svs").wait_for()
    server.stop()
    page.evaluate("() => { location.hash = '#/slides?about=synthetic-01-colon.svs' }")
    page.get_by_text("The slide cannot be shown").wait_for()
    server.start()
    page.get_by_role("button", name="Open the slide").wait_for()


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 302, "headers": {"Location": "https://login.hospital.example/authorize"}},
        {"status": 401, "body": "<html>401 Authorization Required</html>", "content_type": "text/html"},
    ],
    ids=["redirect", "401"],
)
def test_a_login_at_a_proxy_that_has_ended_is_said_and_one_logs_in_again(url: str, open_page, answer: dict):
    page = open_page(url, may_fail=f"{REFUSED}|login.hospital")
    page.get_by_role("list", name="Slides").get_by_role("listitem").nth(5).wait_for()
    page.route("**/api/**", lambda route: route.fulfill(**answer))
    page.get_by_label("Find slides").fill("02-tum")
    said = page.get_by_role("alert").filter(has_text="Your login has ended")
    said.wait_for()
    assert page.get_by_label("Token").count() == 0
    page.unroute("**/api/**")
    with page.expect_navigation():  # which a proxy answers with its login
        said.get_by_role("button", name="Log in again").click()
    page.get_by_role("list", name="Slides").get_by_role("listitem").first.wait_for()
    assert said.count() == 0
