"""Views through a whole run, with workers killed at seeded moments: each once, beside its own tile."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.group_pipeline import GroupPipeline
from embedstore.config import RunConfig, ViewConfig
from embedstore.errors import SlideFormatError
from embedstore.store import read_views
from embedstore.tile_id import tile_ids, tile_keys
from embedstore.views.apply import with_views

from . import toys
from .scene import FAST, SLIDES, DriverKilled, Scene, assert_complete
from .toys import CONFIG, DIM, TILE_PX, ToyExtractor, ToyReader, parameters_of, plan, source

pytestmark = pytest.mark.slow

TWO = ViewConfig(count=2)
#: Chunks of five tiles with their views, as `FAST` has without.
VIEWED = dataclasses.replace(FAST, chunk_bytes=3 * FAST.chunk_bytes, in_flight_bytes=3 * FAST.in_flight_bytes)
FORGIVING = RunConfig(**{**vars(VIEWED), "max_strikes": 1000, "max_restarts": 10_000})
LENIENT = dataclasses.replace(CONFIG, reading=dataclasses.replace(CONFIG.reading, max_unreadable=0.2))


def expected_views(slide_id: str, tiles: int, config: ViewConfig = TWO) -> np.ndarray:
    """(tiles, count, DIM): each view of each tile, made and embedded by itself."""
    parameters = parameters_of(plan(source(slide_id), tiles), config)
    copies = with_views(toys.pixels_of(slide_id, 0, tiles), parameters)[:, 1:]
    return ToyExtractor().embed(copies.reshape(-1, TILE_PX, TILE_PX, 3)).reshape(tiles, config.count, DIM)


def assert_viewed(scene: Scene, slides: list[str], config: ViewConfig = TWO) -> None:
    """The slides, and no other, have each view of each tile once."""
    for name in scene.names:
        views = scene.store.views(name)
        assert views.slides() == {s: config.count * int(s.split(":")[1]) for s in slides}
        for slide in slides:
            made = plan(source(slide), int(slide.split(":")[1]))
            found = read_views(views, tile_ids(slide, tile_keys(made.xy_l0, None)))
            assert found.found.all()
            np.testing.assert_array_equal(found.vectors, expected_views(slide, len(made), config))
            np.testing.assert_array_equal(found.parameters, parameters_of(made, config))


def views_of(scene: Scene, slide_id: str) -> np.ndarray:
    """(tiles, count, DIM), as they are stored."""
    made = plan(source(slide_id), int(slide_id.split(":")[1]))
    return read_views(scene.store.views("c"), tile_ids(slide_id, tile_keys(made.xy_l0, None))).vectors


def viewed_rows(scene: Scene, slide_id: str) -> list[tuple[int, int]]:
    table = scene.store.views("c").dataset().to_table(filter=f"slide_id = '{slide_id}'")
    return list(zip(table["tile_id"].to_pylist(), table["view"].to_pylist(), strict=True))


@pytest.mark.parametrize("groups", [1, 3])
def test_every_view_is_there_once_beside_its_tile(tmp_path: Path, groups: int):
    scene = Scene(tmp_path)
    scene.run(SLIDES, views=TWO, run=VIEWED, groups=groups)
    assert_complete(scene, SLIDES)
    assert_viewed(scene, SLIDES)
    ids = tile_ids("c:40", tile_keys(plan(source("c:40"), 40).xy_l0, None)).tolist()
    assert viewed_rows(scene, "c:40") == [(tile, view) for tile in ids for view in (1, 2)]
    assert (scene.summary.tiles, scene.summary.done) == (105, 6)  # views are not tiles


@pytest.mark.parametrize("seed", range(5))
def test_workers_killed_at_random_lose_no_view_and_duplicate_none(tmp_path: Path, seed: int):
    scene = Scene(tmp_path, ("c", "d"))
    pool = scene.run(SLIDES, views=TWO, seed=seed, death_rate=0.08, run=FORGIVING)
    assert pool.deaths, "this seed killed nobody: the test shows nothing"
    assert_complete(scene, SLIDES)
    assert_viewed(scene, SLIDES)


@pytest.mark.parametrize("seed", range(4))
def test_a_driver_killed_at_random_resumes_to_the_undisturbed_views(tmp_path: Path, seed: int):
    scene, rng = Scene(tmp_path, ("c", "d")), np.random.default_rng(seed)
    for _ in range(30):
        left = int(rng.integers(1, 60))

        def countdown() -> bool:
            nonlocal left
            left -= 1
            if left < 0:
                raise DriverKilled
            return False

        try:
            scene.run(SLIDES, views=TWO, seed=seed, death_rate=0.02, run=FORGIVING, should_stop=countdown)
        except DriverKilled:
            for name in scene.names:  # whatever was cut short: no view without its tile
                assert scene.store.views(name).slides().keys() <= scene.store.collection(name).slides().keys()
            continue
        break
    else:
        scene.run(SLIDES, views=TWO, run=VIEWED)
    assert_complete(scene, SLIDES)
    assert_viewed(scene, SLIDES)


@pytest.mark.parametrize("death_rate", [0.0, 0.08])
def test_views_can_be_made_later_and_leave_the_tiles_alone(tmp_path: Path, death_rate: float):
    scene = Scene(tmp_path)
    scene.run(SLIDES)
    before = scene.store.collection("c").dataset().version
    scene.run(SLIDES[:3], views=TWO, run=FORGIVING, death_rate=death_rate, seed=3)
    assert_viewed(scene, SLIDES[:3])
    assert scene.store.collection("c").dataset().version == before
    everything = [*SLIDES, "late:9"]
    scene.run(everything, views=TWO, run=FORGIVING, death_rate=death_rate, seed=4)
    assert_complete(scene, everything)
    assert_viewed(scene, everything)
    assert set(scene.states().values()) == {"done"}
    assert {row.tiles for row in scene.store.ledger.outcomes() if row.slide_id == "c:40"} == {40}


def test_one_collection_lacks_tiles_and_another_views_alone(tmp_path: Path):
    Scene(tmp_path).run(SLIDES)
    both = Scene(tmp_path, ("c", "d"))
    both.run(SLIDES, views=TWO, run=VIEWED)
    assert_complete(both, SLIDES)
    assert_viewed(both, SLIDES)
    assert both.summary.tiles == 105


def test_complete_slides_are_not_taken_up_again(tmp_path: Path):
    scene = Scene(tmp_path)
    scene.run(SLIDES, views=TWO, run=VIEWED)
    versions = [scene.store.collection("c").dataset().version, scene.store.views("c").dataset().version]
    for views in (TWO, None):
        scene.run(SLIDES, views=views, run=VIEWED)
        assert (scene.summary.done, scene.summary.already) == (0, 6)
    assert versions == [scene.store.collection("c").dataset().version, scene.store.views("c").dataset().version]


@pytest.fixture
def repainted(monkeypatch: pytest.MonkeyPatch):
    """Say that slides look otherwise from now on."""

    def repaint() -> None:
        original = toys.pixels_of
        monkeypatch.setattr(toys, "pixels_of", lambda *which: 255 - original(*which))

    return repaint


@pytest.mark.parametrize("seed", range(4))
def test_force_replaces_tiles_and_views(tmp_path: Path, repainted, seed: int):
    scene = Scene(tmp_path)
    scene.run(["a:5", "b:7"], views=TWO, run=VIEWED)
    kept, kept_tiles = views_of(scene, "b:7"), scene.rows("c", "b:7")
    repainted()
    force = frozenset({"a:5"})
    scene.run(["a:5", "b:7"], views=TWO, run=FORGIVING, force=force, death_rate=0.1 * (seed > 0), seed=seed)
    np.testing.assert_array_equal(scene.rows("c", "a:5"), toys.expected("a:5", 5))
    np.testing.assert_array_equal(views_of(scene, "a:5"), expected_views("a:5", 5))
    np.testing.assert_array_equal(scene.rows("c", "b:7"), kept_tiles)
    np.testing.assert_array_equal(views_of(scene, "b:7"), kept)
    assert scene.store.views("c").slides() == {"b:7": 14, "a:5": 10}


def test_force_without_views_removes_the_old_views(tmp_path: Path, repainted):
    scene = Scene(tmp_path)
    scene.run(["a:5", "b:7"], views=TWO, run=VIEWED)
    repainted()
    scene.run(["a:5", "b:7"], force=frozenset({"a:5"}))
    assert scene.store.collection("c").slides() == {"b:7": 7, "a:5": 5}
    assert scene.store.views("c").slides() == {"b:7": 14}
    scene.run(["a:5", "b:7"], views=TWO, run=VIEWED)
    np.testing.assert_array_equal(views_of(scene, "a:5"), expected_views("a:5", 5))


def test_unreadable_tiles_have_no_views(tmp_path: Path):
    scene = Scene(tmp_path)
    scene.run(["holes:50"], views=TWO, run=VIEWED, config=LENIENT)
    lost = np.arange(3, 50, 10)
    ids = tile_ids("holes:50", tile_keys(plan(source("holes:50"), 50).xy_l0, None))
    found = read_views(scene.store.views("c"), ids)
    assert np.flatnonzero(~found.found).tolist() == lost.tolist()
    kept = np.setdiff1d(np.arange(50), lost)
    np.testing.assert_array_equal(found.vectors[kept], expected_views("holes:50", 50)[kept])
    assert (len(scene.store.collection("c")), len(scene.store.views("c"))) == (45, 90)
    assert [(row.tiles, row.unreadable) for row in scene.store.ledger.outcomes()] == [(45, 5)]


def test_a_slide_whose_views_fail_keeps_its_tiles_and_is_tried_again(tmp_path: Path):
    class Torn(ToyReader):
        def plan(self, one: Any) -> Any:
            if one.slide_id == "a:5":
                raise SlideFormatError("slide 'a:5' was moved")
            return super().plan(one)

    scene = Scene(tmp_path)
    scene.run(["a:5", "b:7"])
    row = scene.store.ledger.outcomes()[0]
    scene.run(["a:5", "b:7"], views=TWO, run=VIEWED, reader=Torn)
    assert scene.summary.failed == [("a:5", "slide 'a:5' was moved")]
    assert scene.states() == {"a:5": "done", "b:7": "done"}
    assert_complete(scene, ["a:5", "b:7"])
    assert_viewed(scene, ["b:7"])
    scene.run(["a:5", "b:7"], views=TWO, run=VIEWED, reader=Torn)
    before, (row, _) = row, scene.store.ledger.outcomes()
    assert row.warnings == ("without views: slide 'a:5' was moved",)
    assert row == dataclasses.replace(before, warnings=row.warnings, updated_at=row.updated_at), (
        "what is known of its tiles stays"
    )
    scene.run(["a:5", "b:7"], views=TWO, run=VIEWED)
    assert_viewed(scene, ["a:5", "b:7"])
    assert scene.store.ledger.outcomes()[0].warnings == ()


def replanned(monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """Plan so many tiles more than before, as where a tissue mask was changed."""
    original = toys.plan
    monkeypatch.setattr(toys, "plan", lambda one, tiles: original(one, tiles + more))


def test_views_are_of_the_tiles_that_are_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scene = Scene(tmp_path)
    scene.run(["a:5"])
    with monkeypatch.context() as patch:
        replanned(patch, 3)
        scene.run(["a:5"], views=TWO, run=VIEWED)
    assert_viewed(scene, ["a:5"])
    assert [(row.state, row.tiles) for row in scene.store.ledger.outcomes()] == [("done", 5)]


def test_views_that_would_be_lacking_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scene = Scene(tmp_path)
    scene.run(["a:5", "b:7"])
    with monkeypatch.context() as patch:
        replanned(patch, -2)
        scene.run(["a:5"], views=TWO, run=VIEWED)
    assert "2 of its 5 tiles in collection 'c' are not among the 3" in scene.summary.failed[0][1]
    assert scene.states() == {"a:5": "done", "b:7": "done"}
    assert scene.store.views("c").slides() == {}
    scene.run(["a:5", "b:7"], views=TWO, run=VIEWED)
    assert_viewed(scene, ["a:5", "b:7"])


def test_views_of_another_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scene, original = Scene(tmp_path), toys.plan
    scene.run(["a:5"])
    monkeypatch.setattr(toys, "plan", lambda *which: dataclasses.replace(original(*which), fingerprint="other"))
    scene.run(["a:5"], views=TWO, run=VIEWED)
    assert "from another file" in scene.summary.failed[0][1]
    assert scene.store.views("c").slides() == {}


def test_pixels_of_views_count_among_those_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen, original = [], GroupPipeline.maybe_flush

    def spy(self: GroupPipeline) -> None:
        original(self)
        seen.append(self.in_flight_bytes)

    monkeypatch.setattr(GroupPipeline, "maybe_flush", spy)
    sizes = []

    class Measured(ToyReader):
        def read(self, key: str, start: int, stop: int) -> Any:
            chunk, pixels = super().read(key, start, stop)
            sizes.append(pixels.nbytes)
            return chunk, pixels

    Scene(tmp_path).run(["big:200"], views=TWO, run=VIEWED, groups=1, readers=4, reader=Measured)
    assert max(sizes) == VIEWED.chunk_bytes
    assert VIEWED.chunk_bytes < max(seen) <= VIEWED.in_flight_bytes + VIEWED.chunk_bytes
