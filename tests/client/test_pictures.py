"""What a service finds is shown as what a store finds: pictures, pages and files of QuPath."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import embedstore
from embedstore.errors import EmbedStoreError
from tests.client.served import served
from tests.client.served_by import connect_by
from tests.service import hidden_scene

SLIDE = "amberford/amber-1.svs"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory):
    tables = hidden_scene.build(tmp_path_factory.mktemp("pictures"))
    with served(tables.uri) as socket, connect_by(socket) as remote:
        yield embedstore.open(tables.uri), remote


def alike(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures differ no more than JPEG makes them."""
    difference = np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32))
    return one.size == other.size and one.mode == other.mode and float(difference.mean()) < 4


@pytest.mark.slow
def test_pictures_are_those_of_the_store(stores):
    local, remote = (store.collection() for store in stores)
    rows = local.tiles(slide_id=SLIDE, limit=3).to_pylist()
    for one, other in zip(local.pictures(rows), remote.pictures(rows), strict=True):
        assert alike(one, other)
    assert alike(*(store.tile_picture(store.tile(rows[0]["tile_id"])) for store in stores))
    assert alike(local.contact_sheet(tiles=5, seed=3), remote.contact_sheet(tiles=5, seed=3))
    proposed = [collection.suggest(n=3) for collection in (local, remote)]
    sheets = [each.contact_sheet(found) for each, found in zip((local, remote), proposed, strict=True)]
    assert alike(*sheets) and sheets[0].size == local.contact_sheet(tiles=3).size


@pytest.mark.slow
def test_neighbours_are_shown_and_written_as_by_the_store(stores, tmp_path: Path):
    shown, files = [], []
    for number, store in enumerate(stores):
        collection = store.collection()
        tile = collection.tiles(slide_id=SLIDE, limit=1)["tile_id"][0]
        result = collection.search(tile, k=4, exclude_same="slide")
        shown.append(result.show(columns=3, tile_px=64))
        folder = tmp_path / str(number)
        result.export(folder / "page.html")
        result.export(folder / "rows.json")
        written = result.export_files(montage=folder / "m.png", geojson=folder / "qupath")
        assert "data:image/jpeg" in result._repr_html_() and "slide not at hand" not in result._repr_html_()
        files.append(
            {
                str(path.relative_to(folder)): json.loads(path.read_text()) if "json" in path.suffix else path.suffix
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
        )
        assert len(written.paths) == len(set(result["slide_id"])) + 1
    assert alike(*shown) and files[0] == files[1]


@pytest.mark.slow
def test_an_image_of_this_machine_is_sent(stores, tmp_path: Path):
    Image.new("RGB", (300, 300), "pink").save(tmp_path / "query.png")
    for query in (tmp_path / "query.png", str(tmp_path / "gone.png"), np.zeros((300, 300), np.uint8)):
        errors = []
        for store in stores:
            with pytest.raises(EmbedStoreError) as refused:  # nothing loads the extractor of this scene
                store.collection().query_by_image(query)
            errors.append(type(refused.value))
        assert errors[0] is errors[1]
