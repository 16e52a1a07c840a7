"""Teaching on the page: marks on the slide and in a strip, undone and done again, a fit, and what a viewer may see."""

from pathlib import Path
from urllib.parse import quote

import pytest

from embedstore import api
from tests.viewer.conftest import TASK
from tests.viewer.standing import standing, until_standing

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SLIDE = "synthetic-02-tumour.svs"
#: Places within the slide on the screen, as shares of its width and height: left and right piece of tissue.
LEFT, RIGHT = (0.2, 0.35), (0.62, 0.35)


#: The browser's tab is shown again.
COME_BACK = "document.dispatchEvent(new Event('visibilitychange'))"


def drag(page, at: tuple[float, float], by: tuple[float, float] = (0.2, 0.3)) -> None:
    """Drag over the slide from a place, by shares of its size."""
    box = page.get_by_role("application").bounding_box()
    x, y = box["x"] + at[0] * box["width"], box["y"] + at[1] * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by[0] * box["width"], y + by[1] * box["height"], steps=4)
    page.mouse.up()


def saved(page) -> None:
    page.get_by_text("Saving …").wait_for(state="detached")


def make_task(page) -> None:
    """The task 'cells' of the classes 'other' and 'dense'."""
    page.get_by_role("button", name="New …").click()
    page.get_by_label("What is to be told apart?").fill("cells")
    page.get_by_label("First class").fill("other")
    page.get_by_label("Second class").fill("dense")
    page.get_by_role("button", name="Make the task").click()


def test_marks_fit_heat_map_suggestions_and_back(own_store: api.Store, serve_store, open_page, screenshot):
    page = open_page(f"{serve_store(own_store).url}/#/slides/{SLIDE}?panel=teach&task=cells")
    make_task(page)
    page.get_by_role("button", name="Box").click()
    drag(page, RIGHT)
    page.get_by_role("radio", name="dense").check(force=True)
    drag(page, LEFT)
    saved(page)
    marked = until_standing(own_store, "cells", lambda now: now.get("other", 0) >= 2 and now.get("dense", 0) >= 3)
    page.get_by_role("button", name="Erase").click()
    drag(page, LEFT, (0.1, 0.1))
    saved(page)
    until_standing(own_store, "cells", lambda now: now["dense"] < marked["dense"])
    page.keyboard.press("Control+z")
    saved(page)
    until_standing(own_store, "cells", lambda now: now == marked)

    with page.expect_response(lambda answer: answer.url.endswith("/api/heads/cells-marks") and answer.ok):
        page.get_by_role("button", name="Fit", exact=True).click()
    page.get_by_role("button", name="Fit again").wait_for()
    page.get_by_text("These numbers are too good").wait_for()
    page.get_by_role("row", name="AUROC").wait_for()
    assert len(own_store.head("cells-marks").predictions.to_arrow()["slide_id"].unique()) == 6
    assert "head=cells-marks" in page.url
    screenshot(page, "teach-fitted")

    page.get_by_role("button", name="Suggest", exact=True).click()
    strip = page.get_by_role("listbox", name="Suggested")
    strip.get_by_role("option").first.focus()
    page.keyboard.press("2")  # the second class that was named, whichever has labels first
    strip.get_by_role("option", name="marked dense").wait_for()
    saved(page)
    until_standing(own_store, "cells", lambda now: now["dense"] == marked["dense"] + 1)
    page.keyboard.press("Control+z")
    strip.get_by_role("option", name="marked dense").wait_for(state="detached")
    saved(page)
    until_standing(own_store, "cells", lambda now: now == marked)
    screenshot(page, "teach-suggested")

    page.get_by_text("History").click()
    page.get_by_role("list", name="Changes of labels").get_by_role("button").last.click()
    page.get_by_text("Mark tiles of at least two classes.").wait_for()
    until_standing(own_store, "cells", lambda now: "other" not in now)


def test_a_mark_that_is_saved_while_labels_are_read_stays(own_store: api.Store, serve_store, open_page):
    page = open_page(f"{serve_store(own_store).url}/#/slides/{SLIDE}?panel=teach&task=cells")
    make_task(page)
    page.get_by_role("button", name="Box").click()
    drag(page, RIGHT)
    until_standing(own_store, "cells", lambda now: now.get("other", 0) >= 3)
    saved(page)
    held = []

    def hold_first(route) -> None:
        if held:
            route.continue_()
        else:
            held.append((route, route.fetch()))  # as the labels are now

    page.route("**/api/labels/cells?author=*", hold_first)
    with page.expect_request("**/api/labels/cells?author=*"):
        page.evaluate(COME_BACK)  # the page reads again what others did
    page.get_by_role("radio", name="dense").check(force=True)
    drag(page, LEFT)
    until_standing(own_store, "cells", lambda now: now.get("dense", 0) >= 3)
    saved(page)
    fit = page.get_by_role("button", name="Fit", exact=True)
    page.wait_for_function("() => !document.querySelector('[aria-label=Fit] button').disabled")
    (route, answer), *_ = held
    with page.expect_response("**/api/labels/cells?author=*"):
        route.fulfill(response=answer)
    page.wait_for_load_state("networkidle")
    assert fit.is_enabled(), page.get_by_label("Fit", exact=True).inner_text()


def test_who_may_only_look_sees_labels_and_is_told_why_there_is_no_marking(
    own_store, serve_store, open_page, screenshot
):
    token = own_store.tokens.create("eve", role="read")
    own_store.tokens.create("boss", role="admin")
    address = f"{serve_store(own_store).url}/#/slides/{SLIDE}?panel=teach&task={TASK}"
    page = open_page(address, may_fail="401")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Open").click()
    page.get_by_text("Marking needs the role “label”").wait_for()
    page.get_by_text("dense nuclei").first.wait_for()
    assert page.get_by_role("button", name="Paint").count() == 0
    assert page.get_by_role("button", name="Fit", exact=True).is_disabled()
    screenshot(page, "teach-viewer")


def test_what_cannot_be_saved_is_taken_back_and_said(own_store: api.Store, serve_store, open_page):
    server = serve_store(own_store)
    page = open_page(f"{server.url}/#/slides/{SLIDE}?panel=teach&task={TASK}", may_fail="ERR_|502|[Ff]ailed to load")
    page.get_by_role("button", name="Box").click()
    before = standing(own_store, TASK)
    server.stop()
    drag(page, LEFT)
    page.get_by_role("tabpanel").get_by_role("alert").filter(has_text="does not answer").wait_for()
    server.start()
    page.locator(".offline").wait_for(state="detached")
    assert standing(own_store, TASK) == before
    drag(page, LEFT)
    page.get_by_role("tabpanel").get_by_role("alert").wait_for(state="detached")
    saved(page)
    until_standing(own_store, TASK, lambda now: sum(now.values()) > sum(before.values()))


def test_each_strip_has_its_own_bar_and_goes_with_its_task(own_store: api.Store, serve_store, open_page):
    """A strip of one task, marked with the keys of another, would label its tiles as nobody meant."""
    find = quote(f"class:{TASK},dense%20nuclei")
    page = open_page(f"{serve_store(own_store).url}/#/slides/{SLIDE}?panel=teach&task={TASK}&find={find}")
    dock = page.get_by_role("region", name="Tiles")
    found, keys = dock.get_by_label("Query before"), dock.get_by_role("group", name="Keys of the classes")
    found.wait_for()
    page.get_by_role("button", name="Suggest", exact=True).click()
    keys.wait_for()
    dock.get_by_role("button", name="Suggest others").wait_for()
    assert found.count() == 0
    dock.get_by_role("button", name="Like dense nuclei").click()
    found.wait_for()
    assert keys.count() == 0
    make_task(page)
    dock.get_by_role("button", name="Suggested").wait_for(state="detached")
    found.wait_for()


def test_the_only_task_stays_the_open_one_once_there_is_another(own_store: api.Store, serve_store, open_page):
    page = open_page(f"{serve_store(own_store).url}/#/slides/{SLIDE}?panel=teach")
    page.wait_for_url(f"**task={TASK}**")
    tile = own_store.collection().tiles().to_arrow().slice(0, 1).to_pylist()[0]["tile_id"]
    own_store.labels.add("other task", [{"label": "x", "tile_id": tile}], collection=own_store.collection().name)
    with page.expect_response(lambda answer: answer.url.endswith("/api/labels")):
        page.evaluate(COME_BACK)
    page.get_by_role("option", name="other task").wait_for(state="attached")
    assert page.get_by_label("Task", exact=True).input_value() == TASK


def test_two_windows_show_what_is_stored(own_store: api.Store, serve_store, open_page):
    address = f"{serve_store(own_store).url}/#/slides/{SLIDE}"
    one = open_page(f"{address}?panel=teach&task=cells", may_fail="400|404")
    make_task(one)
    other = open_page(f"{address}?panel=layers&task=cells", may_fail="404")  # of a task whose labels are all undone
    other.get_by_text("No labels on this slide yet").wait_for()
    one.get_by_role("button", name="Box").click()
    drag(one, RIGHT)
    saved(one)
    until_standing(own_store, "cells", lambda now: now.get("other", 0) >= 2)
    other.evaluate(COME_BACK)
    other.get_by_text("No labels on this slide yet").wait_for(state="detached")
    other.get_by_role("tab", name="Teach").click()
    other.get_by_role("radio", name="other").wait_for(state="attached")
    other.keyboard.press("Control+z")
    until_standing(own_store, "cells", lambda now: not now)
    one.keyboard.press("Control+z")
    one.get_by_role("tabpanel").get_by_role("alert").filter(has_text="undone already").wait_for()
    mine = one.get_by_title("0 marks of yours on tiles")
    mine.first.wait_for()  # not those that the refused step would have left
    one.wait_for_load_state("networkidle")
    assert mine.count() == 2


def test_a_head_that_was_fitted_elsewhere_is_offered_when_one_comes_back(own_store: api.Store, serve_store, open_page):
    page = open_page(f"{serve_store(own_store).url}/#/slides/{SLIDE}?panel=teach&task={TASK}")
    page.get_by_role("button", name="Fit", exact=True).wait_for()
    own_store.fit_head(TASK, positive="dense nuclei", split={"folds": 3}, name=f"{TASK}-marks")
    page.evaluate(COME_BACK)
    page.get_by_role("button", name="Fit again").wait_for()
    page.get_by_role("row", name="AUROC").wait_for()


def test_a_link_to_a_task_that_is_gone_says_so(url: str, open_page):
    page = open_page(f"{url}/#/slides/{SLIDE}?panel=teach&task=gone")
    page.get_by_text("The task gone has no labels").wait_for()
    assert page.get_by_label("Task", exact=True).input_value() == "gone"


def test_a_suggested_tile_opens_where_it_lies(own_store: api.Store, serve_store, open_page):
    page = open_page(f"{serve_store(own_store).url}/#/slides/{SLIDE}?panel=teach&task=cells")
    make_task(page)
    page.get_by_role("button", name="Suggest", exact=True).click()
    tiles = page.get_by_role("listbox", name="Suggested").get_by_role("option")
    tiles.first.wait_for()
    before = [tile.get_attribute("aria-label") for tile in tiles.all()]
    tiles.nth(1).click()
    page.wait_for_url("**frame=**")
    slide, corner = before[1].removeprefix("Tile 2, ").split(" at ")
    page.get_by_role("application", name=f"Slide {slide}").wait_for()
    assert quote(",".join(corner.split(", ")[:2]) + ",") in page.url
    assert [tile.get_attribute("aria-label") for tile in tiles.all()] == before


def test_each_collection_has_its_own_head_of_a_task(
    page_store: api.Store, own_store: api.Store, serve_store, open_page
):
    first = own_store.collection().name
    slides = Path(page_store.uri).parent / "slides" / "slides.csv"
    own_store.ingest(
        [slides], extractors="stain-texture", collections=["coarse"], tiling={"mpp": 1.0},
        execution={"in_process": True},
    )  # fmt: skip
    page = open_page(f"{serve_store(own_store).url}/#/slides/{SLIDE}?panel=teach&task={TASK}&collection={first}")
    fit, again = (page.get_by_role("button", name=name, exact=True) for name in ("Fit", "Fit again"))
    fit.click()
    again.wait_for()
    page.get_by_label("Collection").select_option("coarse")
    again.wait_for(state="detached")  # the head of the other collection knows nothing of these tiles
    fit.click()
    again.wait_for()
    fitted = {head.name: head.collection for head in own_store.heads if head.name.startswith(f"{TASK}-marks")}
    assert fitted == {f"{TASK}-marks": first, f"{TASK}-marks-2": "coarse"}
