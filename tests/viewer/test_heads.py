"""Heads on a slide: one that has not predicted it, heads for slides with attention and without; and pseudonyms."""

import csv
import re

import pytest

from embedstore import api
from tests.viewer.clicks import click_tile

from .conftest import HEAD, TASK

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SLIDE = "synthetic-02-tumour.svs"


def test_heads_that_have_not_seen_the_slide_and_heads_for_slides(
    own_store: api.Store, serve_store, open_page, tmp_path, screenshot
):
    own_store.fit_head(TASK, positive="dense nuclei", split={"folds": 3}, name="fresh")
    with (tmp_path / "grades.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["slide_id", "label"])
        rows.writerows((slide, ("low", "high")[i % 2]) for i, slide in enumerate(own_store.collection().slides))
    own_store.labels.read([tmp_path / "grades.csv"], task="grade", author="demo")
    split = {"group_by": "slide_id", "folds": 3}
    said = {}
    for model, settings in {"abmil": {"hidden": 8, "steps": 5}, "mean": {}}.items():
        head = own_store.fit_head("grade", model=model, split=split, name=model, **settings)
        head.predict()
        said[model] = next(row["label"] for row in head.predictions if row["slide_id"] == SLIDE)

    page = open_page(f"{serve_store(own_store).url}/#/slides/{SLIDE}?panel=layers", may_fail="404")
    page.get_by_label("Head").select_option("fresh")
    page.get_by_text("fresh has not predicted this slide").wait_for()
    page.get_by_role("button", name="Predict this slide").click()
    page.get_by_text("probability of dense nuclei").wait_for()
    assert {row["slide_id"] for row in own_store.head("fresh").predictions} == {SLIDE}
    page.get_by_label("Class").select_option("other")
    page.get_by_text("probability of other").wait_for()

    page.get_by_label("Head").select_option("abmil")
    page.get_by_text(f"It says {said['abmil']} of this slide").wait_for()
    page.get_by_text("attention, as rank").first.wait_for()
    screenshot(page, "attention")
    page.get_by_label("Head").select_option("mean")
    page.get_by_text(f"It says {said['mean']} of this slide").wait_for()
    page.get_by_text("so there is no heat map").wait_for()
    page.get_by_text("attention, as rank").wait_for(state="detached")
    page.get_by_role("link", name="Heads").click()
    page.get_by_text("A mean head of slides").wait_for()


def test_pseudonyms_are_all_that_the_page_knows(own_store: api.Store, serve_store, open_page, screenshot):
    collection = own_store.collection()
    collection.make_map(method="pca")
    server = serve_store(own_store, "--pseudonyms")
    page = open_page(server.url)
    heard: list[str] = []
    page.on("response", lambda answer: heard.append(answer.url))
    page.get_by_role("list", name="Slides").get_by_role("link").first.click()
    page.wait_for_url(re.compile(r"#/slides/slide-\w+\?.*zoom="))
    page.get_by_role("tab", name="Layers").click()
    page.get_by_label("Head").select_option(HEAD)
    page.get_by_text("probability of dense nuclei").wait_for()
    slide = re.search(r"slide-\w+", page.url)[0]  # any of them, as pseudonyms have another order in each store
    of_all = set.intersection(
        *({(row["x"], row["y"], row["edge_l0"]) for row in collection.tiles(slide_id=each).to_pylist()}
          for each in collection.slides)
    )  # fmt: skip
    tile = dict(zip(("x", "y", "edge_l0"), min(of_all), strict=True))
    click_tile(page, tile, page.request.get(f"{server.url}/api/slides/{slide}/deep-zoom").json())
    strip = page.get_by_role("listbox", name="Like the tile")
    strip.get_by_role("option").nth(5).wait_for()
    page.get_by_role("link", name="Map").click()
    page.get_by_role("region", name="Legend").get_by_text(re.compile("slide-")).first.wait_for()
    screenshot(page, "pseudonyms")
    page.get_by_role("link", name="Slides").click()
    page.get_by_label("Find slides").fill("slide-")
    page.get_by_role("list", name="Slides").get_by_role("link").nth(5).wait_for()
    assert heard and not [url for url in heard if "synthetic" in url]
    assert "synthetic" not in page.content()
