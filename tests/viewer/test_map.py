"""The map: made from the page, coloured, chosen from by lasso and by keys, marked, opened."""

import shutil
from collections.abc import Iterator

import pytest

from embedstore import api

from .conftest import HEAD, TASK, serving

pytestmark = [pytest.mark.slow, pytest.mark.browser]

CHOSEN = "tiles chosen"


@pytest.fixture(scope="module")
def mapped(page_store: api.Store, _environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a copy of `page_store` is served, with a map of its collection."""
    store = api.open(shutil.copytree(page_store.uri, tmp_path_factory.mktemp("mapped") / "store"))
    store.collection().make_map(method="pca")
    with serving(store, tmp_path_factory.mktemp("server")) as server:
        yield server.url


def test_it_is_made_from_the_page(own_store: api.Store, serve_store, open_page, screenshot):
    page = open_page(f"{serve_store(own_store).url}/#/map", may_fail="404")  # there is none yet
    screenshot(page, "map-none")
    page.get_by_role("button", name="Make the map").click()
    page.get_by_role("application", name="Map of").wait_for(timeout=600_000)
    assert own_store.collection().map_facts.record.method == "pacmap"


def test_it_is_coloured_by_a_head_and_by_labels(mapped: str, open_page, screenshot):
    page = open_page(f"{mapped}/#/map", size=(1920, 1080))
    legend = page.get_by_role("region", name="Legend")
    legend.get_by_text("synthetic-01-colon.svs").wait_for()
    screenshot(page, "map-slides")
    page.get_by_label("Colour by").select_option(f"head:{HEAD}")
    legend.get_by_text("probability of dense nuclei").wait_for()
    screenshot(page, "map-head")
    page.get_by_label("Colour by").select_option(f"label:{TASK}")
    legend.get_by_role("button", name="Choose all tiles of dense nuclei").click()
    page.get_by_text(CHOSEN).wait_for()
    again = open_page(page.url)  # the link has the colours
    again.get_by_role("region", name="Legend").get_by_text(f"label of {TASK}").wait_for()


def test_the_lasso_chooses_tiles_which_are_marked_and_unmarked(own_store: api.Store, serve_store, open_page):
    own_store.collection().make_map(method="pca")
    page = open_page(f"{serve_store(own_store).url}/#/map", dark=True)
    canvas = page.get_by_role("application", name="Map of")
    canvas.wait_for()
    page.get_by_role("button", name="Lasso").click()
    box = canvas.bounding_box()
    left, right, top, bottom = 0.02, 0.5, 0.1, 0.98
    for i, (x, y) in enumerate([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=5)
        if i == 0:
            page.mouse.down()
    page.mouse.up()
    count = int(page.get_by_text(CHOSEN).inner_text().split()[0].replace(",", ""))
    assert 10 < count < len(own_store.collection())
    strip = page.get_by_role("listbox", name="tiles of the map")
    strip.get_by_role("option").nth(9).wait_for()
    bar = page.get_by_role("region", name="Tiles")

    def mine() -> list[str]:
        return [row["label"] for row in own_store.labels.table(task=TASK) if row["author"] != "demo"]

    assert not mine()
    with page.expect_response(lambda answer: answer.url.endswith("/add") and answer.ok):
        bar.get_by_role("button", name="dense nuclei").click()
    assert mine() == ["dense nuclei"] * count
    with page.expect_response(lambda answer: answer.url.endswith("/withdraw") and answer.ok):
        bar.get_by_role("button", name="none").click()
    assert not mine()
    strip.get_by_role("option").first.click()
    page.get_by_role("application", name="Slide").wait_for()


def test_keys_alone_choose_and_open(mapped: str, open_page):
    page = open_page(f"{mapped}/#/map")
    page.get_by_role("region", name="Legend").get_by_text("synthetic-01-colon.svs").wait_for()
    canvas = page.get_by_role("application", name="Map of")
    for _ in range(30):
        page.keyboard.press("Tab")
        if canvas.evaluate("node => node === document.activeElement"):
            break
    for key in ("]", "]", "]", "]", "]", "]", "Enter"):
        page.keyboard.press(key)
    chosen = page.get_by_text(CHOSEN)
    chosen.wait_for()
    few = int(chosen.inner_text().split()[0])
    for _ in range(4):
        page.keyboard.press("]")
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(
        "few => +[...document.querySelectorAll('[role=status]')].find(e => e.textContent.includes('tiles chosen'))"
        ".textContent.split(' ')[0] > few", arg=few,
    )  # fmt: skip
    page.keyboard.press("Escape")
    chosen.wait_for(state="detached")
    page.keyboard.press("o")
    page.get_by_role("application", name="Slide").wait_for()


def test_who_only_reads_is_told_so(own_store: api.Store, serve_store, open_page):
    token = own_store.tokens.create("ann", role="read")
    server = serve_store(own_store)
    page = open_page("about:blank", may_fail="401|404")
    held = []

    def hold_first(route) -> None:
        held.append(route)
        if len(held) > 1:
            route.continue_()

    page.route("**/api/collections", hold_first)
    page.goto(f"{server.url}/#/map")
    page.get_by_label("Token").fill(token)
    page.keyboard.press("Enter")
    told = page.get_by_text("making a map needs the role “fit”")
    told.wait_for()
    with page.expect_response("**/api/collections") as late:
        held[0].continue_()
    assert late.value.status == 401  # an answer to what was asked without the token asks for no other one
    told.wait_for()
    assert page.get_by_role("button", name="Make the map").is_disabled()
