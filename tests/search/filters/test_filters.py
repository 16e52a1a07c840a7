"""Filters, against SQLite over all that is known of each tile."""

import re
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedstore.errors import ConfigError
from embedstore.search.filters import selection as module
from embedstore.search.filters.selection import filter_columns, filter_tiles, select_slides, select_tiles
from embedstore.store import Collection, Store
from tests.marks import examples
from tests.search.filters.filter_scene import build, by_sqlite, let_through, sqlite

Scene = tuple[Store, Collection, sqlite3.Connection]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    store, collection = build(tmp_path_factory.mktemp("filters"))
    return store, collection, sqlite(collection)


CASES = [
    "x > 200",
    "slide_id = 'a.svs'",
    "slide_id LIKE '%''s.svs' OR tissue <= 0.5",
    "tile.name = 'x1.png'",
    "tile.name IS NULL",
    "slide.name = 'first'",
    "cohort = 'A'",
    "cohort <> 'A'",
    "NOT cohort = 'A'",
    "cohort IS NULL",
    "cohort NOT IN ('A', 'C')",
    "cohort IN ('A', NULL)",
    "cohort NOT IN ('A', NULL)",
    "patient = 'O''Brien; x'",
    "patient LIKE 'P%' AND stage BETWEEN 2 AND 3",
    "good",
    "NOT good",
    "good IS NOT TRUE",
    "cohort = 'C'",  # of a slide without tiles
    "cohort = 'Z'",
    "kind = 'wsi' OR kind = 'tiles'",
    "stage * 2 - 1 >= 3",
    "stage = 2 AND x > 100 AND label.lesion = 'stroma'",
    "stage = 2 OR x > 100",
    "NOT (cohort = 'A' OR x > 100)",
    "NOT (cohort = 'A' AND x > 100)",
    "(cohort = 'A' AND x > 100) IS NULL",
    "stage * 100 < x",
    "label.lesion = 'tumour'",
    "label.lesion <> 'tumour'",
    "label.lesion IS NULL",
    "label.lesion IS NOT NULL AND NOT label.lesion LIKE 't%'",
    "label.\"atypical mitosis\" = 'yes'",
    "label.grading = 'high' AND x < 300",
    "label.grading = 'low' OR label.lesion = 'tumour'",
    "label.elsewhere = 'yes'",
    "label.elsewhere IS NULL AND x = 0",
    '"tumour-linear".p_tumour > 0.5',
    '"tumour-linear".p_tumour > 0.5 AND "tumour-linear".p_normal > 0.25',
    '"tumour-linear".label = \'tumour\' OR "tumour-linear".p_tumour <= 0.125',
    '"tumour-linear".p_tumour IS NULL',
    'NOT "tumour-linear".p_tumour > 0.5',
    'coalesce("tumour-linear".p_tumour, 0) < 0.25',
    '"tumour-linear".p_tumour > 0.5 AND label.lesion IS NULL AND x < 500',
    "\"tumour-linear\".p_tumour > 0.25 OR cohort = 'A' OR label.lesion = 'benign'",
    "NOT (\"tumour-linear\".p_tumour > 0.25 OR cohort = 'A' OR label.lesion = 'benign')",
    '"tumour-linear".p_tumour > "Grade".p_tumour',
    "whole.p_tumour > 0.5 OR cohort = 'A'",
    'whole.p_tumour > 0.3 AND "tumour-linear".p_tumour > 0.5',
    '"Grade".p_tumour > 0.5',
    '"Grade".label IS NULL',
    "\"Grade\".label = 'normal' AND x = 100",
    '"Grade".attention > 0.25',
    '"Grade".attention > 0 AND "tumour-linear".p_tumour >= 0.5',
    "true",
    "x = 0 AND false",
    "CAST(stage AS TEXT) = '2'",
    "lower(patient) = 'p1'",
    "x > 150.5",
    "x < 99999999999 AND stage < 1e30",
    "x IN (100, 200.0, 250.5)",
    "stage BETWEEN 1.5 AND 3",
    "100.0 / x > 0.4",
    "x % (stage - stage) IS NULL",
    "-x < -200 AND - stage * 2 <= -2",
    "stage + 9223372036854775807 > 0",
    "round(tissue, 1) = 0.7",
    "length(patient) > 2",
    "trim(upper(patient)) LIKE 'P_'",
    "nullif(cohort, 'A') IS NULL",
    "patient || '/' || cohort = 'P1/B'",
    "good = (stage > 1)",
    "cohort IS NOT DISTINCT FROM NULL",
    "NOT (cohort IN ('A') AND NOT cohort IN ('A'))",
    "x NOT BETWEEN 100 AND 300 AND cohort NOT LIKE 'B'",
]


@pytest.mark.parametrize("where", CASES)
def test_a_filter_finds_what_sqlite_finds(scene: Scene, where: str):
    store, collection, database = scene
    assert let_through(collection, select_tiles(store, collection, where)) == by_sqlite(database, where)


TEXTS = {
    "slide_id": ["a.svs", "c''s.svs", "f"],
    "tile.name": ["x1.png", "y1.png"],
    "patient": ["P1", "O''Brien; x"],
    "cohort": ["A", "B"],
    "label.lesion": ["tumour", "stroma", "benign"],
    'label."atypical mitosis"': ["yes"],
    "label.grading": ["high", "low"],
    '"tumour-linear".label': ["tumour", "normal"],
    '"Grade".label': ["tumour"],
}
NUMBERS = {
    "x": [0, 100, 300],
    "tissue": [0.5, 0.75],
    "stage": [1, 2, 3],
    '"tumour-linear".p_tumour': [0.25, 0.5, 0.75],
    '"Grade".p_tumour': [0.5],
    '"Grade".attention': [0, 0.25],
}


@st.composite
def atoms(draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        column = draw(st.sampled_from(sorted(TEXTS)))
        values = [f"'{value}'" for value in TEXTS[column]]
        forms = ["{c} = {v}", "{c} <> {v}", "{c} IN ({v})", "{c} NOT IN ({v})", "{c} LIKE '%s%'", "{c} IS NULL"]
    else:
        column = draw(st.sampled_from(sorted(NUMBERS)))
        values = [str(value) for value in NUMBERS[column]]
        forms = ["{c} > {v}", "{c} <= {v}", "{c} = {v}", "{c} BETWEEN {v} AND 2", "{c} IS NOT NULL"]
    return draw(st.sampled_from(forms)).format(c=column, v=draw(st.sampled_from(values)))


conditions = st.recursive(
    atoms(),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        inner.map(lambda text: f"NOT ({text})"),
        inner.map(lambda text: f"({text}) IS NOT TRUE"),
    ),
    max_leaves=5,
)


@given(where=conditions)
@settings(deadline=None, max_examples=examples(60))
def test_any_filter_finds_what_sqlite_finds(scene: Scene, where: str):
    store, collection, database = scene
    assert let_through(collection, select_tiles(store, collection, where)) == by_sqlite(database, where)


# -- how it is asked ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "pushed"),
    [
        ("cohort = 'A'", "slide_id IN ('a.svs', 'd.svs')"),
        ("cohort <> 'A' OR cohort IS NULL", "NOT slide_id IN ('a.svs', 'd.svs')"),
        ("cohort = 'Z' AND label.lesion = 'tumour'", "false"),
        ("kind IS NOT NULL", None),
        ("kind IS NOT NULL AND X > 5", "(`x` > 5)"),
        ("COHORT = 'A' AND slide.Stage = 1", "slide_id IN ('d.svs')"),
    ],
)
def test_conditions_on_slides_and_tiles_need_no_list_of_tiles(scene: Scene, where: str, pushed: str | None):
    selection = select_tiles(*scene[:2], where)
    assert selection.where == pushed
    assert selection.tile_ids is None or not len(selection.tile_ids)


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ("\"cohort\" = 'A'", ["a.svs", "d.svs"]),
        ("NOT cohort = 'A'", ["b.svs", "e.svs", "f"]),
        ("cohort IS NULL OR slide.name = 'first'", ["a.svs", "c's.svs"]),
        ("Grade.p_tumour > 0.5 AND stage > 2", ["e.svs"]),
        ("slide_id LIKE 'd%'", ["d.svs"]),
        ("stage > 9", []),
    ],
)
def test_slides_are_filtered_by_what_is_theirs(scene: Scene, where: str, passes: list[str]):
    store, collection, _ = scene
    assert sorted(select_slides(store, collection, where)) == passes


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("tissue > 0.5 AND cohort = 'A'", "tissue may differ from tile to tile; expected .* slide_id, .*cohort"),
        ("label.lesion = 'tumour'", "label.lesion may differ"),
        ("cohort = 'A'; SELECT 1", "semicolon"),
        ("CAST(patient AS INT) > 1", "slides cannot be filtered by .*Cannot cast string 'P1'"),
    ],
)
def test_slides_are_not_filtered_by_what_is_of_tiles(scene: Scene, where: str, message: str):
    store, collection, _ = scene
    with pytest.raises(ConfigError, match=message):
        select_slides(store, collection, where)


@pytest.mark.parametrize(
    "where",
    [
        "CAST(slide_id AS INT) > 1 AND label.lesion = 'tumour'",
        "CAST(slide_id AS INT) > 1 AND label.lesion IS NULL",
        'CAST("tumour-linear".label AS INT) > 1',
        'CAST("tumour-linear".label AS INT) > 1 AND x > 100',
        "CAST(tile.name AS INT) > 1",
        "regexp_like(slide_id, '[') OR x > 100",
    ],
)
def test_what_fails_on_a_value_is_told(scene: Scene, where: str):
    store, collection, _ = scene
    with pytest.raises(ConfigError, match=r"cannot be (filtered|evaluated)"):
        select_tiles(store, collection, where)


@pytest.mark.parametrize("where", ["x > 200", "cohort = 'A' AND label.lesion = 'tumour'", "label.lesion IS NULL"])
def test_the_rows_of_the_tiles_that_pass_are_read_in_their_order(scene: Scene, where: str):
    store, collection, database = scene
    rows = filter_tiles(store, collection, where, columns=["vector", "tile_id"])
    passing = set(by_sqlite(database, where))
    in_order = [i for i in collection.tiles(columns=["tile_id"])["tile_id"].to_pylist() if i in passing]
    assert rows["tile_id"].to_pylist() == in_order != [] and rows.column_names == ["vector", "tile_id"]
    some = filter_tiles(store, collection, where, slide_id="a.svs", columns=["tile_id", "slide_id"], limit=1)
    assert some["tile_id"].to_pylist() == in_order[:1] and some["slide_id"].to_pylist() == ["a.svs"]


def test_without_a_filter_every_tile_may_do(scene: Scene):
    selection = select_tiles(*scene[:2], None)
    assert selection.where is None and selection.tile_ids is None


def test_a_name_that_tile_and_slide_both_have_is_told_and_is_the_slides_among_slides(scene: Scene):
    store, collection, _ = scene
    with pytest.raises(ConfigError, match=r"'name' in the filter may be tile\.name or slide\.name; write it as one"):
        select_tiles(store, collection, "name = 'x1.png'")
    assert select_slides(store, collection, "name = 'first'") == ["a.svs"]


@pytest.mark.parametrize("length", [100, 1000])
def test_long_filters_are_evaluated_within_a_stack(scene: Scene, length: int):
    store, collection, database = scene
    any_of = " OR ".join(f"slide_id = 'slide-{i}'" for i in range(length - 2))
    where = f"({any_of} OR slide_id = 'f') OR cohort = 'A' AND x > 100"
    assert let_through(collection, select_tiles(store, collection, where)) == by_sqlite(
        database, "slide_id = 'f' OR cohort = 'A' AND x > 100"
    )


def test_a_table_of_predictions_is_asked_itself(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    store, collection, database = scene
    monkeypatch.setattr(module, "tile_table", None)
    where = '"tumour-linear".p_tumour > 0.5 AND "Grade".attention > 0.1 AND cohort = \'A\''
    assert let_through(collection, select_tiles(store, collection, where)) == by_sqlite(database, where) != []


def test_only_tiles_that_the_other_conditions_leave_are_looked_at(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def watched(*args, **options):
        seen.append(whole(*args, **options))
        return seen[-1]

    whole = module.tile_table
    monkeypatch.setattr(module, "tile_table", watched)
    where = "cohort = 'A' AND x > 100 AND (label.lesion = 'stroma' OR label.lesion IS NULL)"
    select_tiles(*scene[:2], where)
    assert set(seen[0].column("slide_id").to_pylist()) == {"a.svs", "d.svs"}
    assert len(seen[0]) == 5


def test_labels_by_the_names_of_an_empty_collection(tmp_path: Path, scene: Scene):
    from tests.search.filters.filter_scene import RECORD

    store = scene[0]
    empty = Collection.create(store.uri, "empty", RECORD)
    try:
        selection = select_tiles(store, empty, "label.lesion = 'tumour' AND cohort = 'A'")
        assert len(selection.tile_ids) == 0 and selection.tile_ids.dtype == np.int64
    finally:
        empty.table.drop()


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
@settings(deadline=None)
def test_text_stays_as_it_is_written(text: str):
    from embedstore.search.filters.columns import Column
    from embedstore.search.filters.condition import split_filter
    from embedstore.store.sql import sql_string

    patient = Column(prefix="", name="patient", source="slide", per_slide=True, kind=pa.string())
    (condition,) = split_filter(f"patient = {sql_string(text)}", lambda name: patient)
    assert condition.sql(lambda column: column.name.upper()) == f"(`PATIENT` = {sql_string(text)})"


def test_only_slides_with_labels_are_looked_at(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    seen = []
    whole = module.tile_table
    monkeypatch.setattr(module, "tile_table", lambda *a, **o: seen.append(whole(*a, **o)) or seen[-1])
    for where in ("label.lesion = 'tumour'", "label.grading = 'high'", "label.lesion IS NULL"):
        select_tiles(*scene[:2], where)
    slides = [set(tiles.column("slide_id").to_pylist()) for tiles in seen]
    assert slides[0] == {"a.svs", "b.svs", "f"}
    assert slides[1] == slides[2] == {"a.svs", "b.svs", "c's.svs", "d.svs", "f"}  # a patient's label may be of any


# -- what may be named ----------------------------------------------------------------------


def test_all_that_may_be_named_is_listed_with_its_origin(scene: Scene):
    columns = filter_columns(*scene[:2])
    assert {name: columns[name] for name in ("x", "patient", "cohort", "slide.name", "tile.name")} == {
        "x": "tile", "patient": "slide", "cohort": "slide", "slide.name": "slide", "tile.name": "tile",
    }  # fmt: skip
    assert columns['label."atypical mitosis"'] == "label"
    assert columns['"tumour-linear".p_tumour'] == "head tumour-linear"
    assert columns["Grade.attention"] == columns["Grade.p_normal"] == "head Grade"
    assert not [name for name in columns if "vector" in name or name.startswith("other")]
    for name in columns:
        select_tiles(*scene[:2], f"{name} IS NULL")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "cohrt = 'A'",
            r"no column 'cohrt'.*mean cohort\..*of the tile: tile_id, .*of its slide: .*of labels: .*of head Grade: ",
        ),
        ("p_tumour > 0.5", r'did you mean (Grade|whole|"tumour-linear")\.p_tumour'),
        ("tumour-linear.p_tumour > 0.5", r'did you mean "tumour-linear"\.p_tumour'),
        ("label.lesoin = 'x'", r"did you mean label\.lesion"),
        ('cohort = "A"', r"no column 'A'.*single quotes"),
        ("vector IS NULL", "no column 'vector'"),
        ("other.p_tumour > 0.5", r"head 'other', whose predictions are of collection 'another'"),
    ],
)
def test_an_unknown_column_is_told_with_those_there_are(scene: Scene, where: str, message: str):
    with pytest.raises(ConfigError, match=message):
        select_tiles(*scene[:2], where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "is empty"),
        ("x > 1;", "semicolon"),
        ("x > 1; DROP TABLE slides", "semicolon"),
        ("DELETE FROM slides", "not SQL"),
        ("SELECT 1", "not SQL"),
        ("slide_id IN (SELECT slide_id FROM slides)", "SELECT slide_id FROM slides.*cannot have"),
        ("EXISTS(SELECT 1)", "SELECT 1.*cannot have"),
        ("max(x) > 1", "no function max in a filter, which is of one tile; there are abs, "),
        ("x BETWEEN SYMMETRIC 1 AND 2", "cannot have"),
        ("(x, y) = (1, 2)", "cannot have"),
        ("x = ANY(y)", "cannot have"),
        ("x IN ()", "cannot have"),
        ("updated_at > 'yesterday'", "'yesterday' is no time; expected one such as timestamp '2026-01-31"),
        ("x > 1e400", "too large for a number"),
        ("x = " + "9" * 5000, "too large for a number"),
        ("x" + " + x" * 800 + " > 1", "a chain of 801 values"),
        ("coalesce(" * 20 + "x" + ")" * 20 + " > 1", "nested too deeply; expected at most 10 levels"),
        ("(" * 60 + "x > 1" + ")" * 60, "nested too deeply"),
        ("x = 1" + " OR x = 1" * 20_000, "60,002 names and operators; .* write it with IN"),
        ("x IN (" + "1, " * 500_000 + "1)", "1,500,008 characters"),
        ("repeat('a', 2000000000) = patient", "no function repeat"),
        ("left(patient, 2000000000) = 'a'", "expected a whole number from 1 to 1000"),
        ("stage = '2'", "stage is a number, '2' is text; text stands in single quotes, numbers without"),
        ("patient = 7", "patient is text, 7 is a number"),
        ("patient LIKE cohort", "'cohort' is no pattern"),
        ("coalesce() = 1", "has 0 values"),
        ("CAST(x AS DECIMAL(200, 100)) = 1", "type that a filter cannot have"),
        ("row_number() OVER () > 1", "cannot have"),
        ("x > ?", "cannot have"),
        ("x >", "not SQL"),
        ("x > 1 AND (y > 2", "not SQL"),
        ("patient = 'a", "not SQL"),
        ("NOT " * 4000 + "x > 1", "nested too deeply"),
        ("x", "cannot be filtered by 'x'.*boolean"),
        ("patient", "cannot be filtered by 'patient'.*boolean"),
        ("x > 'many'", "cannot be filtered by.*many"),
        ("label.lesion > 5 ", "cannot be filtered by"),
        ('"tumour-linear".label = 5', "cannot be filtered by"),
        ("CAST(patient AS INT) = 1", "cannot be filtered by.*Cannot cast"),
        ("frobnicate(x) = 1", "frobnicate"),
    ],
)
def test_what_is_no_condition_on_a_tile_is_refused(scene: Scene, where: str, message: str):
    with pytest.raises(ConfigError, match=re.compile(message, re.DOTALL)):
        select_tiles(*scene[:2], where)


def test_an_unknown_column_of_slides_is_told_with_those_of_slides(scene: Scene):
    with pytest.raises(
        ConfigError, match=r"no column 'kohort'.*mean cohort\. Columns are, of the tile: slide_id; of its"
    ):
        select_slides(*scene[:2], "kohort = 'A'")


def test_names_that_differ_by_case_alone_are_told_apart(tmp_path: Path):
    store, collection = build(tmp_path)
    from embedstore.store import SlideRow

    metadata = {"Site": "north", "site": "south", "SITE code": 1}
    store.ledger.admit_columns([metadata])
    store.ledger.record([SlideRow(slide_id="a.svs", path="", kind="wsi", metadata=metadata)], [])
    assert select_tiles(store, collection, "site = 'north'").where == "false"
    assert select_tiles(store, collection, '"Site" = \'north\' AND "site code" = 1').where == "slide_id IN ('a.svs')"
    with pytest.raises(ConfigError, match=r"'SITE' in the filter may be (Site or site|site or Site);"):
        select_tiles(store, collection, "SITE = 'north'")


def test_a_head_that_has_predicted_nothing_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    store, collection, _ = scene
    monkeypatch.setattr(store.heads, "names", lambda: ["fresh"])
    with pytest.raises(ConfigError, match=r"head 'fresh' has predicted nothing yet, `embedstore predict --head fresh`"):
        select_tiles(store, collection, "fresh.p_tumour > 0.5")
