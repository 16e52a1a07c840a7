"""The join by place: checked tile by tile against a plain reading of its rules."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from embedstore.config import JoinConfig
from embedstore.errors import LabelError, TaskNotFoundError
from embedstore.labels import TileTargets, join_labels
from embedstore.labels import geometry as hits
from embedstore.store import Collection, CollectionWriter, SlideRow, Store, TileLocations, read_tile_locations
from embedstore.store.schema import LABELS

from .placed import area, places, row, said

CENTRE = JoinConfig()
HALF = JoinConfig(rule="overlap")


def join(
    where: TileLocations, labels: Sequence[dict[str, Any]], patients=None, *, config=CENTRE, **options
) -> TileTargets:
    return join_labels(where, labels, patients or {}, task="t", config=config, **options)


def classes_of(found: TileTargets) -> list[str | None]:
    """Of each tile: its classes, joined; '-' for a tile of none; None where nothing is known."""
    named = ["+".join(np.array(found.classes)[mine]) or "-" for mine in found.targets]
    return [name if known else None for name, known in zip(named, found.labelled, strict=True)]


def names_of(codes: np.ndarray, names: Sequence[str]) -> list[str | None]:
    return [None if code < 0 else names[code] for code in codes]


REST = said("other", kind="rest")
box = shapely.box


# -- areas ----------------------------------------------------------------------------------


def test_a_tile_lies_in_an_area_that_holds_its_centre():
    found = join(places({"a": row(4)}), [area("tumour", box(0, 0, 151, 100)), area("normal", box(151, 0, 349, 100))])
    assert classes_of(found) == ["tumour", "tumour", "normal", None]
    assert (found.conflicts, found.weak, found.ignored, found.missed) == (0, 0, 0, ())


def test_a_hole_is_not_of_the_area():
    ring = shapely.Polygon(box(0, 0, 400, 100).exterior, [box(110, 10, 190, 90).exterior])
    assert classes_of(join(places({"a": row(4)}), [area("tumour", ring), REST])) == [
        "tumour", "other", "tumour", "tumour"
    ]  # fmt: skip


def test_parts_of_a_multipolygon_are_all_of_the_area():
    parts = shapely.MultiPolygon([box(0, 0, 100, 100), box(300, 0, 400, 100)])
    assert classes_of(join(places({"a": row(4)}), [area("tumour", parts), REST])) == [
        "tumour", "other", "other", "tumour"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("least", "expected"),
    [(0.25, ["tumour", "tumour", "tumour", "other"]), (0.26, ["tumour", "tumour", "other", "other"]),
     (1.0, ["tumour", "other", "other", "other"])],
)  # fmt: skip
def test_a_tile_lies_in_areas_that_cover_enough_of_it(least: float, expected: list[str]):
    drawn = [area("tumour", box(0, 0, 160, 100)), area("tumour", box(275, 0, 300, 100)), REST]
    found = join(places({"a": row(4)}), drawn, config=JoinConfig(rule="overlap", min_overlap=least))
    assert classes_of(found) == expected


def test_areas_of_one_class_cover_a_tile_together_and_what_they_share_counts_once():
    together = [area("tumour", box(0, 0, 30, 100)), area("tumour", box(70, 0, 100, 100))]
    twice = [area("tumour", box(100, 0, 140, 100)), area("tumour", box(110, 0, 140, 100))]
    assert classes_of(join(places({"a": row(2)}), [*together, *twice, REST], config=HALF)) == ["tumour", "other"]


def test_areas_of_two_classes_do_not_cover_a_tile_together():
    drawn = [area("tumour", box(0, 0, 40, 100)), area("normal", box(40, 0, 80, 100))]
    found = join(places({"a": row(2)}), [*drawn, area("tumour", box(100, 0, 200, 100)), REST], config=HALF)
    assert classes_of(found) == ["other", "tumour"]
    assert found.missed == ("normal",)


def test_an_area_that_only_touches_a_tile_says_nothing_of_it():
    """Its split and patient would contradict those of the area that the tile is in."""
    drawn = [
        area("tumour", box(0, 0, 200, 100), split="train", patient="p1"),
        area("tumour", box(200, 0, 400, 100), split="test", patient="p2"),
        area("normal", box(0, 100, 400, 200), split="test", patient="p3"),
    ]
    found = join(places({"a": row(4) + row(4, y=100)}), drawn, config=HALF)
    assert found.conflicts == 0
    assert names_of(found.split, found.split_names) == ["train"] * 2 + ["test"] * 6
    assert names_of(found.patient, found.patients) == ["p1"] * 2 + ["p2"] * 2 + ["p3"] * 4


@pytest.mark.parametrize("config", [CENTRE, HALF])
def test_areas_are_of_their_own_slide(config: JoinConfig):
    where = places({"a": row(2), "b": row(2), "c": row(2)})
    drawn = [area("tumour", box(0, 0, 100, 100), "a"), area("normal", box(0, 0, 200, 100), "c"),
             area("normal", box(0, 0, 200, 100), "elsewhere")]  # fmt: skip
    assert classes_of(join(where, drawn, config=config)) == ["tumour", None, None, None, "normal", "normal"]


@settings(deadline=None, max_examples=60)
@given(
    step=st.integers(1, 4),
    slope=st.sampled_from([(0, 1), (1, 1), (1, -1), (2, 1), (1, 3)]),
    offset=st.integers(-3, 8),
    edge=st.sampled_from([2, 4, 6]),
)
def test_a_centre_on_the_border_of_two_areas_lies_in_one_of_them(step, slope, offset, edge):
    """A line cuts the slide in two, through many tiles' centres: no tile is in both halves or in neither."""
    size = 24
    where = places({"a": [(x, y, edge) for x in range(0, size, step) for y in range(0, size, step)]})
    far, (dx, dy) = 1000, slope
    start, end = (offset - far * dx, -far * dy), (offset + far * dx, far * dy)
    left = shapely.Polygon([start, end, (end[0] - 10 * far, end[1]), (start[0] - 10 * far, start[1])])
    right = shapely.Polygon([start, end, (end[0] + 10 * far, end[1]), (start[0] + 10 * far, start[1])])
    found = join(
        where, [area("left", left), area("right", right), said("left", "z"), said("right", "z")], multi_label=True
    )
    assert found.labelled.all()
    np.testing.assert_array_equal(found.targets.sum(axis=1), 1)


@pytest.mark.parametrize("grid", [(0, 0), (37, 11)])
def test_large_areas_are_cut_up_without_a_difference(monkeypatch: pytest.MonkeyPatch, grid: tuple[int, int]):
    rng = np.random.default_rng(0)
    turn = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    radius = 900 * (1 + 0.3 * np.sin(9 * turn) + 0.02 * rng.normal(size=len(turn)))
    outline = np.stack([1000 + radius * np.cos(turn), 1000 + radius * np.sin(turn)], axis=1)
    star = shapely.make_valid(shapely.Polygon(outline, [box(950, 950, 1050, 1050).exterior.coords]))
    tiles = [(x + grid[0], y + grid[1], 64) for y in range(0, 2000, 64) for x in range(0, 2000, 64)]
    corners = np.array(tiles).T
    squares = box(corners[0], corners[1], corners[0] + 64, corners[1] + 64)
    share = shapely.area(shapely.intersection(star, squares)) / 64**2
    expected = share >= 0.41
    assert 100 < expected.sum() < 900 and ((share > 0.01) & (share < 0.99)).sum() > 100
    for points in (hits.PIECE_POINTS, 40):
        monkeypatch.setattr(hits, "PIECE_POINTS", points)
        found = join(places({"a": tiles}), [area("tumour", star), REST],
                     config=JoinConfig(rule="overlap", min_overlap=0.41))  # fmt: skip
        np.testing.assert_array_equal(found.targets[:, found.classes.index("tumour")], expected)


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
    where = TileLocations(**{**vars(plain), "xy_l0": plain.xy_l0 + np.array([1000, 2000], np.int32)})
    lesion = box(1000 + 1024, 2000, 1000 + 2048, 2000 + 512)
    for config in (CENTRE, JoinConfig(rule="overlap", min_overlap=1.0)):
        found = join(where, [area("tumour", lesion, "a.svs"), said("normal", "a.svs", kind="rest")],
                     store.ledger.patients(), config=config)  # fmt: skip
        assert classes_of(found) == ["normal", "normal", "tumour", "tumour", "normal", "normal"]
    shifted = shapely.transform(lesion, lambda xy: xy - [1000, 2000])
    with pytest.raises(LabelError, match=r"on a.svs labels lie in x 1024 to 2048, y 0 to 512, tiles in x 1000 to 4072, "
                                         r"y 2000 to 2512 \(level-0 pixels\).*another --origin"):  # fmt: skip
        join(where, [area("tumour", shifted, "a.svs")])


# -- points and tiles -----------------------------------------------------------------------


def test_a_point_is_of_the_tile_that_holds_it_left_and_upper_border_included():
    points = [
        said("tumour", kind="point", x=x, y=y) for x, y in [(0, 0), (199.9, 99.9), (300, 50), (50, 100), (400, 0)]
    ]
    found = join(places({"a": row(4)}), [*points, REST])
    assert classes_of(found) == ["tumour", "tumour", "other", "tumour"]


def test_a_point_is_of_every_tile_that_holds_it():
    where = places({"a": [(0, 0, 100), (50, 0, 100), (100, 0, 100)]})
    assert classes_of(join(where, [said("tumour", kind="point", x=60, y=0), REST])) == ["tumour", "tumour", "other"]


def test_a_tile_is_found_by_its_place_to_the_pixel():
    labels = [said("tumour", x=100.0, y=0.0, edge_l0=100.0), said("normal", "b", x=100.0, y=0.0, edge_l0=100.0)]
    assert classes_of(join(places({"a": row(2), "b": row(2)}), labels)) == [None, "tumour", None, "normal"]


def test_a_tile_of_another_tiling_is_a_square():
    labels = [said("tumour", x=10.0, y=10.0, edge_l0=150.0), said("normal", x=149.5, y=0.0, edge_l0=60.5)]
    where = places({"a": row(4)})
    found = join(where, [*labels, REST])
    assert classes_of(found) == ["tumour", None, "other", "other"]
    assert found.conflict_examples == ("slide a at 100, 0: normal and tumour",)
    found = join(where, [*labels, REST], config=JoinConfig(rule="overlap", min_overlap=0.5))
    assert classes_of(found) == ["tumour", "tumour", "other", "other"]


def test_a_ready_made_tile_is_found_by_its_name():
    where = places({"a": [(0, 0, 0)] * 3, "b": [(0, 0, 0)]}, names=["x.png", "y.png", None, "x.png"])
    labels = [said("tumour", name="y.png"), said("normal", "b", name="x.png"), said("tumour", name="none.png")]
    assert classes_of(join(where, labels)) == [None, "tumour", None, "normal"]


def test_areas_say_nothing_of_ready_made_tiles():
    where = places({"a": [(0, 0, 0), (0, 0, 0)]}, names=["x.png", "y.png"])
    labels = [
        said("tumour", name="x.png"),
        area("fat", box(-1, -1, 9, 9)),
        said("normal", kind="point", x=0, y=0),
        REST,
    ]
    for config in (CENTRE, HALF):
        assert classes_of(join(where, labels, config=config)) == ["tumour", "other"]


def test_names_and_places_of_many_slides_and_large_coordinates_are_told_apart():
    rng = np.random.default_rng(0)
    tiles = {f"s{i}": [(int(x), int(y), 224) for x, y in rng.integers(-5, 5, (40, 2)) * 12_345_678] for i in range(5)}
    tiles = {slide: list(dict.fromkeys(theirs)) for slide, theirs in tiles.items()}
    where = places(tiles)
    labels = [
        said("even" if (x + y) // 12_345_678 % 2 == 0 else "odd", slide, x=float(x), y=float(y), edge_l0=224.0)
        for slide, theirs in tiles.items() for x, y, _ in theirs
    ]  # fmt: skip
    rng.shuffle(labels)
    expected = ["even" if (x + y) // 12_345_678 % 2 == 0 else "odd" for t in tiles.values() for x, y, _ in t]
    found = join(where, labels)
    assert classes_of(found) == expected


# -- rest, slides and patients --------------------------------------------------------------


def test_rest_is_what_no_other_label_of_the_slide_is_about():
    where = places({"a": row(3), "b": row(2)})
    labels = [area("tumour", box(0, 0, 100, 100)), said("fat", kind="point", x=150, y=50), REST]
    assert classes_of(join(where, labels)) == ["tumour", "fat", "other", None, None]


@pytest.mark.parametrize("config", [CENTRE, HALF])
def test_rest_of_an_area_stays_within_it(config: JoinConfig):
    labels = [area("tumour", box(0, 0, 100, 100)), area("normal", box(0, 0, 300, 100), kind="rest")]
    assert classes_of(join(places({"a": row(4)}), labels, config=config)) == ["tumour", "normal", "normal", None]


def test_rest_leaves_out_tiles_of_classes_that_are_not_asked_for():
    labels = [area("tumour", box(0, 0, 100, 100)), area("fat", box(100, 0, 200, 100)), REST]
    found = join(places({"a": row(3)}), labels, classes=["other", "tumour"])
    assert found.classes == ("other", "tumour")
    assert classes_of(found) == ["tumour", None, "other"]
    assert found.ignored == 1


def test_a_slides_label_is_about_tiles_without_a_finer_one():
    where = places({"a": row(3), "b": row(2), "c": row(1), "d": row(1)})
    patients = {
        "b": "p",
        "c": "p",
        "d": None,
    }
    labels = [area("tumour", box(0, 0, 100, 100)), said("normal", kind="slide"), said("fat", "b", kind="slide"),
              said("stroma", None, kind="patient", patient="p")]  # fmt: skip
    found = join(where, labels, patients)
    assert classes_of(found) == ["tumour", "normal", "normal", "fat", "fat", "stroma", None]
    assert found.weak == 5
    assert names_of(found.patient, found.patients) == [None, None, None, "p", "p", "p", None]


def test_a_patients_label_finds_tiles_whose_own_labels_name_the_patient():
    where = places({"a": [(0, 0, 0)] * 3}, names=["x", "y", "z"])
    labels = [said("t1", name="x", patient="p1", split="train"), said("t2", name="y", patient="p2", split="test"),
              said("t3", None, kind="patient", patient="p9")]  # fmt: skip
    found = join(where, labels, {"a": "p9"})
    assert classes_of(found) == ["t1", "t2", "t3"]
    assert names_of(found.patient, found.patients) == ["p1", "p2", "p9"]
    assert names_of(found.split, found.split_names) == ["train", "test", None]


def test_patients_without_a_label_come_from_the_slides():
    where = places({"a": row(1), "b": row(1), "c": row(1)})
    patients = {
        "c": "p2",
        "a": "p1",
        "x": "p0",
    }
    found = join(where, [said("tumour", "a", kind="slide"), said("normal", "b", kind="slide")], patients)
    assert names_of(found.patient, found.patients) == ["p1", None, "p2"]
    assert found.patients == ("p1", "p2")


# -- conflicts, classes ---------------------------------------------------------------------


def test_tiles_of_two_classes_are_left_out_and_counted():
    drawn = [area("tumour", box(0, 0, 800, 100)), area("normal", box(100, 0, 900, 100))]
    found = join(places({"a": row(9)}), drawn)
    assert classes_of(found) == ["tumour", *[None] * 7, "normal"]
    assert found.conflicts == 7
    assert found.conflict_examples == tuple(f"slide a at {x}, 0: normal and tumour" for x in (100, 200, 300, 400, 500))
    assert not found.targets[1:8].any() and (found.split == -1).all()


@pytest.mark.parametrize("column", ["split", "patient"])
def test_two_splits_or_patients_of_a_tile_are_a_conflict(column: str):
    drawn = [area("tumour", box(0, 0, 200, 100), **{column: "one"}),
             area("tumour", box(100, 0, 300, 100), **{column: "two"}),
             area("normal", box(300, 0, 400, 100))]  # fmt: skip
    for multi_label in (False, True):
        found = join(places({"a": row(4)}), drawn, multi_label=multi_label)
        assert classes_of(found) == ["tumour", None, "tumour", "normal"]
        assert found.conflict_examples == (f"slide a at 100, 0: {column} one and two",)


@pytest.mark.parametrize("column", ["split", "patient"])
def test_what_an_ignored_label_says_contradicts_nothing(column: str):
    drawn = [area("tumour", box(0, 0, 100, 100), **{column: "one"}), area("normal", box(100, 0, 200, 100)),
             area("fat", box(0, 0, 100, 100), **{column: "two"})]  # fmt: skip
    found = join(places({"a": row(2)}), drawn, classes=["tumour", "normal"])
    assert classes_of(found) == ["tumour", "normal"]
    assert (found.conflicts, found.ignored) == (0, 1)
    codes, names = (found.split, found.split_names) if column == "split" else (found.patient, found.patients)
    assert names_of(codes, names) == ["one", None]


def test_with_multi_label_classes_add_up_and_rest_is_none_of_them():
    drawn = [area("tumour", box(0, 0, 200, 100)), area("necrosis", box(100, 0, 300, 100)), REST]
    found = join(places({"a": row(4), "b": row(1)}), drawn, multi_label=True)
    assert found.classes == ("necrosis", "tumour")
    assert classes_of(found) == ["tumour", "necrosis+tumour", "necrosis", "-", None]
    assert (found.conflicts, found.ignored) == (0, 0)
    assert join(places({"a": row(4)}), [drawn[0], REST], multi_label=True).classes == ("tumour",)


def test_classes_that_are_given_keep_their_order_and_must_be_known():
    drawn = [
        area("tumour", box(0, 0, 100, 100)),
        area("normal", box(100, 0, 300, 100)),
        area("fat", box(900, 0, 950, 9)),
    ]
    where = places({"a": row(4)})
    assert join(where, drawn, classes=["tumour", "normal"]).classes == ("tumour", "normal")
    with pytest.raises(LabelError, match="'t': no label of class tumor; its labels name fat, normal, tumour"):
        join(where, drawn, classes=["tumor", "normal"])
    with pytest.raises(LabelError, match="given twice: tumour, tumour"):
        join(where, drawn, classes=["tumour", "tumour"])
    with pytest.raises(LabelError, match="class fat answers nothing without a conflict; found normal 2, fat 0;"):
        join(where, drawn, classes=["normal", "fat"])
    assert join(where, drawn).missed == ("fat",)


# -- errors ---------------------------------------------------------------------------------


def test_a_task_without_labels_names_those_that_have_some():
    with pytest.raises(TaskNotFoundError, match=r"no label of task 't'.*labels of grade, lesion; `embedstore label"):
        join(places({"a": row(1)}), [said("x", task="lesion"), said("x", task="grade")])


def test_one_class_alone_asks_for_another():
    with pytest.raises(
        LabelError, match=r"needs two classes, found tumour 2; import labels of another class, .*--negative"
    ):
        join(places({"a": row(4)}), [area("tumour", box(0, 0, 200, 100))])
    with pytest.raises(LabelError, match="needs two classes, found normal 0, tumour 0"):
        join(places({"a": row(1)}), [area("tumour", box(0, 0, 200, 100)), area("normal", box(0, 0, 200, 100))])


def test_labels_of_other_slides_tell_which():
    with pytest.raises(
        LabelError,
        match=r"\(1 of kind area, 1 of kind point; on 2 slides\) hit no tile of collection 'toy', which has 0 of these "
        r"slides; labels are on x.svs, y.svs, tiles on a, b; ingest the slides first",
    ):
        join(places({"a": row(1), "b": row(1)}), [area("tumour", box(0, 0, 9, 9), "x.svs"),
                                                  said("tumour", "y.svs", kind="point", x=1, y=1)])  # fmt: skip


def test_labels_of_patients_whom_nobody_knows_tell_so():
    with pytest.raises(LabelError, match=r"patients with labels are p1, p2, and none of these slides.*column patient"):
        join(places({"a": row(1)}), [said("x", None, kind="patient", patient=p) for p in ("p1", "p2")])


def test_labels_beside_the_tiles_tell_where_both_are():
    points = [said("tumour", kind="point", x=5000, y=700), said("tumour", x=6000.0, y=10.0, edge_l0=50.0)]
    with pytest.raises(
        LabelError, match=r"on a labels lie in x 5000 to 6050, y 10 to 700, tiles in x 0 to 400, y 0 to 100"
    ):
        join(places({"a": row(4)}), points)


def test_names_that_no_tile_has_point_to_the_list_of_labels():
    where = places({"a": [(0, 0, 0)]}, names=["x.png"])
    with pytest.raises(LabelError, match=r"1 of kind tile; on 1 slides.*has 1 of these slides; `embedstore label ls`"):
        join(where, [said("tumour", name="X.PNG")])


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
def labels_of_all_kinds(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["area", "area", "point", "tile", "square", "rest", "rest area", "slide", "patient"]))
    values: dict[str, Any] = {
        "split": draw(st.sampled_from([None, None, None, "train", "test"])),
        "patient": draw(st.sampled_from([None, None, None, "p1", "p2"])),
    }
    label, slide = draw(st.sampled_from(["x", "y", "z"])), draw(st.sampled_from(["a", "b", "unknown"]))
    if kind in ("area", "rest area"):
        return area(label, draw(drawn_areas()), slide, kind=kind.split()[0], **values)
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
        return said(label, None, kind="patient", **{**values, "patient": draw(st.sampled_from(["p1", "p2", "p3"]))})
    return said(label, slide, kind="tile" if kind == "square" else kind, **values)


class Plain:
    """The rules of the join, a tile at a time, a label at a time."""

    def __init__(self, where: TileLocations, labels, patient_of, config: JoinConfig, multi_label: bool):
        self.where, self.labels, self.patient_of = where, labels, patient_of
        self.config, self.multi_label = config, multi_label

    def inside(self, tile: int, one: dict[str, Any], others: list[dict[str, Any]]) -> bool:
        """By the rule; with overlap, together with others of its class and sort."""
        x, y, edge = *self.where.xy_l0[tile].tolist(), int(self.where.edge_l0[tile])
        if self.config.rule == "centre":
            dx, dy = hits.NUDGE_L0
            return shapely.contains_xy(geometry(one), x + edge / 2 + dx, y + edge / 2 + dy).item()
        mine = box(x, y, x + edge, y + edge)
        same = [geometry(other) for other in others if other["label"] == one["label"]]
        share = shapely.union_all(same).intersection(mine).area / mine.area
        return share >= self.config.min_overlap and geometry(one).intersection(mine).area > 1e-9

    def tile(self, tile: int) -> tuple[set[str], bool, set[str], set[str], str | None] | None:
        """(classes, weak, splits, patients, the patient without a label's word) or None."""
        slide = self.where.slides[self.where.slide[tile]]
        x, y, edge = *self.where.xy_l0[tile].tolist(), int(self.where.edge_l0[tile])
        tiles = {(slide, *xy, e) for slide, xy, e in zip(
            (self.where.slides[i] for i in self.where.slide), self.where.xy_l0.tolist(), self.where.edge_l0.tolist(),
            strict=True)}  # fmt: skip
        tiles = {(s, float(a), float(b), float(e)) for s, a, b, e in tiles}
        here = [one for one in self.labels if one["slide_id"] == slide]
        exact = [one for one in here if one["kind"] == "tile" and (slide, one["x"], one["y"], one["edge_l0"]) in tiles]
        squares = [one for one in here if one["kind"] == "tile" and one not in exact]
        areas = [one for one in here if one["kind"] == "area"] + squares
        said = [one for one in exact if (one["x"], one["y"], one["edge_l0"]) == (x, y, edge)]
        said += [one for one in here if one["kind"] == "point"
                 and x <= one["x"] < x + edge and y <= one["y"] < y + edge]  # fmt: skip
        said += [one for one in areas if self.inside(tile, one, areas)]
        rest = [one for one in here if one["kind"] == "rest"]
        drawn = [one for one in rest if one["geometry"]]
        fine = said or [one for one in rest if not one["geometry"] or self.inside(tile, one, drawn)]
        whole = [one for one in here if one["kind"] == "slide"]
        weak = not fine
        said = fine or whole
        patients = {one["patient"] for one in said} - {None}
        mine = patients.copy().pop() if len(patients) == 1 else self.patient_of.get(slide)
        said = said or [one for one in self.labels if one["kind"] == "patient" and one["patient"] == mine]
        if not said:
            return None
        classes = {one["label"] for one in said if not (self.multi_label and one["kind"] == "rest")}
        splits, patients = ({one[name] for one in said} - {None} for name in ("split", "patient"))
        return classes, weak, splits, patients, self.patient_of.get(slide)


def geometry(one: dict[str, Any]) -> shapely.Geometry:
    if one["geometry"]:
        return shapely.from_wkb(one["geometry"])
    return box(one["x"], one["y"], one["x"] + one["edge_l0"], one["y"] + one["edge_l0"])


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(
    labels=st.lists(labels_of_all_kinds(), min_size=1, max_size=9),
    least=st.sampled_from([None, 0.0703, 0.3337, 0.6171, 0.9983]),
    multi_label=st.booleans(),
    known=st.booleans(),
    arrow=st.booleans(),
)
def test_every_tile_has_what_a_plain_reading_of_the_rules_gives_it(labels, least, multi_label, known, arrow):
    config = CENTRE if least is None else JoinConfig(rule="overlap", min_overlap=least)
    where = places({name: [(x, y, 6) for x in range(0, 24, STEP) for y in range(0, 20, STEP)] for name in ("b", "a")})
    patient_of = {"a": "p1", "b": "p3"} if known else {}
    plain = Plain(where, labels, patient_of, config, multi_label)
    expected = [plain.tile(i) for i in range(len(where))]
    clash = [
        e is not None and (len(e[2]) > 1 or len(e[3]) > 1 or (len(e[0]) > 1 and not multi_label)) for e in expected
    ]
    good = [e if not c else None for e, c in zip(expected, clash, strict=True)]
    classes = sorted({name for e in good if e for name in e[0]})
    rows: pa.Table | list[dict[str, Any]] = labels
    if arrow:
        rows = pa.Table.from_pylist([*labels, said("other", task="another task")], schema=LABELS)
    if len(classes) < (1 if multi_label else 2):
        with pytest.raises(LabelError):
            join_labels(where, rows, patient_of, task="t", config=config, multi_label=multi_label)
        return
    found = join_labels(where, rows, patient_of, task="t", config=config, multi_label=multi_label)
    assert list(found.classes) == classes
    assert [set(name.split("+")) - {"-"} if name else None for name in classes_of(found)] == [
        e[0] if e else None for e in good
    ]
    assert found.conflicts == sum(clash)
    assert found.weak == sum(e[1] for e in good if e)
    assert names_of(found.split, found.split_names) == [next(iter(e[2]), None) if e else None for e in good]
    theirs = names_of(found.patient, found.patients)
    for i, e in enumerate(good):
        if e:
            assert theirs[i] == next(iter(e[3]), e[4])
