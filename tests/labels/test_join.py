"""The join by place, against the same said one tile at a time."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import translate

from embedstore.config import JoinConfig
from embedstore.errors import LabelError, TaskNotFoundError
from embedstore.labels import TileTargets, join_labels
from embedstore.labels.geometry import NUDGE_L0
from embedstore.store import CollectionWriter, read_tile_locations
from embedstore.store.schema import LABELS

from .places import TASK, area, folder, grid, label

CENTRE = JoinConfig()


def joined(
    places, labels, patients: Mapping[str, str | None] | None = None, *, config: JoinConfig = CENTRE, **options: Any
) -> TileTargets:
    return join_labels(places, labels, patients or {}, task=TASK, config=config, **options)


def said(answers: TileTargets) -> list[str | None]:
    """The class of each tile, None where it has none."""
    return [
        answers.classes[int(row.argmax())] if known else None
        for row, known in zip(answers.targets, answers.labelled, strict=True)
    ]


def picture(answers: TileTargets, columns: int) -> list[str]:
    """The first letter of each tile's class, a line a row of tiles."""
    letters = "".join("." if name is None else name[0] for name in said(answers))
    return [letters[i : i + columns] for i in range(0, len(letters), columns)]


# -- areas ----------------------------------------------------------------------------------


def test_a_tile_lies_in_an_area_when_its_centre_does():
    places = grid({"a.svs": (4, 3)})
    shapes = [area("tumour", shapely.box(40, 40, 260, 160)), area("fat", shapely.box(260, 140, 400, 300))]
    assert picture(joined(places, shapes), 4) == ["ttt.", "tttf", "...f"]


def test_a_hole_is_outside():
    ring = shapely.Polygon(shapely.box(0, 0, 300, 300).exterior, [shapely.box(90, 90, 210, 210).exterior])
    answers = joined(grid({"a.svs": (3, 3)}), [area("tumour", ring), label("rest", "rest")])
    assert picture(answers, 3) == ["ttt", "trt", "ttt"]


def test_a_centre_on_a_common_border_lies_in_one_of_the_areas():
    shapes = [("one", 0, 50), ("two", 50, 150), ("one", 150, 250)]  # centres lie at 50, 150 and 250
    rows = [area(name, shapely.box(left, 0, right, 50)) for name, left, right in shapes]
    rows += [area(name, shapely.box(left, 50, right, 100)) for name, left, right in shapes]
    assert said(joined(grid({"a.svs": (3, 1)}), rows)) == ["two", "one", None]


@st.composite
def scenes(draw):
    """Tiles with a stride, and polygons of two classes off the lattice."""
    edge = draw(st.sampled_from([40, 64]))
    places = grid({"a.svs": (7, 5), "b.svs": (3, 3)}, edge=edge, stride=draw(st.sampled_from([edge, edge // 2])))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(draw(st.integers(2, 7))):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        points = rng.uniform(0, 300, 2) + rng.uniform(10, 150, 9)[:, None] * np.stack(
            [np.cos(angles), np.sin(angles)], axis=1
        )
        slide = "a.svs" if rng.random() < 0.7 else "b.svs"
        shapes.append((slide, str(rng.choice(["x", "y"])), shapely.make_valid(shapely.Polygon(points))))
    return places, shapes


def one_by_one(places, shapes, lies_in) -> list[set[str]]:
    found = []
    for slide, (x, y), edge in zip(places.slide, places.xy_l0.tolist(), places.edge_l0.tolist(), strict=True):
        tile = shapely.box(x, y, x + edge, y + edge)
        mine = [(name, shape) for where, name, shape in shapes if where == places.slides[slide]]
        found.append({
            name for name in ("x", "y")
            if lies_in(tile, shapely.union_all([shape for other, shape in mine if other == name]))
        })  # fmt: skip
    return found


@given(scenes(), st.sampled_from([None, 0.05, 0.5, 0.9, 1.0]))
@settings(max_examples=60, deadline=None)
def test_areas_are_joined_as_one_by_one(scene, share):
    places, shapes = scene

    def lies_in(tile, union):
        if share is None:
            return bool(shapely.contains(union, translate(tile.centroid, *NUDGE_L0)))  # nudged off common borders
        return union.intersection(tile).area / tile.area >= share - 1e-9

    expected = one_by_one(places, shapes, lies_in)
    config = CENTRE if share is None else JoinConfig(rule="overlap", min_overlap=share)
    rows = [area(name, shape, slide) for slide, name, shape in shapes]
    # a multi-label task with a tile of class z shows the classes of every tile, conflicts or none hit included
    rows.append(label("z", slide_id="b.svs", x=0, y=0, edge_l0=float(places.edge_l0[0])))
    answers = joined(places, rows, config=config, multi_label=True)
    found = [{answers.classes[k] for k in np.flatnonzero(row)} - {"z"} for row in answers.targets]
    assert found == expected


def test_a_large_outline_is_cut_to_pieces_without_a_trace():
    """Areas of more points than are compared at once: shares are those of the whole."""
    angles = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    radius = 700 + 90 * np.sin(23 * angles)
    blob = shapely.Polygon(1000 + np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1))
    hole = shapely.Point(900, 1100).buffer(222, quad_segs=500)
    shape = shapely.difference(blob, hole)
    places = grid({"a.svs": (20, 20)})
    for share in (0.1, 0.5, 0.999):
        config = JoinConfig(rule="overlap", min_overlap=share)
        answers = joined(places, [area("x", shape), label("y", "rest")], config=config)
        boxes = [shapely.box(x, y, x + 100, y + 100) for x, y in places.xy_l0.tolist()]
        expected = ["x" if shape.intersection(tile).area / 1e4 >= share else "y" for tile in boxes]
        assert said(answers) == expected


def test_two_areas_of_a_class_count_together_and_what_they_share_once():
    places = grid({"a.svs": (2, 1)})
    half = JoinConfig(rule="overlap", min_overlap=0.5)
    apart = [area("x", shapely.box(0, 0, 30, 100)), area("x", shapely.box(70, 0, 100, 100))]
    twice = [area("x", shapely.box(0, 0, 30, 100)), area("x", shapely.box(0, 0, 30, 99))]
    rest = label("y", "rest")
    assert said(joined(places, [*apart, rest], config=half)) == ["x", "y"]
    with pytest.raises(LabelError, match="a head needs two classes, found x 0, y 2"):
        joined(places, [*twice, rest], config=half)


# -- points and tiles -----------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(-10, 410), st.integers(-10, 310)), max_size=12))
@settings(max_examples=60, deadline=None)
def test_a_point_is_about_every_tile_that_holds_it(points):
    places = grid({"a.svs": (7, 5), "b.svs": (1, 1)}, edge=100, stride=50)
    rows = [label("x", "point", x=float(x), y=float(y)) for x, y in points]
    rows += [label("y", "rest"), label("x", "slide", "b.svs")]
    expected = [
        "x" if any(left <= x < left + 100 and top <= y < top + 100 for x, y in points) else "y"
        for left, top in places.xy_l0[:-1].tolist()
    ]
    if "y" in expected:
        assert said(joined(places, rows)) == [*expected, "x"]


def test_a_label_of_a_tile_is_about_that_tile_alone():
    places = grid({"a.svs": (3, 3), "b.svs": (2, 1)}, edge=100, stride=50)  # neighbours overlap by half
    rows = [
        label("x", x=50.0, y=50.0, edge_l0=100.0),
        label("y", slide_id="b.svs", x=50.0, y=0.0, edge_l0=100.0),
        label("y", slide_id="elsewhere.svs", x=0.0, y=0.0, edge_l0=100.0),
    ]
    assert said(joined(places, rows)) == [None] * 4 + ["x"] + [None] * 4 + [None, "y"]


def test_a_tile_of_another_tiling_is_an_area():
    places = grid({"a.svs": (4, 4)})
    rows = [
        label("x", x=0.0, y=0.0, edge_l0=200.0),
        label("y", x=250.0, y=250.0, edge_l0=100.0),  # centres at 250 and 350: the left and upper border is its own
    ]
    assert picture(joined(places, rows), 4) == ["xx..", "xx..", "..y.", "...."]


def test_tiles_are_matched_by_name_within_their_slide():
    places = folder({"f": ["a.png", "b.png", "c.png"], "g": ["a.png", "d.png"]})
    rows = [
        label("x", slide_id="f", name="a.png", split="train", patient="p1"),
        label("y", slide_id="g", name="a.png", split="test", patient="p2"),
        label("y", slide_id="f", name="c.png", split="train"),
        label("y", slide_id="g", name="nowhere.png"),
    ]
    answers = joined(places, rows, {"f": "pf", "g": None})
    assert said(answers) == ["x", None, "y", "y", None]
    assert [answers.split_names[i] if i >= 0 else None for i in answers.split] == ["train", None, "train", "test", None]
    names = [answers.patients[i] if i >= 0 else None for i in answers.patient]
    assert names == ["p1", "pf", "pf", "p2", None]  # a label's own patient wins over its slide's


def test_a_million_odd_places_do_not_collide():
    """Matching is by equality in all columns, not by a hash of them."""
    rng = np.random.default_rng(0)
    n = 20_000
    xy = np.unique(rng.integers(0, 2**31 - 1, (n, 2)), axis=0)
    places = dataclasses.replace(
        grid({"a.svs": (1, 1)}), row=np.arange(len(xy)), tile_id=np.arange(len(xy)),
        slide=np.zeros(len(xy), np.int32), xy_l0=xy.astype(np.int32), edge_l0=np.full(len(xy), 7, np.int32),
    )  # fmt: skip
    chosen = rng.permutation(len(xy))[:3000]
    table = {field.name: pa.nulls(len(chosen), field.type) for field in LABELS}
    table |= {
        "key": pa.array(map(str, range(len(chosen)))), "task": pa.array([TASK] * len(chosen)),
        "kind": pa.array(["tile"] * len(chosen)), "slide_id": pa.array(["a.svs"] * len(chosen)),
        "label": pa.array(["x", "y", "y"] * 1000), "x": pa.array(xy[chosen, 0].astype(float)),
        "y": pa.array(xy[chosen, 1].astype(float)), "edge_l0": pa.array([7.0] * len(chosen)),
    }  # fmt: skip
    answers = joined(places, pa.table(table))
    expected = [None] * len(xy)
    for i, tile in enumerate(chosen):
        expected[tile] = "xyy"[i % 3]
    assert said(answers) == expected


# -- rest, slides, patients -----------------------------------------------------------------


def test_rest_is_what_no_other_label_is_about():
    places = grid({"a.svs": (4, 2), "b.svs": (1, 1)})
    rows = [
        area("tumour", shapely.box(0, 0, 100, 200)),
        label("artefact", "point", x=110.0, y=10.0),
        label("normal", "rest"),
    ]
    assert picture(joined(places, rows), 4)[:2] == ["tann", "tnnn"]
    chosen = joined(places, rows, classes=["normal", "tumour"])
    assert picture(chosen, 4) == ["t.nn", "tnnn", "."]  # what is of a class not asked for is not normal either
    assert (chosen.classes, chosen.ignored) == (("normal", "tumour"), 1)


def test_rest_within_an_area_ends_with_the_area():
    places = grid({"a.svs": (4, 2)})
    rows = [area("tumour", shapely.box(0, 0, 100, 100)), area("normal", shapely.box(0, 0, 300, 100), kind="rest")]
    assert picture(joined(places, rows), 4) == ["tnn.", "...."]


def test_labels_of_slides_and_patients_yield_to_finer_ones():
    places = grid({"a.svs": (2, 1), "b.svs": (2, 1), "c.svs": (2, 1), "d.svs": (1, 1)})
    patients = {f"{name}.svs": "p1" if name in "ab" else "p2" for name in "abcd"}
    rows = [
        label("tile", x=0.0, y=0.0, edge_l0=100.0),
        label("slide", "slide", "a.svs"),
        label("slide", "slide", "c.svs"),
        label("patient", "patient", None, patient="p1"),
    ]
    answers = joined(places, rows, patients)
    assert said(answers) == ["tile", "slide", "patient", "patient", "slide", "slide", None]
    assert answers.weak == 5


# -- conflicts ------------------------------------------------------------------------------


def test_two_classes_on_a_tile_are_a_conflict_and_told():
    places = grid({"a.svs": (3, 1)})
    rows = [area("x", shapely.box(0, 0, 200, 100)), area("y", shapely.box(100, 0, 300, 100))]
    answers = joined(places, rows)
    assert said(answers) == ["x", None, "y"]
    assert answers.conflicts == 1
    assert answers.conflict_examples == ("slide a.svs at 100, 0: x and y",)


@pytest.mark.parametrize(("column", "noun"), [("split", "split one and two"), ("patient", "patient one and two")])
def test_two_splits_or_patients_on_a_tile_are_a_conflict_too(column, noun):
    places = folder({"f": ["a.png", "b.png", "c.png"]})
    rows = [
        label("x", slide_id="f", name="a.png", author="anna", source="1", **{column: "one"}),
        label("x", slide_id="f", name="a.png", author="ben", source="2", **{column: "two"}),
        label("x", slide_id="f", name="b.png", **{column: "one"}),
        label("y", slide_id="f", name="c.png", **{column: "one"}),
    ]
    answers = joined(places, rows)
    assert said(answers) == [None, "x", "y"]
    assert answers.conflict_examples == (f"slide f, a.png: {noun}",)


def test_with_multi_label_classes_add_up_and_rest_is_none_of_them():
    places = grid({"a.svs": (4, 1)})
    rows = [
        area("x", shapely.box(0, 0, 200, 100)), area("y", shapely.box(100, 0, 300, 100)), label("none", "rest"),
    ]  # fmt: skip
    answers = joined(places, rows, multi_label=True)
    assert answers.classes == ("x", "y")
    assert answers.targets.tolist() == [[True, False], [True, True], [False, True], [False, False]]
    assert answers.labelled.all()
    assert answers.conflicts == answers.ignored == 0


# -- errors ---------------------------------------------------------------------------------


def test_an_unknown_task_names_those_there_are():
    with pytest.raises(TaskNotFoundError, match=r"no label of task 't'.*labels of grade, site.*label import"):
        joined(grid({"a.svs": (1, 1)}), [label("x", task="site"), label("x", task="grade")])


def test_an_unknown_class_names_those_there_are():
    rows = [area("x", shapely.box(0, 0, 100, 100)), label("y", "rest")]
    with pytest.raises(LabelError, match="no label of class z; its labels name x, y"):
        joined(grid({"a.svs": (2, 1)}), rows, classes=["x", "z"])


def test_one_class_alone_says_how_to_get_another():
    with pytest.raises(LabelError, match=r"needs two classes, found x 1; .*--negative"):
        joined(grid({"a.svs": (2, 1)}), [area("x", shapely.box(0, 0, 100, 100))])


def test_a_class_without_a_tile_is_left_out_or_refused_where_it_was_asked_for():
    rows = [area("x", shapely.box(0, 0, 100, 100)), area("far", shapely.box(900, 0, 999, 99)), label("y", "rest")]
    answers = joined(grid({"a.svs": (2, 1)}), rows)
    assert (answers.classes, answers.missed) == (("x", "y"), ("far",))
    with pytest.raises(LabelError, match=r"class far answers nothing.*found x 1, far 0"):
        joined(grid({"a.svs": (2, 1)}), rows, classes=["x", "far"])


def test_labels_that_hit_nothing_show_where_they_and_the_tiles_are():
    rows = [area("x", shapely.box(5000, 6000, 5100, 6200)), label("y", "point", x=5500.0, y=6100.0)]
    with pytest.raises(LabelError) as error:
        joined(grid({"a.svs": (4, 3)}), rows)
    for part in (
        "1 of kind area, 1 of kind point",
        "collection 'toy', which has 1 of these slides",
        "a.svs labels lie in x 5000 to 5500, y 6000 to 6200, tiles in x 0 to 400, y 0 to 300",
        "another --origin",
    ):
        assert part in str(error.value)


def test_labels_of_slides_that_are_not_there_name_both():
    with pytest.raises(LabelError, match=r"has 0 of these slides; labels are on z\.svs, tiles on a\.svs"):
        joined(grid({"a.svs": (1, 1)}), [label("x", "slide", "z.svs")])


# -- places ---------------------------------------------------------------------------------


def test_places_are_read_in_the_order_of_the_table(collection, deliver):
    CollectionWriter(collection).commit([deliver("b", 3), deliver("a", 2)])
    places = read_tile_locations(collection)
    table = collection.tiles()
    assert places.version == collection.dataset().version
    assert places.tile_id.tolist() == table["tile_id"].to_pylist()
    assert [places.slides[i] for i in places.slide] == table["slide_id"].to_pylist()
    assert places.xy_l0.tolist() == [
        list(xy) for xy in zip(table["x"].to_pylist(), table["y"].to_pylist(), strict=True)
    ]
    assert (places.names, places.collection) == (None, "toy")
    one = read_tile_locations(collection, slides={"a", "unknown"})
    assert one.slides == ("a",)
    assert one.row.tolist() == [i for i, name in enumerate(table["slide_id"].to_pylist()) if name == "a"]


def test_an_empty_collection_is_hit_by_nothing(collection):
    with pytest.raises(LabelError, match="hit no tile"):
        joined(read_tile_locations(collection), [area("x", shapely.box(0, 0, 1, 1)), label("y", "rest")])
