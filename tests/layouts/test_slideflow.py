"""Bags of slideflow: centres become corners, and what is damaged is the slide's error."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from embedstore.errors import FeatureFileError
from embedstore.layouts import FeatureConfig, SlideFacts, layout_named, layout_of, place_tiles, slideflow, tile_facts
from tests.layouts.files import places, vectors

SLIDE = SlideFacts(mpp=0.25)


def write_bag(folder: Path, slide: str, *, tiles: int = 6, tile_um: float | str = 128, edge_l0: int = 512) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(torch.from_numpy(vectors(tiles)), folder / f"{slide}.pt")
    np.savez(folder / f"{slide}.index.npz", places(tiles, edge_l0) + edge_l0 // 2)
    extractor = {"class": "slideflow.model.extractors.uni.UNIFeatures", "kwargs": {}}
    config = {"extractor": extractor, "normalizer": None, "num_features": 8, "tile_px": 256, "tile_um": tile_um}
    (folder / "bags_config.json").write_text(json.dumps(config))


def opened(folder: Path, slide: SlideFacts = SLIDE):
    layout = layout_named("slideflow")
    (entry,) = layout.slides(folder)
    return layout.open(entry, slide)


@pytest.mark.parametrize(("tile_um", "mpp"), [(128, 0.5), ("20x", 0.5)])
def test_centres_become_corners(tmp_path, tile_um, mpp):
    write_bag(tmp_path, "a", tile_um=tile_um)
    assert layout_of(tmp_path).name == "slideflow"
    with opened(tmp_path) as features:
        facts = tile_facts("a", features, FeatureConfig(), SLIDE)
        assert (facts.extractor, facts.tile_px, facts.mpp) == ("UNIFeatures", 256, mpp)
        placed = place_tiles("a", features, FeatureConfig(), SLIDE, facts)
        np.testing.assert_array_equal(placed.xy_l0, places(6))
        np.testing.assert_array_equal(features.read(0, 6), vectors(6))
        assert placed.edge_l0 == 512


def test_an_odd_edge_is_cut_as_slideflow_cuts_it(tmp_path):
    write_bag(tmp_path, "a", tile_um=302, edge_l0=605)
    with opened(tmp_path, SlideFacts(mpp=0.499)) as features:
        facts = tile_facts("a", features, FeatureConfig(), SLIDE)
        placed = place_tiles("a", features, FeatureConfig(), SlideFacts(mpp=0.499), facts)
        np.testing.assert_array_equal(placed.xy_l0, places(6, 605))
        assert placed.edge_l0 == 605


def test_without_the_resolution_of_the_slide_it_says_what_to_give(tmp_path):
    write_bag(tmp_path, "a")
    with opened(tmp_path, SlideFacts()) as features:
        with pytest.raises(FeatureFileError, match="--slides, or --slide-mpp"):
            tile_facts("a", features, FeatureConfig(), SlideFacts())
        facts = tile_facts("a", features, FeatureConfig(), SlideFacts(mpp=0.5))
        with pytest.raises(FeatureFileError, match="--slides, or --slide-mpp"):
            place_tiles("a", features, FeatureConfig(), SlideFacts(), facts)


def _code(folder: Path) -> None:
    torch.save({"a": print}, folder / "a.pt")


def _shorter(folder: Path) -> None:
    np.savez(folder / "a.index.npz", places(4))


def _objects(folder: Path) -> None:
    np.savez(folder / "a.index.npz", np.array([{"a": 1}] * 6, object))


def _cut(folder: Path) -> None:
    file = folder / "a.index.npz"
    file.write_bytes(file.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_code, "could run code"),
        (_shorter, "6 vectors and 4 places"),
        (_objects, "cut short or damaged"),
        (_cut, "cut short or damaged"),
        (lambda folder: (folder / "a.index.npz").unlink(), r"has no a\.index\.npz"),
        (lambda folder: (folder / "a.pt").unlink(), "coordinates .* but no features"),
        (lambda folder: (folder / "bags_config.json").write_text("{"), "metadata cannot be read"),
    ],
)
def test_what_is_damaged_is_the_slides_error(tmp_path, damage, reason):
    write_bag(tmp_path, "a")
    damage(tmp_path)
    with pytest.raises(FeatureFileError, match=reason):
        opened(tmp_path)


def test_an_index_that_unpacks_to_more_than_it_should_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(slideflow, "MOST_TILES", 1000)
    write_bag(tmp_path, "a")
    with zipfile.ZipFile(tmp_path / "a.index.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", bytes(100_000))
    with pytest.raises(FeatureFileError, match="claims more places"):
        opened(tmp_path)
