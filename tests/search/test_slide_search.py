"""Slides like a slide."""

from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import ConfigError, QueryError, SlideNotInStoreError
from embedstore.progress import Progress
from embedstore.search import slide_search
from embedstore.search.slide_search import choose_representatives, similar_slides
from embedstore.search.tile_sample import directions
from tests.marks import slow
from tests.search.planted import DIM, noise, plant

KINDS = np.linalg.qr(np.random.default_rng(1).normal(size=(DIM, DIM)))[0][:6] * 12


def mixed(kinds: tuple[int, ...], tiles: int, seed: int) -> np.ndarray:
    """Tiles of some kinds of tissue, in turn."""
    return noise(tiles, seed) + KINDS[np.array(kinds)[np.arange(tiles) % len(kinds)]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    rng = np.random.default_rng(0)
    slides = {"q": mixed((0, 1, 2), 60, 99), "like": mixed((0, 1, 2), 50, 98)}
    for i in range(20):
        kinds = tuple(rng.choice(6, rng.integers(1, 4), replace=False).tolist())
        slides[f"s{i:02}"] = mixed(kinds, int(rng.integers(5, 80)), i)
    patients = {slide: "P0" if slide in ("q", "like") else f"P{i}" for i, slide in enumerate(slides)}
    store, collection = plant(tmp_path_factory.mktemp("slides"), slides, patients=patients)
    return store, collection, slides


def brute_force(slides: dict[str, np.ndarray], slide: str, n: int) -> list[tuple[float, str]]:
    unit = {name: directions(vectors.astype(np.float16))[0].astype(np.float64) for name, vectors in slides.items()}
    queries = unit[slide][choose_representatives(directions(slides[slide].astype(np.float16))[0], n)[0]]
    return sorted(
        (float(np.median([min(1 - query @ tile for tile in tiles) for query in queries])), name)
        for name, tiles in unit.items()
        if name != slide
    )


def test_the_same_slide_under_another_name_is_at_zero_and_not_below(tmp_path):
    tiles = mixed((0, 1, 2), 60, 5)
    store, collection = plant(tmp_path, {"q": tiles, "same": tiles})
    distance = similar_slides(store, collection, "q", k=1, representatives=8)["distance"][0].as_py()
    assert 0 <= distance < 1e-6


@pytest.mark.parametrize(("k", "n"), [slow(1, 24), (5, 7), slow(50, 24)])
def test_ranks_as_comparing_all_tiles_of_all_slides(scene, k, n):
    store, collection, slides = scene
    expected = brute_force(slides, "q", n)[:k]
    reports: list[Progress] = []
    found = similar_slides(store, collection, "q", k=k, representatives=n, on_progress=reports.append)
    assert found["slide_id"].to_pylist() == [name for _, name in expected]
    np.testing.assert_allclose(found["distance"].to_numpy(), [distance for distance, _ in expected], atol=1e-5)
    assert found["rank"].to_pylist() == list(range(1, len(expected) + 1))
    assert found["tiles"].to_pylist() == [len(slides[name]) for name in found["slide_id"].to_pylist()]
    assert found.schema == slide_search.COLUMNS
    assert [each.done for each in reports] == list(range(1, len(reports) + 1)) and len(reports) >= len(expected)


def test_ranks_the_same_with_few_tiles_fetched(scene, monkeypatch):
    """Slides that were not among the tiles fetched count by a bound, which the full comparison then replaces."""
    store, collection, slides = scene
    monkeypatch.setattr(slide_search, "FETCH", 40)
    found = similar_slides(store, collection, "q", k=3)
    assert found["slide_id"].to_pylist() == [name for _, name in brute_force(slides, "q", 24)[:3]]
    assert (found["coverage"].to_numpy() < 1).any()


def test_finds_the_slide_of_the_same_tissues_where_a_mean_vector_would_not(tmp_path: Path):
    """One slide of two tissues, one of these two in other proportions, and one of a tissue between the two."""
    a, b = KINDS[:2]
    slides = {
        "q": noise(60, 1) + np.where(np.arange(60)[:, None] < 30, a, b),
        "same": noise(60, 2) + np.where(np.arange(60)[:, None] < 5, a, b),
        "between": noise(60, 3) + (a + b) / 2,
    }
    store, collection = plant(tmp_path, slides)
    mean = {name: vectors.mean(axis=0) / np.linalg.norm(vectors.mean(axis=0)) for name, vectors in slides.items()}
    assert mean["q"] @ mean["between"] > mean["q"] @ mean["same"]
    assert similar_slides(store, collection, "q")["slide_id"].to_pylist() == ["same", "between"]


def test_filters_and_exclusion_of_the_patient(scene):
    store, collection, slides = scene
    everyone = similar_slides(store, collection, "q", k=50)
    assert everyone["slide_id"][0].as_py() == "like" and everyone["patient"][0].as_py() == "P0"
    others = similar_slides(store, collection, "q", k=50, exclude_same_patient=True)
    assert set(others["slide_id"].to_pylist()) == set(slides) - {"q", "like"}
    some = similar_slides(store, collection, "q", where="patient IN ('P0', 'P5', 'P6')")
    assert set(some["slide_id"].to_pylist()) == {"like", "s03", "s04"}
    assert len(similar_slides(store, collection, "q", where="patient = 'nobody'")) == 0
    for same in ("\"patient\" = 'P5'", "slide.patient = 'P5'", "PATIENT = 'P5' AND slide_id LIKE 's%'"):  # as for tiles
        assert similar_slides(store, collection, "q", where=same)["slide_id"].to_pylist() == ["s03"]


@pytest.mark.slow
def test_same_in_same_out(scene):
    store, collection, _ = scene
    assert similar_slides(store, collection, "q").equals(similar_slides(store, collection, "q"))


def test_refusals(scene, tmp_path: Path):
    store, collection, _ = scene
    with pytest.raises(ConfigError, match="k is 0"):
        similar_slides(store, collection, "q", k=0)
    with pytest.raises(ConfigError, match="representatives is 0"):
        similar_slides(store, collection, "q", representatives=0)
    with pytest.raises(SlideNotInStoreError, match="no tile of slide 'nowhere'"):
        similar_slides(store, collection, "nowhere")
    with pytest.raises(ConfigError, match=r"no column 'colour' .* of its slide: .*patient"):
        similar_slides(store, collection, "q", where="colour = 'red'")
    store, collection = plant(tmp_path, {"a": noise(5, 0), "b": noise(5, 1)})
    with pytest.raises(QueryError, match="the patient of slide 'a' is not known"):
        similar_slides(store, collection, "a", exclude_same_patient=True)


def test_representatives_cover_rare_tissue_and_say_how_many_they_stand_for():
    kind = np.array([0] * 200 + [1] * 50 + [2])  # of the last there is one tile
    vectors, _ = directions(np.random.default_rng(3).normal(size=(251, DIM)) * 0.1 + KINDS[kind])
    chosen, sizes = choose_representatives(vectors, 3)
    assert kind[chosen].tolist() == [0, 1, 2] and sizes.tolist() == [200, 50, 1]


def test_representatives_are_fewer_where_fewer_tiles_differ():
    vectors, _ = directions(np.repeat(KINDS[:2], 30, axis=0))
    chosen, sizes = choose_representatives(vectors, 24)
    assert len(chosen) == 2 and sizes.tolist() == [30, 30]
    assert choose_representatives(vectors[:1], 24)[0].tolist() == [0]
