"""Search on the page: a tile, a region, an image; more and less like this; and back."""

import io
import re

import pytest

from embedstore import api
from tests.viewer.clicks import click_tile

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SLIDE = "synthetic-02-tumour.svs"
#: Pictures of the slide have come: it is where it is to be on the screen.
PICTURES = "() => performance.getEntriesByType('resource').some((each) => each.name.includes('deep-zoom_files'))"


def _found(page) -> list[str]:
    """The tiles of the strip, in words, once it is there."""
    strip = page.get_by_role("listbox", name=re.compile("^Like"))
    strip.get_by_role("option").first.wait_for()
    page.wait_for_function("() => document.querySelector('[role=listbox]')?.ariaBusy === 'false'")
    return [each.get_attribute("aria-label") for each in strip.get_by_role("option").all()]


def test_a_click_finds_tiles_and_more_and_less_like_this_find_others(
    url: str, page_store: api.Store, open_page, screenshot
):
    collection = page_store.collection()
    tile = collection.tiles(slide_id=SLIDE, where="tissue > 0.9").to_pylist()[0]
    page = open_page(f"{url}/#/slides/{SLIDE}?panel=find")
    page.get_by_role("application", name=f"Slide {SLIDE}").wait_for()
    page.wait_for_function(PICTURES)
    facts = page.request.get(f"{url}/api/slides/{SLIDE}/deep-zoom").json()
    page.wait_for_function("() => location.hash.includes('zoom=')")  # the view stands
    click_tile(page, tile, facts)
    first = _found(page)
    expected = collection.search(tile["tile_id"], k=24).to_pylist()
    assert first == [
        f"Tile {hit['rank']}, {hit['slide_id']} at {hit['x']}, {hit['y']}, {hit['distance']:.3f}" for hit in expected
    ]
    screenshot(page, "find")
    options = page.get_by_role("listbox").get_by_role("option")
    options.nth(2).hover()
    page.keyboard.press("m")
    page.wait_for_url(re.compile(rf"{expected[2]['tile_id']}"))
    options.nth(5).hover()
    page.keyboard.press("l")
    page.get_by_role("button", name="Less like this: let it go").wait_for()
    judged = _found(page)
    assert judged != first
    page.keyboard.press("[")
    page.get_by_role("button", name="Less like this: let it go").wait_for(state="detached")
    page.keyboard.press("[")
    page.get_by_role("button", name="More like this: let it go").wait_for(state="detached")
    options.first.and_(page.get_by_label(first[0], exact=True)).wait_for()
    page.get_by_label("Leave out").select_option("slide")
    page.wait_for_url(re.compile("exclude_same"))
    page.wait_for_function(
        f"() => [...document.querySelectorAll('[role=option]')].every((each) => !each.ariaLabel.includes('{SLIDE}'))"
    )
    elsewhere = next(hit for hit in expected if hit["slide_id"] != SLIDE)
    opened = page.get_by_role("listbox").get_by_role("option").first
    opened.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"{re.escape(elsewhere['slide_id'])}|frame="))
    assert SLIDE not in page.url.partition("?")[0]
    assert _found(page), "the strip stays while its tiles are opened"
    screenshot(page, "find-opened")
    page.go_back()
    page.get_by_role("application", name=f"Slide {SLIDE}").wait_for()


@pytest.mark.parametrize("by", ["click", "key"])
def test_what_is_asked_before_the_tiles_are_loaded_is_found_when_they_are(
    url: str, page_store: api.Store, open_page, by: str
):
    tile = page_store.collection().tiles(slide_id=SLIDE, where="tissue > 0.9").to_pylist()[0]
    x, y = tile["x"] + tile["edge_l0"] // 2, tile["y"] + tile["edge_l0"] // 2
    page = open_page("about:blank")
    held = []
    page.route("**/tile-grid", lambda route: held.append(route))
    page.goto(f"{url}/#/slides/{SLIDE}?panel=find&x={x}&y={y}&zoom=1")
    page.get_by_text("Search by").wait_for()
    page.wait_for_function(PICTURES)
    if by == "key":
        page.keyboard.press("c")
    else:
        page.get_by_role("application").click()  # in its middle
    assert page.get_by_role("alert").count() == page.get_by_role("listbox").count() == 0
    held[0].continue_()
    page.wait_for_url(re.compile(f"find=tile%3A{tile['tile_id']}&"))
    assert len(_found(page)) == 24


def test_an_image_that_is_dropped_is_searched_by(url: str, page_store: api.Store, open_page, screenshot):
    collection = page_store.collection()
    tile = collection.tiles(slide_id=SLIDE, where="tissue > 0.9").to_pylist()[3]
    data = io.BytesIO()
    collection.pictures([tile])[0].save(data, "PNG")
    page = open_page(f"{url}/#/slides/{SLIDE}?panel=find", size=(1920, 1080), dark=True)
    page.get_by_label("Image to search by").set_input_files(
        {"name": "crop.png", "mimeType": "image/png", "buffer": data.getvalue()}
    )
    page.get_by_role("dialog", name="Find tiles like this image").wait_for()
    screenshot(page, "find-image")
    assert float(page.get_by_label("Resolution").input_value()) == collection.tiling.mpp
    page.get_by_role("dialog").get_by_role("button", name="Find").click()
    assert f"{SLIDE} at {tile['x']}, {tile['y']}" in _found(page)[0]
    page.get_by_role("heading", name="Like crop.png").wait_for()
    found = _found(page)
    page.reload()
    page.get_by_role("heading", name="Like crop.png").wait_for()
    assert _found(page) == found
    other = open_page(page.url)  # a link finds the same, and does not tell what the file was called
    other.get_by_role("heading", name="Like an image").wait_for()
    assert _found(other) == found


def test_a_region_and_a_class_are_searched_by(url: str, page_store: api.Store, open_page):
    page = open_page(f"{url}/#/slides/{SLIDE}?panel=find")
    page.wait_for_function("() => location.hash.includes('zoom=')")
    box = page.get_by_role("application").bounding_box()
    for key in ("b", "o"):
        page.keyboard.press(key)
        x, y = box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"]
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 120, y, steps=4)
        page.mouse.move(x + 120, y + 120, steps=4)
        page.mouse.up()
        assert len(_found(page)) == 24
        page.get_by_role("button", name="Close the strip").click()
        page.get_by_role("listbox").wait_for(state="detached")
    page.get_by_label("or the mean of a class").select_option(index=1)
    page.get_by_role("heading", name=re.compile("^Like .* of ")).wait_for()
    assert len(_found(page)) == 24


def test_a_link_to_a_search_opens_it_below_any_view_and_its_keys_are_listed(url: str, page_store: api.Store, open_page):
    tile = page_store.collection().tiles(slide_id=SLIDE).to_pylist()[0]["tile_id"]
    page = open_page(f"{url}/#/heads?find=tile%3A{tile}")
    _found(page)
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys")
    for does in ("Find more like this", "Find less like this", "Open the tile in its slide"):
        sheet.get_by_text(does).wait_for()
