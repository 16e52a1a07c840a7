"""What several authors say of the same places, and how well they agree."""

import numpy as np
import pytest
import shapely
from sklearn.metrics import cohen_kappa_score

from embedstore.errors import TaskNotFoundError
from embedstore.labels.agreement import disagreements, pairs_of_authors, statements
from embedstore.store import Label
from tests.labels.toy_labels import TASK, area, label, label_table


def tile(name: str, x: float, author: str, **values) -> Label:
    return label(name, x=x, y=0.0, edge_l0=100.0, author=author, **values)


def differing(*labels: Label) -> list[tuple]:
    """(what each author says, in the order of their names), a row a place."""
    rows = disagreements(statements(label_table(labels), TASK))
    return [tuple(value for name, value in row.items() if name.startswith("label_")) for row in rows.to_pylist()]


def pairs(*labels: Label) -> list[tuple]:
    rows = pairs_of_authors(statements(label_table(labels), TASK)).to_pylist()
    return [tuple(None if value is None else value for value in row.values()) for row in rows]


def test_places_with_two_classes_are_told_with_what_each_author_says():
    labels = [
        tile("x", 0, "anna"), tile("x", 0, "ben"), tile("x", 100, "anna"), tile("y", 100, "ben"),
        tile("y", 100, "carl"), tile("x", 200, "anna"), tile("x", 300, "ben"), tile("x", 300, "carl"),
        tile("x", 100, "anna", slide_id="b"), tile("y", 100, "ben", slide_id="b", task="other"),
    ]  # fmt: skip
    found = disagreements(statements(label_table(labels), TASK)).to_pylist()
    assert found == [
        {"kind": "tile", "slide_id": "a", "name": None, "x": 100.0, "y": 0.0, "edge_l0": 100.0, "geometry": None,
         "patient": None, "label_anna": "x", "label_ben": "y", "label_carl": "y"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    "place",
    [
        {"kind": "slide"}, {"kind": "patient", "slide_id": None, "patient": "p"}, {"kind": "point", "x": 1.0, "y": 2.0},
        {"kind": "rest"}, {"name": "a.png"}, {"kind": "area", "geometry": shapely.to_wkb(shapely.box(0, 0, 9, 9))},
    ],
)  # fmt: skip
def test_each_kind_of_place_is_compared(place: dict):
    assert differing(label("x", author="anna", **place), label("y", author="ben", **place)) == [("x", "y")]


def test_an_area_speaks_for_the_tiles_whose_centre_it_covers():
    drawn = area("y", shapely.box(0, 0, 160, 100), author="ben")
    labels = [tile("x", x, "anna") for x in (0, 100, 200)]
    assert differing(*labels, drawn) == [("x", "y"), ("x", "y")]
    assert differing(*labels, drawn, tile("x", 0, "ben")) == [("x", "y")]  # the tile itself counts before the area
    assert differing(*labels, area("x", shapely.box(0, 0, 160, 100), author="ben")) == []
    assert differing(label("x", kind="point", x=10.0, y=10.0, author="anna"), drawn) == [("x", "y")]
    assert differing(*labels, area("y", shapely.box(0, 0, 160, 100), "b", author="ben")) == []
    assert pairs(*labels, drawn) == [("anna", "ben", 2, 0.0, 0.0)]


def test_the_rest_speaks_where_its_author_drew_nothing():
    labels = [tile("x", x, "anna") for x in (0, 100)] + [label("x", "f", name="a.png", author="anna")]
    rest = [label(name, slide, kind="rest", author="ben") for name, slide in (("y", "a"), ("z", "f"))]
    assert differing(*labels, *rest, area("x", shapely.box(0, 0, 90, 90), author="ben")) == [("x", "y"), ("x", "z")]
    within = area("y", shapely.box(90, 0, 200, 100), kind="rest", author="ben")
    assert differing(*labels, within) == [("x", "y")]


def test_an_author_of_several_classes_disagrees_with_others_and_is_left_out_of_pairs():
    labels = [tile("x", 0, "anna", source="f"), tile("y", 0, "anna", source="f"), tile("x", 0, "ben")]
    assert differing(*labels) == [("x + y", "x")]
    assert differing(*labels[:2]) == []
    assert pairs(*labels) == [("anna", "ben", 0, None, None)]


def test_kappa_is_that_of_scikit_learn():
    draw = np.random.default_rng(1)
    given = {name: draw.choice(["x", "y", "z"], 200, p=p) for name, p in
             (("anna", [0.6, 0.3, 0.1]), ("ben", [0.2, 0.2, 0.6]))}  # fmt: skip
    given["ben"][:90] = given["anna"][:90]
    labels = [tile(str(name), 100 * i, who) for who, names in given.items() for i, name in enumerate(names)]
    (row,) = pairs(*labels, tile("x", 999_999, "anna"))
    assert row[:3] == ("anna", "ben", 200)
    assert row[3] == pytest.approx((given["anna"] == given["ben"]).mean())
    assert row[4] == pytest.approx(cohen_kappa_score(given["anna"], given["ben"]))


def test_no_chance_no_kappa():
    same = [tile("x", x, who) for x in (0, 100) for who in ("anna", "ben")]
    assert pairs(*same) == [("anna", "ben", 2, 1.0, None)]
    assert pairs(tile("x", 0, "anna")) == []
    with pytest.raises(TaskNotFoundError):
        statements(label_table(same), "other")
