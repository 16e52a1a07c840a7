"""Tiles far from everything."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from embedstore.errors import ConfigError
from embedstore.search.audits.outliers import find_outliers
from embedstore.search.tile_sample import directions
from tests.search.planted import DIM, noise, plant


def clean(slides: int = 6, tiles: int = 50) -> dict[str, np.ndarray]:
    return {f"s{i}": noise(tiles, i) for i in range(slides)}


def test_nothing_is_an_outlier_where_nothing_is_planted(tmp_path: Path):
    found = find_outliers(plant(tmp_path, clean())[1], sample=0)
    assert len(found) == 0 and len(found.tiles) == 300 and found.notes == ()
    assert found.slides["outliers"].to_pylist() == [0] * 6


def test_distances_are_those_of_brute_force_over_other_slides(tmp_path: Path):
    slides = clean()
    found = find_outliers(plant(tmp_path, slides)[1], sample=0, neighbours=7)
    expected = {}
    for name, vectors in slides.items():
        others = np.concatenate([v for other, v in slides.items() if other != name]).astype(np.float16)
        search = NearestNeighbors(n_neighbors=7, metric="cosine", algorithm="brute").fit(others.astype(float))
        means = search.kneighbors(vectors.astype(np.float16).astype(float))[0].mean(axis=1)
        expected |= {(name, i): mean for i, mean in enumerate(means)}
    rows = found.tiles.to_pylist()
    given = [expected[row["slide_id"], row["y"] // 512 * 8 + row["x"] // 512] for row in rows]
    np.testing.assert_allclose([row["distance"] for row in rows], given, rtol=1e-3)
    assert [row["distance"] for row in rows] == sorted((row["distance"] for row in rows), reverse=True)
    logarithm = np.log(given)
    off = logarithm - np.median(logarithm)
    np.testing.assert_allclose([row["score"] for row in rows], off / (1.4826 * np.median(abs(off))), atol=0.01)


def test_planted_artefacts_and_a_slide_of_another_stain_are_found(tmp_path: Path):
    slides = clean(8)
    slides["s1"][4] *= -1
    slides["stain"] = noise(30, 50) * np.where(np.arange(DIM) % 2, 1, -1)
    _, collection = plant(tmp_path, slides)
    found = find_outliers(collection, sample=0)
    outliers = [row for row in found.tiles.to_pylist() if row["outlier"]]
    assert [row["x"] for row in outliers if row["slide_id"] == "s1"] == [4 * 512]
    assert {row["slide_id"] for row in outliers} == {"s1", "stain"} and len(outliers) == len(found)
    first, second, *rest = found.slides.to_pylist()
    assert first["slide_id"] == "stain" and first["share"] > 0.9 and first["tiles"] == 30
    assert (second["slide_id"], second["outliers"]) == ("s1", 1)
    assert all(row["outliers"] == 0 for row in rest)
    assert repr(found).splitlines()[0] == f"{len(found)} outliers, beyond a score of 5 (430 of 430 tiles examined)"
    assert [line.split(":")[0].strip() for line in repr(found).splitlines()[1:3]] == ["stain", "s1"]


def test_a_slide_that_is_alone_cannot_be_judged(tmp_path: Path):
    found = find_outliers(plant(tmp_path, {"a": noise(20, 0)})[1])
    assert len(found.tiles) == len(found.slides) == len(found) == 0
    assert "20 tile(s) have no tile of another slide to be compared with" in found.notes[0]


def test_ready_made_tiles_are_compared_with_their_own_folder(tmp_path: Path):
    vectors = noise(60, 0)
    vectors[7] *= -1
    found = find_outliers(plant(tmp_path, {"patches": vectors}, named=frozenset({"patches"}))[1], sample=0)
    assert [row["name"] for row in found.tiles.to_pylist() if row["outlier"]] == ["7.png"]
    assert found.tiles["distance"].to_numpy().min() > 0.01  # a tile is no neighbour of its own


def test_exact_copies_everywhere_have_no_outlier(tmp_path: Path):
    one = directions(noise(1, 0))[0]
    found = find_outliers(plant(tmp_path, {"a": np.repeat(one, 9, axis=0), "b": np.repeat(one, 9, axis=0)})[1])
    assert len(found) == 0 and found.tiles["score"].to_pylist() == [0.0] * 18


def test_refusals(tmp_path: Path):
    _, collection = plant(tmp_path, {"a": noise(5, 0)})
    for bad, said in (({"neighbours": 0}, "neighbours is 0"), ({"limit": 0}, "limit is 0"), ({"sample": -1}, "-1")):
        with pytest.raises(ConfigError, match=said):
            find_outliers(collection, **bad)
