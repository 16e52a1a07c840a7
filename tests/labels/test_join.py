"""The join by place: each rule by an example, then all of them against a plain reading, tile by tile."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import translate

from embedstore.config import JoinConfig
from embedstore.errors import LabelError, TaskNotFoundError
from embedstore.labels import geometry
from embedstore.store import Collection, CollectionWriter, Label, SlideRow, Store, TileLocations, read_tile_locations
from tests.marks import examples

from .toy_labels import CENTRE, HALF, area, classes_of, grid, join, label, locations, row

REST = label("other", kind="rest")
box = shapely.box


def names_of(codes: np.ndarray, names: Sequence[str]) -> list[str | None]:
    return [None if code < 0 else names[code] for code in codes]


# -- areas ----------------------------------------------------------------------------------


def test_a_tile_lies_in_an_area_that_holds_its_centre():
    targets = join(
        locations({"a": row(4)}), [area("tumour", box(0, 0, 151, 100)), area("normal", box(151, 0, 349, 100))]
    )
    assert classes_of(targets) == ["tumour", "tumour", "normal", None]
    assert (targets.conflicts, targets.weak, targets.ignored, targets.missed) == (0, 0, 0, ())


def test_a_hole_is_not_of_the_area():
    ring = shapely.Polygon(box(0, 0, 400, 100).exterior, [box(110, 10, 190, 90).exterior])
    assert classes_of(join(locations({"a": row(4)}), [area("tumour", ring), REST])) == [
        "tumour", "other", "tumour", "tumour"
    ]  # fmt: skip


def test_parts_of_a_multipolygon_are_all_of_the_area():
    parts = shapely.MultiPolygon([box(0, 0, 100, 100), box(300, 0, 400, 100)])
    assert classes_of(join(locations({"a": row(4)}), [area("tumour", parts), REST])) == [
        "tumour", "other", "other", "tumour"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("least", "expected"),
    [(0.25, ["tumour", "tumour", "tumour", "other"]), (0.26, ["tumour", "tumour", "other", "other"]),
     (1.0, ["tumour", "other", "other", "other"])],
)  # fmt: skip
def test_a_tile_lies_in_areas_that_cover_enough_of_it(least: float, expected: list[str]):
    drawn = [area("tumour", box(0, 0, 160, 100)), area("tumour", box(275, 0, 300, 100)), REST]
    targets = join(locations({"a": row(4)}), drawn, config=JoinConfig(rule="overlap", min_overlap=least))
    assert classes_of(targets) == expected


def test_areas_of_one_class_cover_a_tile_together_and_what_they_share_counts_once():
    together = [area("tumour", box(0, 0, 30, 100)), area("tumour", box(70, 0, 100, 100))]
    twice = [area("tumour", box(100, 0, 140, 100)), area("tumour", box(110, 0, 140, 100))]
    assert classes_of(join(locations({"a": row(2)}), [*together, *twice, REST], config=HALF)) == ["tumour", "other"]


def test_areas_of_two_classes_do_not_cover_a_tile_together():
    drawn = [area("tumour", box(0, 0, 40, 100)), area("normal", box(40, 0, 80, 100))]
    targets = join(locations({"a": row(2)}), [*drawn, area("tumour", box(100, 0, 200, 100)), REST], config=HALF)
    assert classes_of(targets) == ["other", "tumour"]
    assert targets.missed == ("normal",)


def test_an_area_that_only_touches_a_tile_says_nothing_of_it():
    """Its split and patient would contradict those of the area that the tile is in."""
    drawn = [
        area("tumour", box(0, 0, 200, 100), split="train", patient="p1"),
        area("tumour", box(200, 0, 400, 100), split="test", patient="p2"),
        area("normal", box(0, 100, 400, 200), split="test", patient="p3"),
    ]
    targets = join(locations({"a": row(4) + row(4, y=100)}), drawn, config=HALF)
    assert targets.conflicts == 0
    assert names_of(targets.split, targets.split_names) == ["train"] * 2 + ["test"] * 6
    assert names_of(targets.patient, targets.patients) == ["p1"] * 2 + ["p2"] * 2 + ["p3"] * 4


@pytest.mark.parametrize("config", [CENTRE, HALF])
def test_areas_are_of_their_own_slide(config: JoinConfig):
    tiles = locations({"a": row(2), "b": row(2), "c": row(2)})
    drawn = [area("tumour", box(0, 0, 100, 100), "a"), area("normal", box(0, 0, 200, 100), "c"),
             area("normal", box(0, 0, 200, 100), "elsewhere")]  # fmt: skip
    assert classes_of(join(tiles, drawn, config=config)) == ["tumour", None, None, None, "normal", "normal"]


def test_a_centre_on_the_border_of_two_areas_lies_in_the_right_and_lower_one():
    stripes = [("one", 0, 50), ("two", 50, 150), ("one", 150, 250)]  # centres lie at 50, 150 and 250
    drawn = [area(name, box(left, y, right, y + 50)) for y in (0, 50) for name, left, right in stripes]
    assert classes_of(join(locations({"a": row(3)}), drawn)) == ["two", "one", None]


@settings(deadline=None, max_examples=examples(60))
@given(
    step=st.integers(1, 4),
    slope=st.sampled_from([(0, 1), (1, 1), (1, -1), (2, 1), (1, 3)]),
    offset=st.integers(-3, 8),
    edge=st.sampled_from([2, 4, 6]),
)
def test_a_centre_on_the_border_of_two_areas_lies_in_one_of_them(step, slope, offset, edge):
    """A line cuts the slide in two, through many tiles' centres: no tile is in both halves or in neither."""
    size = 24
    tiles = locations({"a": [(x, y, edge) for x in range(0, size, step) for y in range(0, size, step)]})
    far, (dx, dy) = 1000, slope
    start, end = (offset - far * dx, -far * dy), (offset + far * dx, far * dy)
    left = shapely.Polygon([start, end, (end[0] - 10 * far, end[1]), (start[0] - 10 * far, start[1])])
    right = shapely.Polygon([start, end, (end[0] + 10 * far, end[1]), (start[0] + 10 * far, start[1])])
    targets = join(
        tiles, [area("left", left), area("right", right), label("left", "z"), label("right", "z")], multi_label=True
    )
    assert targets.labelled.all()
    np.testing.assert_array_equal(targets.targets.sum(axis=1), 1)


@pytest.mark.slow
@pytest.mark.parametrize(("offset", "share"), [((0, 0), 0.1), ((0, 0), 0.41), ((37, 11), 0.41), ((0, 0), 0.999)])
def test_large_areas_are_cut_up_without_a_difference(
    monkeypatch: pytest.MonkeyPatch, offset: tuple[int, int], share: float
):
    rng = np.random.default_rng(0)
    turn = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    radius = 900 * (1 + 0.3 * np.sin(9 * turn) + 0.02 * rng.normal(size=len(turn)))
    outline = np.stack([1000 + radius * np.cos(turn), 1000 + radius * np.sin(turn)], axis=1)
    star = shapely.make_valid(shapely.Polygon(outline, [box(950, 950, 1050, 1050).exterior.coords]))
    tiles = [(x + offset[0], y + offset[1], 64) for x, y, _ in grid(32, 32, edge=64)]
    corners = np.array(tiles).T
    squares = box(corners[0], corners[1], corners[0] + 64, corners[1] + 64)
    covered = shapely.area(shapely.intersection(star, squares)) / 64**2
    expected = covered >= share
    assert 100 < expected.sum() < 900 and ((covered > 0.01) & (covered < 0.99)).sum() > 100
    for points in (geometry.PIECE_POINTS, 40):
        monkeypatch.setattr(geometry, "PIECE_POINTS", points)
        config = JoinConfig(rule="overlap", min_overlap=share)
        targets = join(locations({"a": tiles}), [area("tumour", star), REST], config=config)
        np.testing.assert_array_equal(targets.targets[:, targets.classes.index("tumour")], expected)


Shapes = list[tuple[str, str, shapely.Geometry]]


@st.composite
def tiles_and_shapes(draw: st.DrawFn) -> tuple[TileLocations, Shapes]:
    """Tiles with a stride, and polygons off the lattice: (slide, class, polygon)."""
    edge = draw(st.sampled_from([40, 64]))
    stride = draw(st.sampled_from([edge, edge // 2]))
    tiles = locations({"a": grid(7, 5, edge=edge, stride=stride), "b": grid(3, 3, edge=edge, stride=stride)})
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = []
    for _ in range(draw(st.integers(2, 7))):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = rng.uniform(0, 300, 2) + rng.uniform(10, 150, 9)[:, None] * directions
        slide = "a" if rng.random() < 0.7 else "b"
        shapes.append((slide, str(rng.choice(["x", "y"])), shapely.make_valid(shapely.Polygon(points))))
    return tiles, shapes


def classes_one_by_one(tiles: TileLocations, shapes: Shapes, lies_in: Callable[..., bool]) -> list[set[str]]:
    classes = []
    for slide, (x, y), edge in zip(tiles.slide, tiles.xy_l0.tolist(), tiles.edge_l0.tolist(), strict=True):
        tile = box(x, y, x + edge, y + edge)
        unions = {
            name: shapely.union_all([shape for at, of, shape in shapes if (at, of) == (tiles.slides[slide], name)])
            for name in ("x", "y")
        }
        classes.append({name for name, union in unions.items() if lies_in(tile, union)})
    return classes


@given(tiles_and_shapes(), st.sampled_from([None, 0.05, 0.5, 0.9, 1.0]))
@settings(max_examples=examples(60), deadline=None)
def test_areas_are_joined_as_one_by_one(scene: tuple[TileLocations, Shapes], share: float | None):
    tiles, shapes = scene

    def lies_in(tile: shapely.Geometry, union: shapely.Geometry) -> bool:
        if share is None:
            return bool(shapely.contains(union, translate(tile.centroid, *geometry.NUDGE_L0)))
        return union.intersection(tile).area / tile.area >= share - 1e-9

    config = CENTRE if share is None else JoinConfig(rule="overlap", min_overlap=share)
    labels = [area(name, shape, slide) for slide, name, shape in shapes]
    # A multi-label task with a tile of class z shows the classes of every tile, even where none is hit.
    labels.append(label("z", "b", x=0, y=0, edge_l0=float(tiles.edge_l0[0])))
    targets = join(tiles, labels, config=config, multi_label=True)
    names = [{targets.classes[k] for k in np.flatnonzero(of_tile)} - {"z"} for of_tile in targets.targets]
    assert names == classes_one_by_one(tiles, shapes, lies_in)


def test_labels_in_level_0_pixels_meet_tiles_of_a_slide_whose_bounds_start_off_zero(
    store: Store, collection: Collection, deliver
):
    """Tiles lie from the bounds' corner (1000, 2000) on; so does the lesion, in true level-0 pixels."""
    delivery = deliver("a.svs", 6)  # at x 0, 512, …
    CollectionWriter(collection).commit([delivery])
    store.ledger.record(
        [SlideRow(slide_id="a.svs", path="a.svs", kind="wsi", width_l0=9000, height_l0=9000, bounds_x=1000,
                    bounds_y=2000, bounds_width=3072, bounds_height=512)], []
    )  # fmt: skip
    plain = read_tile_locations(collection)
    tiles = TileLocations(**{**vars(plain), "xy_l0": plain.xy_l0 + np.array([1000, 2000], np.int32)})
    lesion = box(1000 + 1024, 2000, 1000 + 2048, 2000 + 512)
    for config in (CENTRE, JoinConfig(rule="overlap", min_overlap=1.0)):
        targets = join(tiles, [area("tumour", lesion, "a.svs"), label("normal", "a.svs", kind="rest")],
                     store.ledger.patients(), config=config)  # fmt: skip
        assert classes_of(targets) == ["normal", "normal", "tumour", "tumour", "normal", "normal"]
    shifted = shapely.transform(lesion, lambda xy: xy - [1000, 2000])
    with pytest.raises(LabelError, match=r"on a.svs labels lie in x 1024 to 2048, y 0 to 512, tiles in x 1000 to 4072, "
                                         r"y 2000 to 2512 \(level-0 pixels\).*another --origin"):  # fmt: skip
        join(tiles, [area("tumour", shifted, "a.svs")])


# -- points and tiles -----------------------------------------------------------------------


def test_a_point_is_of_the_tile_that_holds_it_left_and_upper_border_included():
    points = [
        label("tumour", kind="point", x=x, y=y) for x, y in [(0, 0), (199.9, 99.9), (300, 50), (50, 100), (400, 0)]
    ]
    targets = join(locations({"a": row(4)}), [*points, REST])
    assert classes_of(targets) == ["tumour", "tumour", "other", "tumour"]


@given(st.lists(st.tuples(st.integers(-10, 410), st.integers(-10, 310)), max_size=12))
@settings(max_examples=examples(60), deadline=None)
def test_a_point_is_of_every_tile_that_holds_it(points: list[tuple[int, int]]):
    overlapping = grid(7, 5, stride=50)
    labels = [label("x", kind="point", x=x, y=y) for x, y in points]
    labels += [label("y", kind="rest"), label("x", "b", kind="slide")]
    expected = [
        "x" if any(left <= x < left + 100 and top <= y < top + 100 for x, y in points) else "y"
        for left, top, _ in overlapping
    ]
    if "y" in expected:
        assert classes_of(join(locations({"a": overlapping, "b": row(1)}), labels)) == [*expected, "x"]


def test_a_label_of_a_tile_is_about_that_tile_alone():
    tiles = locations({"a": grid(3, 3, stride=50), "b": grid(2, 1, stride=50)})  # neighbours overlap by half
    labels = [
        label("x", x=50.0, y=50.0, edge_l0=100.0),
        label("y", "b", x=50.0, y=0.0, edge_l0=100.0),
        label("y", "elsewhere", x=0.0, y=0.0, edge_l0=100.0),
    ]
    assert classes_of(join(tiles, labels)) == [None] * 4 + ["x"] + [None] * 4 + [None, "y"]


def test_a_tile_of_another_tiling_holds_centres_on_its_left_and_upper_border():
    labels = [label("x", x=0.0, y=0.0, edge_l0=200.0), label("y", x=250.0, y=250.0, edge_l0=100.0)]
    xx, none = ["x", "x", None, None], [None] * 4
    assert classes_of(join(locations({"a": grid(4, 4)}), labels)) == [*xx, *xx, None, None, "y", None, *none]


def test_a_tile_of_another_tiling_is_a_square():
    labels = [label("tumour", x=10.0, y=10.0, edge_l0=150.0), label("normal", x=149.5, y=0.0, edge_l0=60.5)]
    tiles = locations({"a": row(4)})
    targets = join(tiles, [*labels, REST])
    assert classes_of(targets) == ["tumour", None, "other", "other"]
    assert targets.conflict_examples == ("slide a at 100, 0: normal and tumour",)
    targets = join(tiles, [*labels, REST], config=JoinConfig(rule="overlap", min_overlap=0.5))
    assert classes_of(targets) == ["tumour", "tumour", "other", "other"]


def test_ready_made_tiles_are_found_by_name_within_their_slide():
    names = ["a.png", "b.png", "c.png", None, "a.png", "d.png"]
    tiles = locations({"f": [(0, 0, 0)] * 4, "g": [(0, 0, 0)] * 2}, names=names)
    labels = [
        label("x", "f", name="a.png", split="train", patient="p1"),
        label("y", "g", name="a.png", split="test", patient="p2"),
        label("y", "f", name="c.png", split="train"),
        label("y", "g", name="nowhere.png"),
    ]
    targets = join(tiles, labels, {"f": "pf", "g": None})
    assert classes_of(targets) == ["x", None, "y", None, "y", None]
    assert names_of(targets.split, targets.split_names) == ["train", None, "train", None, "test", None]
    # A label's own patient comes before its slide's.
    assert names_of(targets.patient, targets.patients) == ["p1", "pf", "pf", "pf", "p2", None]


def test_areas_say_nothing_of_ready_made_tiles():
    tiles = locations({"a": [(0, 0, 0), (0, 0, 0)]}, names=["x.png", "y.png"])
    labels = [
        label("tumour", name="x.png"),
        area("fat", box(-1, -1, 9, 9)),
        label("normal", kind="point", x=0, y=0),
        REST,
    ]
    for config in (CENTRE, HALF):
        assert classes_of(join(tiles, labels, config=config)) == ["tumour", "other"]


def test_places_of_many_slides_and_large_coordinates_are_told_apart():
    rng = np.random.default_rng(0)
    unit = 12_345_678
    corners = {f"s{i}": [(int(x), int(y), 224) for x, y in rng.integers(-5, 5, (40, 2)) * unit] for i in range(5)}
    corners = {slide: list(dict.fromkeys(tiles)) for slide, tiles in corners.items()}
    expected = ["even" if (x + y) // unit % 2 == 0 else "odd" for tiles in corners.values() for x, y, _ in tiles]
    labels = [
        label("even" if (x + y) // unit % 2 == 0 else "odd", slide, x=float(x), y=float(y), edge_l0=224.0)
        for slide, tiles in corners.items()
        for x, y, _ in tiles
    ]
    rng.shuffle(labels)
    assert classes_of(join(locations(corners), labels)) == expected


def test_thousands_of_random_places_do_not_collide():
    """Matching is by equality in all columns, not by a hash of them."""
    rng = np.random.default_rng(0)
    xy = np.unique(rng.integers(0, 2**31 - 1, (20_000, 2)), axis=0)
    tiles = locations({"a": [(x, y, 7) for x, y in xy.tolist()]})
    labelled = rng.permutation(len(xy))[:3000]
    labels = [
        label("xyy"[i % 3], x=float(x), y=float(y), edge_l0=7.0) for i, (x, y) in enumerate(xy[labelled].tolist())
    ]
    expected: list[str | None] = [None] * len(xy)
    for i, tile in enumerate(labelled):
        expected[tile] = "xyy"[i % 3]
    assert classes_of(join(tiles, labels)) == expected


# -- rest, slides and patients --------------------------------------------------------------


def test_rest_is_what_no_other_label_of_the_slide_is_about():
    tiles = locations({"a": row(3), "b": row(2)})
    labels = [area("tumour", box(0, 0, 100, 100)), label("fat", kind="point", x=150, y=50), REST]
    assert classes_of(join(tiles, labels)) == ["tumour", "fat", "other", None, None]


@pytest.mark.parametrize("config", [CENTRE, HALF])
def test_rest_of_an_area_stays_within_it(config: JoinConfig):
    labels = [area("tumour", box(0, 0, 100, 100)), area("normal", box(0, 0, 300, 100), kind="rest")]
    assert classes_of(join(locations({"a": row(4)}), labels, config=config)) == ["tumour", "normal", "normal", None]


def test_rest_leaves_out_tiles_of_classes_that_are_not_asked_for():
    labels = [area("tumour", box(0, 0, 100, 100)), area("fat", box(100, 0, 200, 100)), REST]
    targets = join(locations({"a": row(3)}), labels, classes=["other", "tumour"])
    assert targets.classes == ("other", "tumour")
    assert classes_of(targets) == ["tumour", None, "other"]
    assert targets.ignored == 1


def test_a_slides_label_is_about_tiles_without_a_finer_one():
    tiles = locations({"a": row(3), "b": row(2), "c": row(1), "d": row(1)})
    patients = {
        "b": "p",
        "c": "p",
        "d": None,
    }
    labels = [area("tumour", box(0, 0, 100, 100)), label("normal", kind="slide"), label("fat", "b", kind="slide"),
              label("stroma", None, kind="patient", patient="p")]  # fmt: skip
    targets = join(tiles, labels, patients)
    assert classes_of(targets) == ["tumour", "normal", "normal", "fat", "fat", "stroma", None]
    assert targets.weak == 5
    assert names_of(targets.patient, targets.patients) == [None, None, None, "p", "p", "p", None]


def test_a_patients_label_finds_tiles_whose_own_labels_name_the_patient():
    tiles = locations({"a": [(0, 0, 0)] * 3}, names=["x", "y", "z"])
    labels = [label("t1", name="x", patient="p1", split="train"), label("t2", name="y", patient="p2", split="test"),
              label("t3", None, kind="patient", patient="p9")]  # fmt: skip
    targets = join(tiles, labels, {"a": "p9"})
    assert classes_of(targets) == ["t1", "t2", "t3"]
    assert names_of(targets.patient, targets.patients) == ["p1", "p2", "p9"]
    assert names_of(targets.split, targets.split_names) == ["train", "test", None]


def test_patients_without_a_label_come_from_the_slides():
    tiles = locations({"a": row(1), "b": row(1), "c": row(1)})
    patients = {
        "c": "p2",
        "a": "p1",
        "x": "p0",
    }
    targets = join(tiles, [label("tumour", "a", kind="slide"), label("normal", "b", kind="slide")], patients)
    assert names_of(targets.patient, targets.patients) == ["p1", None, "p2"]
    assert targets.patients == ("p1", "p2")


# -- conflicts, classes ---------------------------------------------------------------------


def test_tiles_of_two_classes_are_left_out_and_counted():
    drawn = [area("tumour", box(0, 0, 800, 100)), area("normal", box(100, 0, 900, 100))]
    targets = join(locations({"a": row(9)}), drawn)
    assert classes_of(targets) == ["tumour", *[None] * 7, "normal"]
    assert targets.conflicts == 7
    assert targets.conflict_examples == tuple(
        f"slide a at {x}, 0: normal and tumour" for x in (100, 200, 300, 400, 500)
    )
    assert not targets.targets[1:8].any() and (targets.split == -1).all()


@pytest.mark.parametrize("column", ["split", "patient"])
def test_two_splits_or_patients_of_a_tile_are_a_conflict(column: str):
    drawn = [area("tumour", box(0, 0, 200, 100), **{column: "one"}),
             area("tumour", box(100, 0, 300, 100), **{column: "two"}),
             area("normal", box(300, 0, 400, 100))]  # fmt: skip
    for multi_label in (False, True):
        targets = join(locations({"a": row(4)}), drawn, multi_label=multi_label)
        assert classes_of(targets) == ["tumour", None, "tumour", "normal"]
        assert targets.conflict_examples == (f"slide a at 100, 0: {column} one and two",)


@pytest.mark.parametrize("column", ["split", "patient"])
def test_a_conflict_of_a_ready_made_tile_names_its_file(column: str):
    tiles = locations({"f": [(0, 0, 0)] * 3}, names=["a.png", "b.png", "c.png"])
    labels = [
        label("x", "f", name="a.png", author="anna", **{column: "one"}),
        label("x", "f", name="a.png", author="ben", **{column: "two"}),
        label("x", "f", name="b.png", **{column: "one"}),
        label("y", "f", name="c.png", **{column: "one"}),
    ]
    targets = join(tiles, labels)
    assert classes_of(targets) == [None, "x", "y"]
    assert targets.conflict_examples == (f"slide f, a.png: {column} one and two",)


@pytest.mark.parametrize("column", ["split", "patient"])
def test_what_an_ignored_label_says_contradicts_nothing(column: str):
    drawn = [area("tumour", box(0, 0, 100, 100), **{column: "one"}), area("normal", box(100, 0, 200, 100)),
             area("fat", box(0, 0, 100, 100), **{column: "two"})]  # fmt: skip
    targets = join(locations({"a": row(2)}), drawn, classes=["tumour", "normal"])
    assert classes_of(targets) == ["tumour", "normal"]
    assert (targets.conflicts, targets.ignored) == (0, 1)
    codes, names = (targets.split, targets.split_names) if column == "split" else (targets.patient, targets.patients)
    assert names_of(codes, names) == ["one", None]


def test_a_fold_of_each_of_many_patients():
    """Leaving one patient out of 300 is a given split of 300 folds."""
    x = [(i * 100, 0) for i in range(300)]
    labels = [label("ab"[i % 2], x=a, y=b, edge_l0=100, split=f"fold {i}") for i, (a, b) in enumerate(x)]
    targets = join(locations({"a": row(300)}), labels)
    assert names_of(targets.split, targets.split_names) == [f"fold {i}" for i in range(300)]


def test_with_multi_label_no_class_contains_what_joins_classes():
    drawn = [area("a; b", box(0, 0, 200, 100)), area("c", box(0, 0, 200, 100))]
    with pytest.raises(LabelError, match=r"class 'a; b' contains '; '"):
        join(locations({"a": row(4)}), drawn, multi_label=True)
    assert join(locations({"a": row(4)}), drawn, multi_label=True, classes=("c",)).classes == ("c",)


def test_with_multi_label_classes_add_up_and_rest_is_none_of_them():
    drawn = [area("tumour", box(0, 0, 200, 100)), area("necrosis", box(100, 0, 300, 100)), REST]
    targets = join(locations({"a": row(4), "b": row(1)}), drawn, multi_label=True)
    assert targets.classes == ("necrosis", "tumour")
    assert classes_of(targets) == ["tumour", "necrosis+tumour", "necrosis", "-", None]
    assert (targets.conflicts, targets.ignored) == (0, 0)
    assert join(locations({"a": row(4)}), [drawn[0], REST], multi_label=True).classes == ("tumour",)


def test_classes_that_are_given_keep_their_order_and_must_be_known():
    drawn = [
        area("tumour", box(0, 0, 100, 100)),
        area("normal", box(100, 0, 300, 100)),
        area("fat", box(900, 0, 950, 9)),
    ]
    tiles = locations({"a": row(4)})
    assert join(tiles, drawn, classes=["tumour", "normal"]).classes == ("tumour", "normal")
    with pytest.raises(LabelError, match="'t': no label of class tumor; its labels name fat, normal, tumour"):
        join(tiles, drawn, classes=["tumor", "normal"])
    with pytest.raises(LabelError, match="given twice: tumour, tumour"):
        join(tiles, drawn, classes=["tumour", "tumour"])
    with pytest.raises(LabelError, match="class fat answers nothing without a conflict; found normal 2, fat 0;"):
        join(tiles, drawn, classes=["normal", "fat"])
    assert join(tiles, drawn).missed == ("fat",)


# -- errors ---------------------------------------------------------------------------------


def test_a_task_without_labels_names_those_that_have_some():
    with pytest.raises(TaskNotFoundError, match=r"no label of task 't'.*labels of grade, lesion; `embedstore label"):
        join(locations({"a": row(1)}), [label("x", task="lesion"), label("x", task="grade")])


def test_one_class_alone_asks_for_another():
    with pytest.raises(
        LabelError, match=r"needs two classes, found tumour 2; import labels of another class, .*--negative"
    ):
        join(locations({"a": row(4)}), [area("tumour", box(0, 0, 200, 100))])
    with pytest.raises(LabelError, match="needs two classes, found normal 0, tumour 0"):
        join(locations({"a": row(1)}), [area("tumour", box(0, 0, 200, 100)), area("normal", box(0, 0, 200, 100))])


def test_labels_of_other_slides_tell_which():
    with pytest.raises(
        LabelError,
        match=r"\(1 of kind area, 1 of kind point; on 2 slides\) hit no tile of collection 'toy', which has 0 of these "
        r"slides; labels are on x.svs, y.svs, tiles on a, b; ingest the slides first",
    ):
        join(locations({"a": row(1), "b": row(1)}), [area("tumour", box(0, 0, 9, 9), "x.svs"),
                                                  label("tumour", "y.svs", kind="point", x=1, y=1)])  # fmt: skip


def test_labels_of_patients_whom_nobody_knows_tell_so():
    with pytest.raises(LabelError, match=r"patients with labels are p1, p2, and none of these slides.*column patient"):
        join(locations({"a": row(1)}), [label("x", None, kind="patient", patient=p) for p in ("p1", "p2")])


def test_labels_beside_the_tiles_tell_where_both_are():
    points = [label("tumour", kind="point", x=5000, y=700), label("tumour", x=6000.0, y=10.0, edge_l0=50.0)]
    with pytest.raises(
        LabelError, match=r"on a labels lie in x 5000 to 6050, y 10 to 700, tiles in x 0 to 400, y 0 to 100"
    ):
        join(locations({"a": row(4)}), points)


def test_names_that_no_tile_has_point_to_the_list_of_labels():
    tiles = locations({"a": [(0, 0, 0)]}, names=["x.png"])
    with pytest.raises(LabelError, match=r"1 of kind tile; on 1 slides.*has 1 of these slides; `embedstore label ls`"):
        join(tiles, [label("tumour", name="X.PNG")])


def test_an_empty_collection_is_hit_by_nothing(collection: Collection):
    with pytest.raises(LabelError, match="hit no tile"):
        join(read_tile_locations(collection), [area("tumour", box(0, 0, 1, 1)), REST])


# -- all rules at once, against a plain reading ---------------------------------------------

STEP = 4


def square(corner: int, reach: int) -> st.SearchStrategy[tuple[int, int, int]]:
    at = st.integers(0, corner)
    return st.tuples(at, at, st.integers(2, reach))


@st.composite
def drawn_areas(draw: st.DrawFn) -> shapely.Geometry:
    x, y, size = draw(square(24, 14))
    kind = draw(st.sampled_from(["box", "triangle", "ring", "two"]))
    if kind == "triangle":
        at = st.integers(0, 30)
        return shapely.make_valid(shapely.Polygon([(draw(at), draw(at)), (draw(at), draw(at)), (x, y), (x + size, y)]))
    outer = box(x, y, x + size, y + size)
    if kind == "ring":
        return shapely.difference(outer, box(x + 1, y + 1, x + size / 2 + 1, y + size / 2))
    other = draw(square(24, 9))
    return outer if kind == "box" else shapely.union(outer, box(other[0], other[1], other[0] + other[2], other[1] + 3))


@st.composite
def labels_of_all_kinds(draw: st.DrawFn) -> Label:
    kind = draw(st.sampled_from(["area", "area", "point", "tile", "square", "rest", "rest area", "slide", "patient"]))
    values: dict[str, Any] = {
        "split": draw(st.sampled_from([None, None, None, "train", "test"])),
        "patient": draw(st.sampled_from([None, None, None, "p1", "p2"])),
    }
    name, slide = draw(st.sampled_from(["x", "y", "z"])), draw(st.sampled_from(["a", "b", "unknown"]))
    if kind in ("area", "rest area"):
        return area(name, draw(drawn_areas()), slide, kind=kind.split()[0], **values)
    if kind == "point":
        values |= {"x": draw(st.integers(0, 50)) / 2, "y": draw(st.integers(0, 50)) / 2}
    if kind == "tile":
        values |= {
            "x": float(draw(st.integers(0, 5)) * STEP),
            "y": float(draw(st.integers(0, 5)) * STEP),
            "edge_l0": 6.0,
        }
    if kind == "square":
        x, y, size = draw(square(24, 9))
        values |= {"x": float(x) + 0.5, "y": float(y), "edge_l0": float(size)}
    if kind == "patient":
        return label(name, None, kind="patient", **{**values, "patient": draw(st.sampled_from(["p1", "p2", "p3"]))})
    return label(name, slide, kind="tile" if kind == "square" else kind, **values)


class PlainRules:
    """The rules of the join, a tile at a time, a label at a time."""

    def __init__(
        self,
        tiles: TileLocations,
        labels: list[Label],
        patient_of: dict[str, str],
        config: JoinConfig,
        multi_label: bool,
    ):
        self.tiles, self.labels, self.patient_of = tiles, labels, patient_of
        self.config, self.multi_label = config, multi_label

    def place(self, tile: int) -> tuple[str, float, float, float]:
        x, y = self.tiles.xy_l0[tile].tolist()
        return self.tiles.slides[self.tiles.slide[tile]], float(x), float(y), float(self.tiles.edge_l0[tile])

    def inside(self, tile: int, label: Label, labels: list[Label]) -> bool:
        """Whether a tile lies in a label's area; with overlap, together with the others of its class."""
        _, x, y, edge = self.place(tile)
        if self.config.rule == "centre":
            dx, dy = geometry.NUDGE_L0
            return shapely.contains_xy(shape_of(label), x + edge / 2 + dx, y + edge / 2 + dy).item()
        square = box(x, y, x + edge, y + edge)
        of_class = [shape_of(other) for other in labels if other.label == label.label]
        share = shapely.union_all(of_class).intersection(square).area / square.area
        return share >= self.config.min_overlap and shape_of(label).intersection(square).area > 1e-9

    def tile(self, tile: int) -> tuple[set[str], bool, set[str], set[str], str | None] | None:
        """(classes, weak, splits, patients that labels name, the slide's patient); None where no label applies."""
        slide, x, y, edge = self.place(tile)
        places = {self.place(i) for i in range(len(self.tiles))}
        here = [label for label in self.labels if label.slide_id == slide]
        exact = [label for label in here if label.kind == "tile" and (slide, label.x, label.y, label.edge_l0) in places]
        areas = [label for label in here if label.kind == "area" or (label.kind == "tile" and label not in exact)]
        fine = [label for label in exact if (label.x, label.y, label.edge_l0) == (x, y, edge)]
        fine += [
            label for label in here if label.kind == "point" and x <= label.x < x + edge and y <= label.y < y + edge
        ]
        fine += [label for label in areas if self.inside(tile, label, areas)]
        rest = [label for label in here if label.kind == "rest"]
        rest_areas = [label for label in rest if label.geometry]
        fine = fine or [label for label in rest if not label.geometry or self.inside(tile, label, rest_areas)]
        applying = fine or [label for label in here if label.kind == "slide"]
        patients = {label.patient for label in applying} - {None}
        patient = next(iter(patients)) if len(patients) == 1 else self.patient_of.get(slide)
        applying = applying or [label for label in self.labels if label.kind == "patient" and label.patient == patient]
        if not applying:
            return None
        classes = {label.label for label in applying if not (self.multi_label and label.kind == "rest")}
        splits = {label.split for label in applying if label.split is not None}
        named = {label.patient for label in applying if label.patient is not None}
        return classes, not fine, splits, named, self.patient_of.get(slide)


def shape_of(label: Label) -> shapely.Geometry:
    if label.geometry:
        return shapely.from_wkb(label.geometry)
    assert label.x is not None and label.y is not None and label.edge_l0 is not None
    return box(label.x, label.y, label.x + label.edge_l0, label.y + label.edge_l0)


@pytest.mark.slow
@settings(deadline=None, max_examples=examples(200))
@given(
    labels=st.lists(labels_of_all_kinds(), min_size=1, max_size=9),
    least=st.sampled_from([None, 0.0703, 0.3337, 0.6171, 0.9983]),
    multi_label=st.booleans(),
    with_patients=st.booleans(),
    with_other_task=st.booleans(),
)
def test_every_tile_has_what_a_plain_reading_of_the_rules_gives_it(
    labels, least, multi_label, with_patients, with_other_task
):
    config = CENTRE if least is None else JoinConfig(rule="overlap", min_overlap=least)
    tiles = locations(
        {name: [(x, y, 6) for x in range(0, 24, STEP) for y in range(0, 20, STEP)] for name in ("b", "a")}
    )
    patient_of = {"a": "p1", "b": "p3"} if with_patients else {}
    plain = PlainRules(tiles, labels, patient_of, config, multi_label)
    expected = [plain.tile(i) for i in range(len(tiles))]
    clash = [
        e is not None and (len(e[2]) > 1 or len(e[3]) > 1 or (len(e[0]) > 1 and not multi_label)) for e in expected
    ]
    good = [e if not c else None for e, c in zip(expected, clash, strict=True)]
    classes = sorted({name for e in good if e for name in e[0]})
    if with_other_task:
        labels = [*labels, label("other", task="another task")]
    if len(classes) < (1 if multi_label else 2):
        with pytest.raises(LabelError):
            join(tiles, labels, patient_of, config=config, multi_label=multi_label)
        return
    targets = join(tiles, labels, patient_of, config=config, multi_label=multi_label)
    assert list(targets.classes) == classes
    assert [set(name.split("+")) - {"-"} if name else None for name in classes_of(targets)] == [
        e[0] if e else None for e in good
    ]
    assert targets.conflicts == sum(clash)
    assert targets.weak == sum(e[1] for e in good if e)
    assert names_of(targets.split, targets.split_names) == [next(iter(e[2]), None) if e else None for e in good]
    patients = names_of(targets.patient, targets.patients)
    for patient, e in zip(patients, good, strict=True):
        if e:
            assert patient == next(iter(e[3]), e[4])


def test_two_authors_contradict_each_other_as_one_would():
    tile = {"x": 0, "y": 0, "edge_l0": 100}
    said = [label("tumour", author="anna", **tile), area("normal", box(100, 0, 300, 100), author="anna")]
    for other in (label("normal", author="ben", **tile), area("normal", box(0, 0, 100, 100), author="ben")):
        targets = join(locations({"a": row(3)}), [*said, other], min_classes=1)
        assert classes_of(targets) == [None, "normal", "normal"] and targets.conflicts == 1
        assert targets.conflict_examples == ("slide a at 0, 0: normal and tumour",)
    agreed = join(locations({"a": row(3)}), [*said, label("tumour", author="ben", **tile)])
    assert classes_of(agreed) == ["tumour", "normal", "normal"] and agreed.conflicts == 0
