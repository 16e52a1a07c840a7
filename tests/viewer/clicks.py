"""Clicks on a slide."""

from playwright.sync_api import Page


def click_tile(page: Page, tile: dict, slide: dict) -> None:
    """Click the middle of a tile, while the whole slide is shown.

    Args:
        page: The page, with the slide open.
        tile: With `x`, `y` and `edge_l0`.
        slide: What the route `deep-zoom` tells of the slide.
    """
    box = page.get_by_role("application").bounding_box()
    width, height = slide["size_l0"]
    scale = min(box["width"] / width, box["height"] / height)
    half = tile["edge_l0"] / 2
    page.mouse.click(
        box["x"] + box["width"] / 2 + scale * (tile["x"] + half - width / 2),
        box["y"] + box["height"] / 2 + scale * (tile["y"] + half - height / 2),
    )
