"""Tiles spread over slides."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import ConfigError
from embedstore.search.tile_sample import sample_tiles
from embedstore.store import CollectionWriter
from tests.search.planted import noise, plant


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    slides = {"small": noise(3, 0), "middle": noise(20, 1), "large": noise(200, 2)}
    return *plant(tmp_path_factory.mktemp("sample"), slides), slides


def counts(sample) -> dict[str, int]:
    return Counter(sample.tiles["slide_id"].to_pylist())


@pytest.mark.parametrize(
    ("n", "expected"),
    [(9, (3, 3, 3)), (23, (3, 10, 10)), (63, (3, 20, 40)), (0, (3, 20, 200)), (9999, (3, 20, 200))],
)
def test_every_slide_gives_as_many_while_it_has_any(scene, n, expected):
    sample = sample_tiles(scene[1], n)
    assert counts(sample) == dict(zip(("small", "middle", "large"), expected, strict=True))
    assert (sample.candidates, sample.slides, len(sample)) == (223, 3, sum(expected))


def test_vectors_are_those_of_the_tiles_at_length_1(scene):
    _, collection, slides = scene
    sample = sample_tiles(collection, 50)
    for row, vector in zip(sample.tiles.to_pylist(), sample.vectors, strict=True):
        stored = slides[row["slide_id"]][row["y"] // 512 * 8 + row["x"] // 512].astype(np.float16).astype(float)
        np.testing.assert_allclose(vector, stored / np.linalg.norm(stored), atol=1e-6)


def test_another_seed_draws_others_and_the_same_the_same(scene):
    ids = [sample_tiles(scene[1], 50, seed=seed).tiles["tile_id"].to_pylist() for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]


def test_draws_from_some_slides_or_tiles_only(scene):
    collection = scene[1]
    assert counts(sample_tiles(collection, 10, slides=["middle", "unknown"])) == {"middle": 10}
    some = np.sort(sample_tiles(collection, 30, seed=5).tiles["tile_id"].to_numpy())
    drawn = sample_tiles(collection, 0, tile_ids=some)
    assert sorted(drawn.tiles["tile_id"].to_pylist()) == some.tolist() and drawn.candidates == 30


def test_vectors_without_a_direction_are_counted_and_left_out(tmp_path: Path):
    vectors = noise(5, 0)
    vectors[1], vectors[3, 2] = 0, np.nan
    _, collection = plant(tmp_path, {"a": vectors})
    sample = sample_tiles(collection, 0)
    assert (len(sample), len(sample.tiles), sample.left_out) == (3, 3, 2)


def test_an_empty_collection_has_an_empty_sample(tmp_path: Path):
    _, collection = plant(tmp_path, {})
    assert len(sample_tiles(collection, 10)) == 0
    with pytest.raises(ConfigError, match="sample has -1 tiles"):
        sample_tiles(collection, -1)


def test_a_slide_behind_removed_ones_is_drawn_where_it_lies(tmp_path: Path):
    slides = {name: noise(30, i) for i, name in enumerate(("a", "b", "c", "d"))}
    _, collection = plant(tmp_path, slides)
    CollectionWriter(collection).remove(["a", "c"])
    sample = sample_tiles(collection, 8, slides=["d"])
    assert counts(sample) == {"d": 8} and sample.candidates == 30
    for row, vector in zip(sample.tiles.to_pylist(), sample.vectors, strict=True):
        stored = slides["d"][row["y"] // 512 * 8 + row["x"] // 512].astype(np.float16).astype(float)
        np.testing.assert_allclose(vector, stored / np.linalg.norm(stored), atol=1e-6)
