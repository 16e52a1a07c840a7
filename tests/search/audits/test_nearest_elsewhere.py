"""Nearest tiles of many at once, in one pass and through an index."""

import numpy as np
import pytest

from embedstore.progress import Progress
from embedstore.search.audits import nearest_elsewhere as module
from embedstore.search.audits.nearest_elsewhere import nearest_elsewhere
from embedstore.search.tile_sample import sample_tiles
from tests.search.planted import noise, plant


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    slides = {f"s{i}": noise(30 + 7 * i, i) for i in range(5)}
    slides["s3"][4] = 0  # has no direction, and is near nothing
    return plant(tmp_path_factory.mktemp("near"), slides)[1]


def brute_force(collection, sample, excluded, k):
    everything = sample_tiles(collection, 0)
    ids, slides = everything.tiles["tile_id"].to_numpy(), np.array(everything.tiles["slide_id"].to_pylist())
    found = []
    for i, tile in enumerate(sample.tiles["tile_id"].to_pylist()):
        distance = 1 - everything.vectors.astype(float) @ sample.vectors[i]
        distance[(ids == tile) | np.isin(slides, excluded[i])] = np.inf
        order = np.argsort(distance)[:k]
        found.append((ids[order[np.isfinite(distance[order])]].tolist(), distance[order]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("path", ["one pass", "one pass, small blocks", "one by one"])
@pytest.mark.parametrize("k", [1, 9, 500])
def test_is_what_brute_force_finds(collection, monkeypatch, path, k):
    if path == "one by one":
        monkeypatch.setattr(module, "index_facts", lambda _: type("Facts", (), {"indexed": 1}))
    if path == "one pass, small blocks":
        monkeypatch.setattr(module, "_SIMILARITIES", 300)
    sample = sample_tiles(collection, 20)
    slides = sample.tiles["slide_id"].to_pylist()
    excluded = [(slide,) if i % 3 else ("s0", "s4") if i % 2 else () for i, slide in enumerate(slides)]
    reports: list[Progress] = []
    found = nearest_elsewhere(collection, sample, excluded, k=k, on_progress=reports.append)
    for table, (ids, distance) in zip(found, brute_force(collection, sample, excluded, k), strict=True):
        assert len(table) == len(ids)
        np.testing.assert_allclose(table["distance"].to_numpy(), distance[: len(ids)], rtol=1e-3)
        if path != "one by one":  # Lance compares with half precision, and may swap two that are as near
            assert table["tile_id"].to_pylist() == ids
    assert (reports[-1].done, reports[-1].total, reports[-1].unit) == (20, 20, "tiles")


def test_no_tile_asks_nothing(collection):
    assert nearest_elsewhere(collection, sample_tiles(collection, 5, slides=["none"]), [], k=3) == []
