"""What can be pressed lies on the screen, and nothing covers it: on wide and narrow ones, with long names."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from embedstore import api
from tests.viewer.conftest import HEAD, TASK, serving

pytestmark = [pytest.mark.slow, pytest.mark.browser]

LONG = "2024-11-07_prélèvement-cutané_patient-000123_bloc-A_coupe-04_HES_numérisée-deux-fois_皮膚標本-final.svs"
LONG_TASK = "Epidermis and appendages, told apart from connective tissue and from fat (№ 7)"
LONG_CLASS = "Bindegewebe mit Anhangsgebilden und allem, was sonst noch rosa ist"
SLIDE = f"slides/{quote(LONG)}"
FOUND = f"find={quote(f'class:{TASK},dense%20nuclei')}"
PLACES = {
    "wall": "slides", "filter": f"slides?where={quote('patinet = 1')}",
    "sheet": f"slides?about={quote(LONG)}", "layers": f"{SLIDE}?panel=layers&head={HEAD}&task={TASK}",
    "find": f"{SLIDE}?panel=find&{FOUND}", "teach": f"{SLIDE}?panel=teach&task={quote(LONG_TASK)}",
    "map": f"map?task={quote(LONG_TASK)}", "heads": f"heads?head={HEAD}",
}  # fmt: skip
#: Controls that lie beside the screen, or under something else, once their own scroller has brought them up.
OUT_OF_REACH = """() => {
  const found = [];
  for (const each of document.querySelectorAll('button, a[href], select, input, summary')) {
    if (!each.checkVisibility({ visibilityProperty: true }) || each.closest('.visually-hidden')) continue;
    each.scrollIntoView({ block: 'nearest' });
    for (let above = each.parentElement; above; above = above.parentElement) above.scrollLeft = 0;
    const { left, right, top, bottom } = each.getBoundingClientRect();
    const over = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    const label = each.closest('label');
    const reached = over && (each.contains(over) || (label && label.contains(over)));
    if (left < -1 || right > innerWidth + 1 || !reached)
      found.push([each.outerHTML.slice(0, 160), Math.round(left), Math.round(right), over?.outerHTML.slice(0, 80)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def long_names(page_store: api.Store, _environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a store is served that has a slide, a task and classes of long names."""
    folder = tmp_path_factory.mktemp("long")
    store = api.open(shutil.copytree(page_store.uri, folder / "store"))
    slide = sorted(Path(page_store.uri).parent.glob("slides/*.svs"))[1]
    shutil.copy(slide, folder / LONG)
    store.ingest([folder / LONG], extractors="stain-texture", execution={"in_process": True})
    collection = store.collection()
    tiles = collection.tiles(where=f"slide_id = '{LONG}'").to_arrow()["tile_id"].to_pylist()
    labels = [{"label": (LONG_CLASS, "Fett")[i % 2], "tile_id": tile} for i, tile in enumerate(tiles[:4])]
    store.labels.add(LONG_TASK, labels, collection=collection.name)
    store.head(HEAD).predict()
    collection.make_map(method="pca")
    with serving(store, folder) as server:
        yield server.url


@pytest.mark.parametrize("size", [(1440, 900), (1024, 768), (390, 844)], ids=["wide", "narrow", "phone"])
def test_whatever_can_be_pressed_is_in_reach(long_names: str, open_page, screenshot, size: tuple[int, int]):
    page = open_page(long_names, size=size, may_fail="400 .*patinet")
    beyond = {}
    for name, place in PLACES.items():
        page.evaluate("place => { location.hash = '#/' + place }", place)
        page.wait_for_load_state("networkidle")
        page.wait_for_function("() => !document.querySelector('[role=status]')?.textContent.includes('Loading')")
        if name == "teach":
            page.get_by_role("button", name="Suggest", exact=True).click()
            page.get_by_role("listbox", name="Suggested").wait_for()
        screenshot(page, f"{name}-{size[0]}")
        if found := page.evaluate(OUT_OF_REACH):
            beyond[name] = found
        if name in ("layers", "find", "teach"):
            slide = page.get_by_role("application").bounding_box()
            assert slide["width"] * slide["height"] > 0.2 * size[0] * size[1], (name, slide)
    assert not beyond
