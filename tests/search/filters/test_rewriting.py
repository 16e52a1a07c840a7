"""Filters of a project mean the same among tiles; filters in pseudonyms tell nothing of what they stand for."""

import pytest

from embedstore.errors import ConfigError
from embedstore.search.filters.condition import parse_filter
from embedstore.search.filters.rewriting import in_real_names, of_slides


@pytest.mark.parametrize(
    ("where", "written"),
    [
        ("name = 'x' -- of whom", '"slide"."name" = \'x\''),
        ("Slide_id IN ('a', 'b') OR slide.x > 1", '"Slide_id" IN (\'a\', \'b\') OR "slide"."x" > 1'),
        ("starts_with(\"a b\", 'it''s')", "starts_with(\"slide\".\"a b\", 'it''s')"),
    ],
)
def test_columns_of_a_project_are_those_of_slides(where: str, written: str):
    assert of_slides(where) == written


@pytest.mark.parametrize(
    "where",
    [
        "a > timestamp '2026-01-31' AND b IS NOT DISTINCT FROM 'x' OR NOT (c BETWEEN 1 AND 2)",
        "cast(a AS int) % 3 = 1 AND a || 'x' LIKE 'y\\%' ESCAPE '\\'",
        "case when a then b else -c end = 1e3 AND coalesce(b, 'ä\n') <> 'Y'",
    ],
)
def test_filter_that_is_written_anew_says_the_same(where: str):
    written = in_real_names(where, lambda name: True, {})
    assert parse_filter(written) == parse_filter(where)


REAL = {"slide_id": {"S-1": "a.svs", "S-2": "it's.svs"}.__getitem__, "patient": lambda name: f"real {name}"}


@pytest.mark.parametrize(
    ("where", "real"),
    [
        ("slide_id = 'S-1'", "slide_id = 'a.svs'"),
        ("'S-2' = (Slide_ID) AND x > 3", "'it''s.svs' = (Slide_ID) AND x > 3"),
        ("slide_id NOT IN ('S-1', ('S-2'))", "NOT slide_id IN ('a.svs', ('it''s.svs'))"),
        ("slide.patient <> 'P' OR patient IS NOT NULL", "slide.patient <> 'real P' OR NOT patient IS NULL"),
    ],
)
def test_pseudonyms_become_real_values(where: str, real: str):
    assert in_real_names(where, lambda name: True, REAL) == real


@pytest.mark.parametrize(
    "where",
    [
        "slide_id LIKE 'a%'",
        "patient > 'M'",
        "patient BETWEEN 'a' AND 'b'",
        "length(patient) = 3",
        "lower(patient) = 'x'",
        "patient || '' = 'x'",
        "slide_id = patient",
        "slide_id IN (patient)",
        "patient = concat('a', 'b')",
        "patient = 3",
        "patient IN (3)",
        "coalesce(patient, 'a') = 'b'",
        "case when slide_id = 'S-1' then patient else 'x' end = 'y'",
        "patient IS DISTINCT FROM 'x'",
        "regexp_like(tile.slide_id, 'a')",
        "patient",
        "cast(patient as int) > 3",
        "'a' IN (patient, 'b')",
    ],
)
def test_pseudonyms_cannot_be_asked_about(where: str):
    with pytest.raises(ConfigError, match="holds pseudonyms"):
        in_real_names(where, lambda name: True, REAL)


@pytest.mark.parametrize(
    "where", ["path = 'x'", "slide.Path like 'x'", "x > 1 AND NOT (diagnosis = 'a')", "tile.path = 'a'"]
)
def test_columns_that_are_not_shown_cannot_be_asked_about(where: str):
    with pytest.raises(ConfigError, match="is shown"):
        in_real_names(where, {"x", "slide_id"}.__contains__, REAL)
