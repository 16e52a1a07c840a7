"""Folders of LazySlide: which vectors are meant, whether they keep to their tiles, and what damaged ones end in."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import embedstore
from embedstore.errors import FeatureFileError, LayoutError
from embedstore.layouts import FeatureConfig, SlideFacts, layout_named, layout_of, place_tiles, tile_facts
from tests.layouts.files import places, vectors
from tests.layouts.zarr_folders import PATIENT, write_lazyslide


def opened(folder: Path, **which):
    layout = layout_named("lazyslide")
    (entry,) = layout.slides(folder, **which)
    return layout.open(entry, SlideFacts())


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_vectors_keep_to_their_tiles(tmp_path, zarr_format):
    write_lazyslide(tmp_path / "ward" / "a.zarr", zarr_format=zarr_format)
    layout = layout_of(tmp_path)
    assert (layout.name, [entry.slide for entry in layout.slides(tmp_path)]) == ("lazyslide", ["ward/a"])
    with opened(tmp_path) as features:
        np.testing.assert_array_equal(np.concatenate([features.read(0, 3), features.read(3, 6)]), vectors(6))
        facts = tile_facts("a", features, FeatureConfig(), SlideFacts())
        assert (facts.extractor, facts.tile_px, facts.mpp) == ("uni", 256, 0.5)
        assert (features.facts.slide_mpp, features.facts.size_l0) == (0.25, (2048, 2048))
        placed = place_tiles("a", features, FeatureConfig(), SlideFacts(mpp=0.25), facts)
        np.testing.assert_array_equal(placed.xy_l0, places(6))
        assert placed.edge_l0 == 512


def test_one_of_several_sets_is_named(tmp_path):
    write_lazyslide(tmp_path / "a.zarr", sets={"uni_tiles": "tiles", "uni_10x_tiles": "10x_tiles"})
    with pytest.raises(LayoutError, match=r"2 sets of vectors: uni_10x_tiles, uni_tiles; say which with --features"):
        layout_named("lazyslide").slides(tmp_path)
    with opened(tmp_path, features="uni_10x_tiles") as features:
        np.testing.assert_array_equal(features.read(0, 6), vectors(6, seed=1))
        assert features.facts.extractor == "uni"
    with pytest.raises(LayoutError, match="no vectors 'conch'; it has uni_10x_tiles"):
        layout_named("lazyslide").slides(tmp_path, features="conch")


@pytest.mark.slow
def test_import_keeps_nothing_of_the_scanners_metadata(tmp_path):
    write_lazyslide(tmp_path / "in" / "a.zarr")
    result = embedstore.create(tmp_path / "store").import_features(tmp_path / "in")
    assert result.summary.done == 1
    kept = [path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert kept and not any(PATIENT.encode() in data for data in kept)


def _attribute(path: Path, name: str, value: object) -> None:
    content = json.loads(path.read_text())
    content["attributes"][name] = value
    path.write_text(json.dumps(content))


def _without_places(slide: Path) -> None:
    (slide / "shapes" / "tiles" / "shapes.parquet").unlink()


def _cut_places(slide: Path) -> None:
    file = slide / "shapes" / "tiles" / "shapes.parquet"
    file.write_bytes(file.read_bytes()[:-40])


def _other_tiles(slide: Path) -> None:
    other = write_lazyslide(slide.parent / "other", tiles=4)
    shutil.copy(other / "shapes/tiles/shapes.parquet", slide / "shapes/tiles/shapes.parquet")


def _sparse(slide: Path) -> None:
    _attribute(slide / "tables/uni_tiles/X/zarr.json", "encoding-type", "csr_matrix")


def _oblong(slide: Path) -> None:
    _attribute(slide / "zarr.json", "tile_spec", {"tiles": {"width": 256, "height": 128}})


def _elsewhere(slide: Path) -> None:
    _attribute(slide / "tables/uni_tiles/zarr.json", "instance_key", "../../X")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_without_places, "cannot be read as the places of tiles"),
        (_cut_places, "cannot be read as the places of tiles"),
        (_other_tiles, "lacks tiles that have vectors"),
        (_sparse, "expected a dense array"),
        (_oblong, "expected squares"),
        (_elsewhere, "has no column"),
        (lambda slide: shutil.rmtree(slide / "tables/uni_tiles/X"), "cannot be read"),
    ],
)
def test_what_is_damaged_is_the_slides_error(tmp_path, damage, reason):
    damage(write_lazyslide(tmp_path / "in" / "a.zarr"))
    with pytest.raises(FeatureFileError, match=reason):
        opened(tmp_path / "in")


def test_a_damaged_chunk_is_the_slides_error(tmp_path):
    chunk = write_lazyslide(tmp_path / "a.zarr") / "tables/uni_tiles/X/c/1/0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    with opened(tmp_path) as features, pytest.raises(FeatureFileError, match="vectors 4 to 6 cannot be read"):
        np.testing.assert_array_equal(features.read(0, 4), vectors(6)[:4])
        features.read(4, 6)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_pipe_in_place_of_a_chunk_is_told_at_once(tmp_path, zarr_format):
    slide = write_lazyslide(tmp_path / "a.zarr", zarr_format=zarr_format)
    chunk = slide / "tables/uni_tiles/X" / ("c/1/0" if zarr_format == 3 else "1.0")
    chunk.unlink()
    os.mkfifo(chunk)
    with opened(tmp_path) as features, pytest.raises(FeatureFileError, match=r"vectors 4 to 6 .*is a device or pipe"):
        np.testing.assert_array_equal(features.read(0, 4), vectors(6)[:4])
        features.read(4, 6)
