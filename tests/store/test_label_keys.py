"""Rows of labels that are made by columns: keys and places as those of labels one by one."""

import math
import random

from embedstore.store import Label
from embedstore.store.label import label_rows, last_of_key, place_codes


def _labels(count: int, seed: int = 0) -> list[Label]:
    rng = random.Random(seed)
    numbers = (None, 0.0, -0.0, 3, 1e22, 1e-7, 0.1 + 0.2, 123456789.25, math.inf)
    texts = (None, "", "a", "ä b", "x\ty")
    return [
        Label(
            task=rng.choice(("t", "ü")),
            label=rng.choice(("x", "y")),
            kind=rng.choice(("tile", "point", "area", "rest", "slide", "patient")),
            slide_id=rng.choice(texts),
            name=rng.choice(texts),
            x=rng.choice(numbers),
            y=rng.choice(numbers),
            edge_l0=rng.choice(numbers),
            geometry=rng.choice((None, b"", b"\x00\xff", b"abc")),
            split=rng.choice(texts),
            patient=rng.choice(texts),
            author=rng.choice(("ingest", "anna")),
            source=rng.choice(("", "/f.csv")),
        )
        for _ in range(count)
    ]


def test_keys_made_by_columns_are_those_of_each_label():
    labels = _labels(3000)
    rows = label_rows(labels)
    assert rows.column("key").to_pylist() == [label.key for label in labels]
    assert label_rows(rows).equals(rows)
    assert Label.from_table(rows) == labels
    # a key is an id in every store that there is
    fixed = Label(task="t", label="x", slide_id="a.svs", x=1.0, y=2.5, edge_l0=256.0, author="me", source="/f.csv")
    assert label_rows([fixed]).column("key").to_pylist() == [fixed.key] == ["bd6e50b21a3495b2aebff02db122c3f9"]


def test_of_equal_keys_the_last_stays_where_the_first_was():
    labels = _labels(500, seed=1)
    kept = {label.key: label for label in labels}
    assert len(kept) < len(labels)
    assert Label.from_table(last_of_key(label_rows(labels))) == list(kept.values())


def test_places_have_the_same_number_where_they_are_the_same():
    labels = _labels(2000, seed=2)
    (codes,) = place_codes(label_rows(labels))

    def place(label: Label) -> tuple:
        if label.kind == "patient":
            return ("patient", label.name, label.x, label.y, label.edge_l0, label.geometry or None, label.patient)
        return (
            label.kind, label.slide_id, label.name, label.x, label.y, label.edge_l0, label.geometry or None
        )  # fmt: skip

    assert len({*zip(codes.tolist(), map(place, labels), strict=True)}) == len({*map(place, labels)}) == len({*codes})
