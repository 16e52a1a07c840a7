"""Features of tiatoolbox: boxes in pixels of the network's input become places on level 0."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from embedstore.errors import FeatureFileError, LayoutError
from embedstore.layouts import FeatureConfig, SlideFacts, layout_named, layout_of, place_tiles, tile_facts
from tests.layouts.files import places, vectors
from tests.layouts.zarr_folders import write_tiatoolbox

SLIDE, CONFIG = SlideFacts(mpp=0.25), FeatureConfig(extractor="resnet50", mpp=0.5)


def write_old(folder: Path, name: str, *, heads: tuple[str, ...] = ("0",), edge_px: int = 224) -> None:
    corners = places(6, edge_px)
    np.save(folder / f"{name}.position.npy", np.concatenate([corners, corners + edge_px], axis=1))
    for seed, head in enumerate(heads):
        np.save(folder / f"{name}.features.{head}.npy", vectors(6, seed=seed))


def placed(folder: Path, slide: SlideFacts = SLIDE, **which):
    layout = layout_named("tiatoolbox")
    (entry,) = layout.slides(folder, **which)
    with layout.open(entry, slide) as features:
        facts = tile_facts(entry.slide, features, CONFIG, slide)
        assert facts.tile_px == 224
        return features.read(0, 6), place_tiles(entry.slide, features, CONFIG, slide, facts)


@pytest.mark.parametrize("version", [1, 2])
def test_boxes_are_scaled_to_level_0(tmp_path, version):
    if version == 1:
        write_old(tmp_path, "0")
    else:
        write_tiatoolbox(tmp_path / "case-1.zarr")
    layout = layout_of(tmp_path)
    assert (layout.name, layout.slides(tmp_path)[0].slide) == ("tiatoolbox", "0" if version == 1 else "case-1")
    found, tiles = placed(tmp_path)
    np.testing.assert_array_equal(found, vectors(6))
    np.testing.assert_array_equal(tiles.xy_l0, places(6, 448))
    assert tiles.edge_l0 == 448


def test_without_the_resolution_of_the_slide_it_says_what_to_give(tmp_path):
    write_tiatoolbox(tmp_path / "a.zarr")
    with pytest.raises(FeatureFileError, match="--slides, or --slide-mpp"):
        placed(tmp_path, SlideFacts())


def test_one_of_several_outputs_is_named(tmp_path):
    write_old(tmp_path, "0", heads=("0", "1"))
    with pytest.raises(LayoutError, match="2 outputs of the network: 0, 1; say which with --features 0"):
        layout_named("tiatoolbox").slides(tmp_path)
    np.testing.assert_array_equal(placed(tmp_path, features="1")[0], vectors(6, seed=1))


def test_boxes_of_several_sizes_are_refused(tmp_path):
    write_tiatoolbox(tmp_path / "a.zarr")
    zarr.open_array(tmp_path / "a.zarr" / "coordinates")[2, 2] += 9
    with pytest.raises(FeatureFileError, match="expected squares of one size"):
        placed(tmp_path)


def test_boxes_that_are_fewer_than_vectors_are_refused(tmp_path):
    write_tiatoolbox(tmp_path / "a.zarr")
    zarr.open_array(tmp_path / "a.zarr" / "coordinates").resize((4, 4))
    with pytest.raises(FeatureFileError, match="6 vectors and 4 places"):
        placed(tmp_path)
