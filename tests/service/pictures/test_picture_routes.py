"""The routes of pictures: what they show, to whom, and what they answer where there is nothing to show."""

import io
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from embedstore.extractors import ExtractorConfig, load_extractor
from embedstore.search import image_query
from embedstore.service.pictures import Picture, Pictures, SlideFile, uploads
from embedstore.service.service import Service
from embedstore.slides import open_slide
from embedstore.slides.image_file import decode_image
from embedstore.store import SlideRow, Store
from embedstore.store.removal import remove_slides
from tests.search.queries.query_scene import add_slide, image_collection
from tests.service.clients import client_of
from tests.slides.drawings import damage_tile, tissue_picture, write_tiff

TILE = 32
JPEG = "image/jpeg"


def make_scene(folder: Path) -> Store:
    """A slide of 700×530 px, a damaged one, one that is gone, and a folder; with vectors of their colours."""
    config = ExtractorConfig(ref="colour-12", tile_px=TILE)
    extractor = load_extractor(config, device="cpu")
    store, collection = image_collection(folder, extractor, config)
    paths = {name: folder / "slides" / name for name in ("case 1/a.svs", "damaged.svs", "gone.svs")}
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if name != "gone.svs":
            write_tiff(path, tissue_picture(700, 530), factors=(1, 2), mpp=0.5)
    damage_tile(paths["damaged.svs"], page=0, index=0)
    pixels = np.random.default_rng(0).integers(0, 256, (6, TILE, TILE, 3), np.uint8)
    for name in paths:
        add_slide(store, collection, name, extractor.embed(pixels), [(32 * i, 64) for i in range(6)], edge_l0=TILE)
    tiles = folder / "tiles"
    tiles.mkdir()
    Image.fromarray(pixels[0]).save(tiles / "t.png")
    add_slide(store, collection, "T", extractor.embed(pixels[:1]), names=("t.png",))
    rows = [SlideRow(slide_id=name, path=str(path), kind="wsi", slide_mpp=0.5) for name, path in paths.items()]
    store.ledger.record([*rows, SlideRow(slide_id="T", path=str(tiles), kind="tiles")], [])
    return store


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_scene(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def seen(scene: Store) -> Iterator[TestClient]:
    with client_of(scene) as client:
        yield client


def tile_ids(store: Store, slide_id: str) -> list[int]:
    return store.collection("toy").tiles(where=f"slide_id = '{slide_id}'", columns=["tile_id"])["tile_id"].to_pylist()


@pytest.mark.slow
def test_a_viewer_finds_its_way_through_a_slide(seen: TestClient, scene: Store):
    facts = seen.get("/api/slides/case 1/a.svs/deep-zoom").json()
    assert (facts["size_l0"], facts["bounds_l0"], facts["mpp"]) == ([700, 530], [0, 0, 700, 530], 0.5)
    assert (facts["min_level"], facts["max_level"], facts["tile_px"], facts["overlap_px"]) == (0, 10, 512, 0)
    assert (facts["vendor"], facts["magnification"], facts["levels"]) == (
        "aperio", 40.0, [[700, 530, 1.0], [350, 265, 2.0]],
    )  # fmt: skip
    answer = seen.get("/api/slides/case 1/a.svs/deep-zoom.dzi")
    image = ElementTree.fromstring(answer.text)
    assert image.attrib == {"Format": "jpeg", "Overlap": "0", "TileSize": "512"}
    assert image[0].attrib == {"Width": "700", "Height": "530"}
    tile = seen.get("/api/slides/case 1/a.svs/deep-zoom_files/10/1_0.jpeg")
    assert tile.headers["content-type"] == JPEG
    with open_slide(scene.ledger.slide("case 1/a.svs").path) as slide:  # type: ignore[union-attr]
        expected = slide.read_region((512, 0), 0, (188, 512))
    shown = np.asarray(Image.open(io.BytesIO(tile.content)), int)
    assert shown.shape == expected.shape and np.abs(shown - expected).mean() < 4


def test_thumbnails_and_tiles(seen: TestClient, scene: Store):
    picture = seen.get("/api/slides/case 1/a.svs/thumbnail", params={"edge": 100})
    assert picture.headers["content-type"] == JPEG and Image.open(io.BytesIO(picture.content)).size == (100, 76)
    for slide_id in ("case 1/a.svs", "T"):
        answer = seen.get(f"/api/collections/toy/tiles/{tile_ids(scene, slide_id)[0]}/picture")
        assert answer.status_code == 200 and Image.open(io.BytesIO(answer.content)).size == (TILE, TILE)


def test_a_picture_that_the_client_has_is_not_sent_again(seen: TestClient):
    address = "/api/slides/case 1/a.svs/deep-zoom_files/10/0_0.jpeg"
    first = seen.get(address)
    assert first.headers["cache-control"] == "private, max-age=60, must-revalidate"
    assert "Authorization" in first.headers["vary"]
    for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}'):
        again = seen.get(address, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"") and again.headers["etag"] == first.headers["etag"]
    assert seen.get(address, headers={"If-None-Match": '"x"'}).content == first.content


def test_a_slide_that_was_removed_is_not_shown_from_any_cache(tmp_path: Path):
    store = make_scene(tmp_path)
    tile = tile_ids(store, "case 1/a.svs")[0]
    addresses = [
        f"/api/slides/case 1/a.svs/{what}" for what in ("deep-zoom", "thumbnail", "deep-zoom_files/10/0_0.jpeg")
    ] + [f"/api/collections/toy/tiles/{tile}/picture"]
    with client_of(store) as client:
        tags = [client.get(address).headers.get("etag", "") for address in addresses]
        pictures: Pictures = client.app.state.service.pictures  # type: ignore[attr-defined]
        assert pictures.cache.held_bytes > 0 and len(pictures.open_slides) == 1
        remove_slides(Store.open(store.uri), ["case 1/a.svs"])
        for address, tag in zip(addresses, tags, strict=True):
            for headers in ({}, {"If-None-Match": tag}):
                assert client.get(address, headers=headers).status_code == 404, address
        client.get("/api/slides/gone.svs/thumbnail")  # the next who asks for any picture
        assert pictures.cache.held_bytes == 0 and len(pictures.open_slides) == 0


@pytest.mark.parametrize(
    ("path", "status", "kind", "words"),
    [
        ("slides/none.svs/thumbnail", 404, "SlideNotInStoreError", "no slide 'none.svs'"),
        ("slides/gone.svs/thumbnail", 404, "SlideNotFoundError", "slide 'gone.svs' is no longer where it was"),
        ("slides/T/thumbnail", 404, "PictureNotFoundError", "slide 'T' is a folder of ready-made tiles"),
        ("slides/T/deep-zoom", 404, "PictureNotFoundError", "its tiles have"),
        ("slides/damaged.svs/deep-zoom_files/10/0_0.jpeg", 502, "RegionReadError", "slide 'damaged.svs', level 0"),
        ("slides/case 1/a.svs/deep-zoom_files/10/2_0.jpeg", 404, "PictureNotFoundError", "no tile in column 2, row 0"),
        ("slides/case 1/a.svs/deep-zoom_files/11/0_0.jpeg", 404, "PictureNotFoundError", "no deep-zoom level 11"),
        ("slides/case 1/a.svs/deep-zoom_files/-1/0_0.jpeg", 404, "PictureNotFoundError", "no deep-zoom level -1"),
        ("slides/case 1/a.svs/deep-zoom_files/10/x_0.jpeg", 422, "ValidationError", "path.column"),
        ("slides/case 1/a.svs/thumbnail?edge=100000", 422, "ValidationError", "query.edge"),
        ("collections/toy/tiles/7/picture", 404, "TileNotFoundError", "no tile 7 in collection 'toy'"),
        ("collections/toy/tiles/99999999999999999999/picture", 404, "TileNotFoundError", "64 bits"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(seen: TestClient, scene: Store, path, status, kind, words):
    answer = seen.get(f"/api/{path}")
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, kind) and words in error["message"], error
    assert str(Path(scene.uri).parent) not in answer.text


@pytest.mark.slow
def test_a_wall_of_thumbnails_does_not_hold_a_search_up(scene: Store, monkeypatch: pytest.MonkeyPatch):
    """While every thread for pictures is taken and dozens of requests wait, a search and a picture at hand answer."""
    busy, ready, freed = threading.Semaphore(0), Pictures.thumbnail, threading.Event()

    def slow(self: Pictures, file, edge_px: int) -> Picture:
        picture = ready(self, file, edge_px)

        def make() -> bytes:
            busy.release()
            assert freed.wait(300)
            return b"picture"

        return Picture(path=picture.path, tag=picture.tag, at_hand=lambda: None, make=make)

    with client_of(scene, settings={"pictures": 2}) as client, ThreadPoolExecutor(24) as pool:
        at_hand = "/api/slides/case 1/a.svs/deep-zoom_files/10/0_0.jpeg"
        assert client.get(at_hand).status_code == 200
        monkeypatch.setattr(Pictures, "thumbnail", slow)
        slides = ("case 1/a.svs", "damaged.svs")
        wall = [pool.submit(client.get, f"/api/slides/{slides[i % 2]}/thumbnail?edge={100 + i}") for i in range(24)]
        try:
            assert busy.acquire(timeout=300) and busy.acquire(timeout=300)
            service: Service = client.app.state.service  # type: ignore[attr-defined]
            vector = np.ones(12).tolist()
            found = client.post("/api/collections/toy/search", json={"query": {"vector": vector}, "k": 1})
            assert found.status_code == 200 and client.get(at_hand).status_code == 200
            assert service.limits.pictures.borrowed_tokens == 2 and not any(each.done() for each in wall)
            assert not busy.acquire(blocking=False)  # no third is being made
        finally:
            freed.set()
        assert [each.result().status_code for each in wall] == [200] * 24


@pytest.mark.slow
def test_a_slide_that_hangs_leaves_other_slides_their_turn(scene: Store, monkeypatch: pytest.MonkeyPatch):
    hanging, freed, thumbnail = threading.Semaphore(0), threading.Event(), Pictures.thumbnail

    def hangs(self: Pictures, file, edge_px: int) -> Picture:
        picture = thumbnail(self, file, edge_px)

        def make() -> bytes:
            hanging.release()
            assert freed.wait(300)
            return picture.make()

        return replace(picture, make=make) if file.name == "damaged.svs" else picture

    monkeypatch.setattr(Pictures, "thumbnail", hangs)
    with client_of(scene, settings={"pictures": 4}) as client, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.get, f"/api/slides/damaged.svs/thumbnail?edge={100 + i}") for i in range(8)]
        try:
            assert hanging.acquire(timeout=300) and hanging.acquire(timeout=300)
            assert client.get("/api/slides/case 1/a.svs/thumbnail?edge=70").status_code == 200
            assert not hanging.acquire(blocking=False)
        finally:
            freed.set()
        assert {each.result().status_code for each in asked} == {200}


def test_a_file_system_that_hangs_does_not_hold_the_tables_up(scene: Store, monkeypatch: pytest.MonkeyPatch):
    asked, freed, stamp = threading.Semaphore(0), threading.Event(), SlideFile.stamp

    def hangs(self: SlideFile) -> str:
        asked.release()
        assert freed.wait(300)
        return stamp(self)

    monkeypatch.setattr(SlideFile, "stamp", hangs)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with client_of(scene) as client, ThreadPoolExecutor(9) as pool:
        lookups = client.app.state.service.limits.files.total_tokens  # type: ignore[attr-defined]
        wall = [pool.submit(client.get, "/api/slides/case 1/a.svs/thumbnail") for _ in range(lookups + 5)]
        try:
            assert all(asked.acquire(timeout=300) for _ in range(lookups))
            assert client.get("/api/slides").json()["total"] == 4
        finally:
            freed.set()
        assert {each.result().status_code for each in wall} == {200}


# -- images that are sent -------------------------------------------------------------------


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_an_image_is_embedded_as_python_does(seen: TestClient, scene: Store, tmp_path: Path):
    pixels = tissue_picture(3 * TILE + 5, 2 * TILE)
    (tmp_path / "a.png").write_bytes(png(pixels))
    expected = image_query(scene, scene.collection("toy"), tmp_path / "a.png", mpp=0.5)
    headers = {"Content-Type": "image/png"}
    answer = seen.post("/api/collections/toy/embed?mpp=0.5", content=png(pixels), headers=headers)
    assert answer.status_code == 200 and answer.json()["title"] == "an image (mean of 6 tiles)"
    np.testing.assert_allclose(answer.json()["vector"], expected.vector, atol=1e-6)
    service: Service = seen.app.state.service  # type: ignore[attr-defined]
    assert service.extractors.get(scene.collection("toy")) is service.extractors.get(scene.collection("toy"))


@pytest.mark.parametrize(
    ("body", "query", "status", "words"),
    [
        (b"", "", 400, "the request has no image; send the bytes"),
        (b"%PDF-1.7", "", 400, "the image is no image that can be decoded; expected PNG"),
        (png(np.zeros((TILE, TILE, 3), np.uint8)), "?mpp=2", 400, "has 2 µm/px, coarser than the collection's 0.5"),
        (png(np.zeros((9, 9, 3), np.uint8)), "?mpp=0.5", 400, "has 9×9 px; expected 32×32 or more"),
        (png(np.zeros((600, 600, 3), np.uint8)), "?mpp=0.5", 400, "covers 324 tiles of 32×32 px; expected at most 256"),
        (bytes(20_000_001), "", 413, "the image has more than 20,000,000 bytes"),
        (b"x", "?mpp=nan", 422, "query.mpp"),
    ],
    ids=["nothing", "PDF", "coarse", "small", "large", "heavy", "no resolution"],
)
def test_an_image_that_cannot_be_embedded_is_refused(
    seen: TestClient, monkeypatch: pytest.MonkeyPatch, body: bytes, query: str, status: int, words: str
):
    monkeypatch.setattr(uploads, "read_image_apart", lambda body, most_px, answer_s: decode_image(body))  # 0.3 s each
    answer = seen.post(f"/api/collections/toy/embed{query}", content=body, headers={"Content-Type": "image/png"})
    assert answer.status_code == status and words in answer.json()["error"]["message"], answer.text


@pytest.mark.slow
def test_the_function_of_a_stranger_is_run_only_if_the_service_trusts_it(tmp_path: Path):
    code = tmp_path / "toy_embed.py"
    code.write_text(
        "import numpy as np\nfrom embedstore.extractors import Extractor\n\n\nclass Toy(Extractor):\n"
        "    name, dim, tile_px, mpp, digest = 'toy', 3, 32, 0.5, 'sha256:1'\n\n"
        "    def embed(self, pixels):\n        return pixels.mean(axis=(1, 2)).astype(np.float16)\n\n\nmake = Toy\n"
    )
    config = ExtractorConfig(ref=f"{code}:make")
    store, collection = image_collection(tmp_path, load_extractor(config, device="cpu"), config)
    add_slide(store, collection, "a.svs", np.ones((1, 3)))
    body, headers = png(np.full((TILE, TILE, 3), 9, np.uint8)), {"Content-Type": "image/png"}
    for trusted, status in ((False, 400), (True, 200)):
        with client_of(store, settings={"trust_extractor": trusted}) as client:
            answer = client.post("/api/collections/toy/embed", content=body, headers=headers)
        assert answer.status_code == status, answer.text
    assert answer.json()["vector"] == pytest.approx([3**-0.5] * 3)
