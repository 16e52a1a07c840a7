"""Pages of tiles hold each row of their version once, whatever is committed, removed or labelled between them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from embedstore.errors import ConfigError, VersionNotFoundError
from embedstore.search.filters import filter_tiles, tile_page
from embedstore.store import Label, Store
from embedstore.store.compaction import compact
from embedstore.store.removal import remove_slides
from tests.export.prediction_scene import add_folder, grid, make_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path, {"a.svs": grid(4, 3), "b.svs": grid(3, 2), "c.svs": grid(2, 2)})


def pages(
    store: Store, where: str | None, *, between: Callable[[int], None] = lambda number: None, **settings
) -> list[int]:
    """The ids of all pages, with something done between them."""
    found, page, number = [], None, 0
    while page is None or page.following is not None:
        if page is not None:
            between(number)
            settings |= {"version": page.version, "start": page.following}
        page = tile_page(store, store.collection("toy"), where, columns=["tile_id"], limit=5, **settings)
        assert len(page.rows) <= 5
        found += page.rows["tile_id"].to_pylist()
        number += 1
    return found


def ids(store: Store, where: str | None, slide_id: str | None = None) -> list[int]:
    rows = filter_tiles(store, store.collection("toy"), where, slide_id=slide_id, columns=["tile_id"])
    return rows["tile_id"].to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", [None, "x > 0", "patient <> 'P1'", "label.t = 'yes'", "label.t = 'yes' OR slide_id = 'c.svs'", "x < 0"]
)
def test_pages_are_the_rows_of_the_filter(store: Store, where: str | None):
    store.labels.record(
        Label(task="t", label="yes", slide_id="a.svs", x=x, y=y, edge_l0=128, author="me", source="t")
        for x, y in grid(4, 2)
    )
    assert pages(store, where) == ids(store, where)
    assert pages(store, where, slide_id="a.svs") == ids(store, where, "a.svs")


@pytest.mark.parametrize("where", [None, "tissue > 0.5"])
def test_an_ingest_and_a_removal_between_pages_lose_and_double_nothing(store: Store, where: str | None):
    before, of_b = ids(store, None), set(ids(store, None, "b.svs"))

    def change(number: int) -> None:
        if number == 1:
            add_folder(store, "new", tuple("abcdefgh"))
            remove_slides(store, ["b.svs"])

    assert pages(store, where, between=change) == [tile for tile in before if tile not in of_b]
    assert len(ids(store, None)) == len(before) - len(of_b) + 8


def test_a_version_that_is_forgotten_is_told_of(store: Store):
    def forget(number: int) -> None:
        add_folder(store, "new", ("a",))
        compact(store, keep_s=0)

    with pytest.raises(VersionNotFoundError, match=r"'toy' has no version .* any more; .* from its beginning"):
        pages(store, None, between=forget)


def test_an_unknown_column_is_refused(store: Store):
    with pytest.raises(ConfigError, match="tiles have no column 'colour'"):
        tile_page(store, store.collection("toy"), None, columns=["colour"], limit=5)
