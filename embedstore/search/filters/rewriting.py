"""Filters written anew for whoever must not see everything: a project's, and those in pseudonyms.

Import this only where there is a filter: its parser takes 70 ms to load.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlglot import exp

from embedstore.errors import ConfigError
from embedstore.search.filters.condition import FilterDialect, parse_filter
from embedstore.search.filters.lance_sql import column_name

#: {column, in small letters: the real value of one that the caller knows}.
Real = Mapping[str, Callable[[str], str]]


def of_slides(where: str) -> str:
    """A filter over columns of slides that means the same among columns of tiles, some of which have the same names.

    Raises:
        ConfigError: it is not one condition.
    """
    tree = parse_filter(where)
    for column in tree.find_all(exp.Column):
        name = column_name(column).removeprefix("slide.")
        column.set("this", exp.to_identifier(name, quoted=True))
        column.set("table", None if name.casefold() == "slide_id" else exp.to_identifier("slide", quoted=True))
    return _text(tree)


def in_real_names(where: str, is_shown: Callable[[str], bool], real: Real) -> str:
    """A filter in pseudonyms, with the real values in their place.

    A column whose values are pseudonyms may only be compared with some of them, as = and IN do, or be NULL: what
    begins with a letter, or comes before another, would tell of the real value.

    Args:
        is_shown: Whether the caller may know a column, by its name in small letters, without `slide.` and `tile.`.
        real: Columns whose values are pseudonyms; those must be shown, too.
    Raises:
        ConfigError: it is not one condition; it names a column that is not shown; or it asks something else of a
            column in pseudonyms.
    """
    tree = parse_filter(where)
    for column in list(tree.find_all(exp.Column)):
        written = column_name(column)
        name = written.casefold().removeprefix("slide.").removeprefix("tile.")
        if not is_shown(name):
            raise ConfigError(f"no column {written!r} is shown; the filter may name those that the slides have")
        if name in real:
            for literal in _compared(column, written):
                literal.replace(exp.Literal.string(real[name](literal.name)))
    return _text(tree)


def _compared(column: exp.Column, written: str) -> list[Any]:
    """The constants that a column is compared with."""
    node = column.parent
    while isinstance(node, exp.Paren):
        node = node.parent
    match node:
        case exp.EQ() | exp.NEQ():
            compared = [side.unnest() for side in (node.left, node.right) if not side.find(exp.Column)]
        case exp.In(this=this) if this.unnest() is column:
            compared = [each.unnest() for each in node.expressions]
        case exp.Is() if isinstance(node.expression, exp.Null):
            return []
        case _:
            compared = []
    if not compared or not all(isinstance(each, exp.Literal) and each.is_string for each in compared):
        raise ConfigError(
            f"{written!r} holds pseudonyms; expected = or IN with pseudonyms in single quotes, or IS NULL"
        )
    return compared


def _text(tree: Any) -> str:
    return tree.sql(dialect=FilterDialect, comments=False, normalize_functions=False)
