"""Tiles that are embedded again tell whether vectors are those of the extractor, before anything is written."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import embedstore
from actors.verifying import compare
from embedstore.errors import ConfigError, VerificationError
from embedstore.extractors import load_extractor
from embedstore.extractors.config import ExtractorConfig
from embedstore.slides import open_slide
from tests.layouts.files import write_trident
from tests.slides.drawings import tissue_picture, write_tiff

TILE_PX, EDGE = 32, 64
CONFIG = ExtractorConfig(ref="colour-12", tile_px=TILE_PX, mpp=0.5)


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> Path:
    """Two slides in which tiles differ."""
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate(("a", "b")):
        picture = tissue_picture(700, 530, seed=seed)
        shades = cv2.resize(np.random.default_rng(seed).uniform(0.3, 1, (9, 11, 3)), (700, 530))
        write_tiff(folder / f"{name}.svs", (picture * shades).astype(np.uint8), colours="deflate", factors=(1, 2))
    return folder


def job(folder: Path, slides: Path, *, shift: int = 0, only: str = "ab") -> Path:
    """Vectors of a tool that resizes otherwise, of tiles `shift` pixels aside for the slides `only`."""
    extractor = load_extractor(CONFIG)
    x, y = np.meshgrid(np.arange(2, 8) * EDGE, np.arange(1, 6) * EDGE)
    coords = np.stack([x.ravel(), y.ravel()], axis=1)
    over = np.stack([np.full(30, 680), np.arange(30) * 16], axis=1)  # beyond the edge, where the tool sees black
    for name in "ab":
        aside = shift if name in only else 0
        with open_slide(slides / f"{name}.svs") as slide:
            regions = [slide.read_region((int(x) + aside, int(y)), 0, (EDGE, EDGE)) for x, y in coords]
        tiles = [cv2.resize(region, (TILE_PX, TILE_PX), interpolation=cv2.INTER_CUBIC) for region in regions]
        tiles += [np.zeros((TILE_PX, TILE_PX, 3), np.uint8)] * len(over)
        features = extractor.embed(np.stack(tiles)).astype(np.float32)
        write_trident(
            folder, name, features=features, coords=np.concatenate([coords, over]), edge_l0=EDGE,
            patch_size=TILE_PX, level0_width=700, level0_height=530, encoder="colour-12",
        )  # fmt: skip
    return folder


@pytest.mark.slow
def test_vectors_of_the_extractor_pass_and_carry_its_digest(tmp_path, slides):
    store = embedstore.create(tmp_path / "store")
    result = store.import_features(
        job(tmp_path / "job", slides), extractor="colour-12", weights=CONFIG, slides=slides, verify=12
    )
    verification = result.verification
    assert len(verification.tiles) == 12 and {tile.slide_id for tile in verification.tiles} == {"a.svs", "b.svs"}
    assert verification.relative < 0.05 and min(tile.cosine for tile in verification.tiles) > 0.99
    (collection,) = store.collections
    assert collection.record.extractor.ref.digest == load_extractor(CONFIG).digest
    assert collection.record.imported["verified"]["tiles"] == 12
    tile = collection.tiles(slide_id="a.svs").to_pylist()[3]
    with open_slide(slides / "a.svs") as slide:
        image = slide.read_region((tile["x"], tile["y"]), 0, (EDGE, EDGE))
    hit = collection.search(collection.query_by_image(image, mpp=0.25), k=1).to_pylist()[0]
    assert (hit["slide_id"], hit["x"], hit["y"]) == ("a.svs", tile["x"], tile["y"])


@pytest.mark.parametrize("only", ["ab", "b"], ids=["all", "one of two slides"])
def test_vectors_of_other_tiles_stop_it_before_anything_is_written(tmp_path, slides, only):
    store = embedstore.create(tmp_path / "store")
    folder = job(tmp_path / "job", slides, shift=2 * EDGE, only=only)
    with pytest.raises(VerificationError, match=r"not those of colour-12.*nothing was written"):
        store.import_features(folder, extractor="colour-12", weights=CONFIG, slides=slides, verify=12)
    assert not store.collections and not store.slides


def test_what_cannot_be_verified_says_what_is_missing(tmp_path, slides):
    store, folder = embedstore.create(tmp_path / "store"), job(tmp_path / "job", slides)
    with pytest.raises(ConfigError, match="--weights FILE"):
        store.import_features(folder, slides=slides, verify=12)
    with pytest.raises(VerificationError, match="no slide has a file here"):
        store.import_features(folder, extractor="colour-12", weights=CONFIG, verify=12)
    with pytest.raises(ConfigError, match="4 tiles or more"):
        store.import_features(folder, extractor="colour-12", weights=CONFIG, slides=slides, verify=1)


def test_distances_are_shares_of_those_between_different_tiles():
    rng = np.random.default_rng(0)
    common, own = rng.standard_normal(64) * 20, rng.standard_normal((16, 64))  # a network whose vectors are all alike
    fresh = common + own
    cosine, relative = compare(fresh + 0.1 * rng.standard_normal(fresh.shape), fresh)
    assert cosine.min() > 0.999 and relative.max() < 0.05
    cosine, relative = compare(np.roll(fresh, 1, axis=0), fresh)
    assert cosine.min() > 0.99 and np.median(relative) > 0.8
