"""Filters of tiles and of slides."""

from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from embedstore.search import select_slides, select_tiles
from embedstore.search.filters.lance_sql import ARITHMETIC, COMPARISONS, FUNCTIONS, OF_ALIKE
from tests.fuzz.kind import Kind
from tests.fuzz.mutations import WORDS, changed_bytes
from tests.search.filters.filter_scene import build, let_through

TEXTS = (
    "patient", "cohort", "slide_id", "tile.name", "slide.name", "label.lesion", 'label."atypical mitosis"',
    "Grade.label", "'a'", "'P1'", "''", "'%'", "'a.svs'", "'2026-01-31'", "'\\'", "'(a+)+$'", "'1e5'",
)  # fmt: skip
NUMBERS = (
    "x", "y", "tile_id", "edge_l0", "tissue", "stage", "slide_mpp", "width_l0", '"tumour-linear".p_tumour',
    "Grade.attention", "whole.p_tumour", "0", "1", "-1", "2.5", "1e308", "1e-320", "2147483648", "9223372036854775807",
    "9223372036854775808", "9" * 40,
)  # fmt: skip
BOOLEANS = ("good", "true", "false")
TIMES = ("updated_at", "timestamp '2026-01-31'", "date '0001-01-01'", "timestamp '9999-12-31 23:59:59+14:00'")
#: What a filter cannot have, or not there.
ELSE = (
    *WORDS, "(", ")", "((", "))", ",", ".", "..", "--", "/*", "*/", "'", '"', "`", ";", "::", "[0]", "{", "$1", "?",
    ":x", "@", "~", "!~", "|", "<<", "^", "COLLATE x", "ESCAPE 'a'", "ESCAPE '\\'", "SYMMETRIC", "DISTINCT", "OVER ()",
    "CASE", "WHEN", "THEN", "END", "SELECT 1", "(SELECT 1)", "EXISTS", "ANY", "ALL", "INTERVAL '1' DAY", "DIV", "XOR",
    "RLIKE", "GLOB", "N'a'", "X'ff'", "b'1'", "0x10", "1_000", "NaN", "inf", "vector", "_rowid", "_distance", "now()",
    "current_date", "random()", "repeat('a', 2000000000)", "lpad('a', 2000000000)", "max(x)", "array_has(x, 1)",
    "CAST(x AS DECIMAL(200, 100))", "CAST(x AS ARRAY<INT>)", "TRY_CAST('1e400' AS DOUBLE)", "AT TIME ZONE 'UTC'",
    "IS UNKNOWN", "ISNULL", "OR", "AND", "NOT",
)  # fmt: skip


def _terms(kind: str, deeper: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Terms of a kind, and at times of another."""
    leaves = {"text": TEXTS, "number": NUMBERS, "boolean": BOOLEANS, "time": TIMES}[kind]
    other = st.sampled_from([*TEXTS, *NUMBERS, *BOOLEANS, *TIMES, "NULL"])
    return st.one_of(*[st.sampled_from(leaves)] * 6, deeper, other)


@st.composite
def _calls(draw: st.DrawFn, deeper: st.SearchStrategy[str]) -> str:
    name = draw(st.sampled_from([*FUNCTIONS, *OF_ALIKE]))
    takes = FUNCTIONS[name].takes if name in FUNCTIONS else draw(st.sampled_from([("text",) * 2, ("number",) * 2]))
    kinds = {"pattern": st.sampled_from(TEXTS[8:]), "count": st.sampled_from(["0", "1", "2", "99", "-1"])}
    values = [draw(kinds[kind] if kind in kinds else _terms(kind, deeper)) for kind in takes]
    return f"{name}({', '.join(values[: draw(st.sampled_from([9, 9, 9, 1]))])})"


@st.composite
def _values(draw: st.DrawFn, deeper: st.SearchStrategy[str]) -> str:
    how = draw(st.integers(0, 3))
    if how == 0:
        return draw(_calls(deeper))
    if how == 1:
        to = draw(st.sampled_from(["TEXT", "INT", "DOUBLE", "BOOLEAN", "TIMESTAMP", "FLOAT", "SMALLINT"]))
        return f"{draw(st.sampled_from(['CAST', 'TRY_CAST']))}({draw(_terms('text', deeper))} AS {to})"
    if how == 2:
        return f"({draw(_terms('text', deeper))} || {draw(_terms('text', deeper))})"
    operator = draw(st.sampled_from([*ARITHMETIC.values()]))
    return f"({draw(_terms('number', deeper))} {operator} {draw(_terms('number', deeper))})"


@st.composite
def _comparisons(draw: st.DrawFn, deeper: st.SearchStrategy[str]) -> str:
    kind = draw(st.sampled_from(["text", "number", "boolean", "time"]))
    left, right, third = (draw(_terms(kind, deeper)) for _ in range(3))
    form = draw(st.sampled_from([
        *COMPARISONS.values(), "IN", "NOT IN", "BETWEEN", "LIKE", "ILIKE", "NOT LIKE", "IS NULL", "IS NOT TRUE",
    ]))  # fmt: skip
    if form in ("IN", "NOT IN"):
        return f"{left} {form} ({right}, {third})"
    if form == "BETWEEN":
        return f"{left} BETWEEN {right} AND {third}"
    return f"{left} {form}" if form.startswith("IS N") and "DISTINCT" not in form else f"{left} {form} {right}"


VALUES = st.recursive(st.sampled_from([*TEXTS, *NUMBERS, *BOOLEANS, *TIMES]), _values, max_leaves=4)
CONDITIONS = st.recursive(
    _comparisons(VALUES),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" AND ", " OR "]), inner).map("".join),
        inner.map(lambda text: f"NOT ({text})"),
        st.tuples(inner, st.sampled_from([2, 60, 400])).map(lambda repeated: " OR ".join([repeated[0]] * repeated[1])),
        st.tuples(inner, st.sampled_from(["(", "NOT ", "- ", "NOT ("]), st.sampled_from([2, 20, 300])).map(
            lambda nested: nested[1] * nested[2] + nested[0] + ")" * nested[1].count("(") * nested[2]
        ),
    ),
    max_leaves=3,
)


@st.composite
def _changed_words(draw: st.DrawFn) -> bytes:
    words = draw(CONDITIONS).split(" ")
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(words) - 1))
        words[at : at + draw(st.integers(0, 1))] = [draw(st.sampled_from(ELSE))]
    return " ".join(words).encode("utf-8", "replace")


def _reader(folder: Path) -> Callable[[bytes], object]:
    store, collection = build(folder)

    def read(data: bytes) -> object:
        where = data.decode("utf-8", "replace")
        passing = select_slides(store, collection, where) if len(data) % 2 else []
        return passing, let_through(collection, select_tiles(store, collection, where))

    return read


KINDS = [Kind(name="filters", inputs=st.one_of(_changed_words(), changed_bytes(_changed_words())), reader=_reader)]
