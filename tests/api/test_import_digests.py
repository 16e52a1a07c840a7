"""What follows from whether it is known which weights made imported vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedstore
from embedstore.api import Collection
from embedstore.errors import CollectionMismatchError, ConfigError
from synthetic_slides.pyramid import write_pyramid
from tests.layouts.files import write_trident

EXTRACTOR = "colour-12"


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides of noise, 512 x 512 pixels."""
    folder = tmp_path_factory.mktemp("slides")
    for number, name in enumerate(("a.tiff", "b.tiff")):
        pixels = np.random.default_rng(number).integers(0, 255, (512, 512, 3), np.uint8)
        write_pyramid(folder / name, [pixels[:256], pixels[256:]], size_px=(512, 512), mpp=0.5)
    return folder


@pytest.fixture(scope="module")
def ingested(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """What the extractor itself makes of slide a."""
    store = embedstore.create(tmp_path_factory.mktemp("ingested") / "store")
    _ingest(store, slides / "a.tiff")
    return store.collection()


@pytest.fixture
def job(ingested: Collection, tmp_path: Path) -> Path:
    """A job of TRIDENT with those vectors."""
    tiles = ingested.tiles().to_pylist()
    corners = np.array([(tile["x"], tile["y"]) for tile in tiles])
    vectors = ingested.vectors().astype(np.float32)
    write_trident(
        tmp_path / "job", "a", encoder=EXTRACTOR, edge_l0=tiles[0]["edge_l0"], features=vectors, coords=corners,
        level0_width=512, level0_height=512, patch_size=ingested.tiling.tile_px,
    )  # fmt: skip
    return tmp_path / "job"


def _ingest(store: embedstore.Store, slides: Path, **options: Any) -> None:
    settings = {"extractors": EXTRACTOR, "tissue": {"method": "all"}, "execution": {"in_process": True}}
    store.ingest(slides, **{**settings, **options})


@pytest.mark.slow
def test_an_import_with_weights_is_the_collection_that_ingest_would_make(
    job: Path, slides: Path, ingested: Collection, tmp_path: Path
):
    store = embedstore.create(tmp_path / "store")
    assert not len(store.import_features(job, extractor=EXTRACTOR, weights="published", slides=slides))
    collection = store.collection()
    assert (collection.name, collection.record.extractor) == (ingested.name, ingested.record.extractor)
    assert collection.record.imported["tool"] == "TRIDENT"
    np.testing.assert_array_equal(collection.vectors(), ingested.vectors())
    _ingest(store, slides)  # the other slide, into the same collection
    assert collection.slides == {"a.tiff": 4, "b.tiff": 4}
    picture = np.asarray(collection.pictures(collection.tiles(limit=1))[0])
    found = collection.search(collection.query_by_image(picture), k=1)
    assert found.to_pylist()[0]["distance"] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.slow
def test_vectors_of_unknown_weights_stay_by_themselves(job: Path, slides: Path, tmp_path: Path):
    store = embedstore.create(tmp_path / "store")
    store.import_features(job, collection="one")
    store.import_features(job, collection="two")
    one, two = (store.collection(name).record.extractor.ref for name in ("one", "two"))
    assert one.digest != two.digest and not one.is_known and "weights that are not known" in str(one)
    with pytest.raises(CollectionMismatchError, match="weights made them is not known"):
        store.collection("one").query_by_image(np.zeros((256, 256, 3), np.uint8))
    with pytest.raises(CollectionMismatchError, match="only --weights of `embedstore import` says"):
        _ingest(store, slides, collections=["one"])
    with pytest.raises(CollectionMismatchError, match="only --weights of `embedstore import` says"):
        store.import_features(job, extractor=EXTRACTOR, weights="published", collection="one")


@pytest.mark.slow
def test_a_collection_of_another_length_is_refused_before_weights_are_fetched(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("embedstore.extractors.networks.weights.find_weights", lambda spec: pytest.fail("fetched"))
    store = embedstore.create(tmp_path / "store")
    _ingest(store, slides, collections=["one"])
    tiling = {"tile_px": store.collection("one").tiling.tile_px, "mpp": store.collection("one").tiling.mpp}
    for extractor, told in (("dinov2-s", "12 dimensions, by .*, and dinov2-s gives 384"), ("resnet18", "gives 512")):
        with pytest.raises(CollectionMismatchError, match=told):
            _ingest(store, slides, extractors=extractor, collections=["one"], tiling=tiling)
    with pytest.raises(CollectionMismatchError, match=r"tiling.mpp is .* there and 2.0 here"):
        _ingest(store, slides, extractors="dinov2-s", collections=["one"], tiling={**tiling, "mpp": 2.0})


@pytest.mark.slow
def test_weights_of_another_extractor_are_refused(tmp_path: Path):
    store, job = embedstore.create(tmp_path / "store"), tmp_path / "job"
    write_trident(job, "a")
    with pytest.raises(CollectionMismatchError, match="12 dimensions, and the files hold 8"):
        store.import_features(job, extractor=EXTRACTOR, weights="published")
    with pytest.raises(CollectionMismatchError, match="384 dimensions, and the files hold 8"):  # nothing is fetched
        store.import_features(job, extractor="dinov2-s", weights="published")
    with pytest.raises(CollectionMismatchError, match="512 dimensions, and the files hold 8"):
        store.import_features(job, extractor="resnet18", weights="published")
    with pytest.raises(ConfigError, match="without --extractor"):
        store.import_features(job, weights="published")
