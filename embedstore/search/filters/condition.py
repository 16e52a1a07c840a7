"""The conditions of a filter, and the columns that they name.

Import this only where there is a filter: its parser takes 70 ms to load.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.parser import Parser as SqlParser
from sqlglot.tokens import Tokenizer as SqlTokenizer
from sqlglot.tokens import TokenType

from embedstore.errors import ConfigError
from embedstore.search.filters.columns import Column
from embedstore.search.filters.lance_sql import LanceWriter, column_name
from embedstore.store.sql import clipped, sql_join

#: Characters of a filter: a list of 20,000 tiles, which is parsed in a second.
MAX_LENGTH = 400_000
#: Names, operators and brackets of a filter; constants and commas are not counted.
MAX_WORDS = 5000
#: Brackets in one another, which the parser calls itself for.
MAX_BRACKETS = 40
_UNCOUNTED = (TokenType.COMMA, TokenType.NUMBER, TokenType.STRING)
_EXPECTED = "expected one condition, such as \"cohort = 'A' AND x > 1000\""
_QUOTING = "names with a space, a '-' or of a word of SQL stand in double quotes, text in single ones"


class FilterDialect(Dialect):
    """The SQL of filters: names in double quotes or back-ticks, no function known by name, no sub-query."""

    class Tokenizer(SqlTokenizer):
        IDENTIFIERS = ['"', "`"]  # noqa: RUF012

    class Parser(SqlParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS = {name: SqlParser.FUNCTION_PARSERS[name] for name in ("CAST", "TRY_CAST")}  # noqa: RUF012
        NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}


@dataclass(frozen=True, eq=False, kw_only=True)
class Condition:
    """A condition on a tile or a slide.

    Attributes:
        node: Its syntax tree.
        named: Columns by the names that the tree has for them.
        may_fail: It may fail on some value, such as a cast of text to a number.
    """

    node: Any
    named: Mapping[str, Column]
    may_fail: bool = False

    @property
    def columns(self) -> list[Column]:
        """Its columns, each once."""
        return list(dict.fromkeys(self.named[column_name(node)] for node in self.node.find_all(exp.Column)))

    def sql(self, name_of: Callable[[Column], str]) -> str:
        """Lance's SQL for it, over a table that has the columns under the names that `name_of` gives."""
        return LanceWriter(self.named.__getitem__, name_of).condition(self.node)

    def split(self, part_sql: Callable[["Condition"], str | None]) -> str | None:
        """SQL for it, composed of the largest parts between AND, OR and NOT for which `part_sql` gives SQL.

        Returns:
            None where it gives none for a part that cannot be split further.
        """
        sql = part_sql(self)
        if sql is not None:
            return sql
        if isinstance(self.node, exp.And | exp.Or):
            parts = [self._part(part).split(part_sql) for part in self.node.flatten()]
            return (
                None if None in parts else sql_join("AND" if isinstance(self.node, exp.And) else "OR", map(str, parts))
            )
        if isinstance(self.node, exp.Paren | exp.Not):
            inner = self._part(self.node.this).split(part_sql)
            return f"(NOT {inner})" if inner and isinstance(self.node, exp.Not) else inner
        return None

    def _part(self, node: Any) -> "Condition":
        return Condition(node=node, named=self.named, may_fail=self.may_fail)


def split_filter(where: str, column_of: Callable[[str], Column]) -> list[Condition]:
    """Split a filter into the conditions of its outermost AND, which must all hold.

    Args:
        column_of: The column of a name; raises ConfigError where there is none.
    Raises:
        ConfigError: it is not one condition, has something that a filter cannot have, compares values of different
            kinds, or is too long.
    """
    tree = parse_filter(where)
    names = dict.fromkeys(column_name(column) for column in tree.find_all(exp.Column))
    named = {name: column_of(name) for name in names}
    conditions = []
    for node in _conjuncts(tree):
        writer = LanceWriter(named.__getitem__, lambda column: column.alias)
        writer.condition(node)
        conditions.append(Condition(node=node, named=named, may_fail=writer.may_fail))
    return conditions


def parse_filter(where: str) -> Any:
    """The syntax tree of a filter; raises ConfigError where it is not one condition."""
    if len(where) > MAX_LENGTH:
        raise ConfigError(f"it has {len(where):,} characters; expected at most {MAX_LENGTH:,}")
    try:
        tokens = FilterDialect().tokenize(where)
        _check(tokens)
        trees = FilterDialect().parser().parse_into(exp.Condition, tokens, where)
    except SqlglotError as error:
        details = getattr(error, "errors", None) or [{}]
        near = details[0].get("highlight")
        reason = f"near {clipped(near)!r}" if near else clipped(str(error).splitlines()[0])
        raise ConfigError(f"it is not SQL, {reason}; {_QUOTING}") from error
    except RecursionError as error:
        raise ConfigError("it is nested too deeply; write it with IN (…) or with fewer brackets") from error
    if len(trees) != 1 or trees[0] is None:
        raise ConfigError(f"it is empty; {_EXPECTED}")
    return trees[0]


def _check(tokens: list[Any]) -> None:
    """Raise where the parser would take too long, or overflow its stack."""
    depth = deepest = words = 0
    for token in tokens:
        if token.token_type is TokenType.SEMICOLON:
            raise ConfigError(f"it has a semicolon; {_EXPECTED}")
        depth += (token.token_type is TokenType.L_PAREN) - (token.token_type is TokenType.R_PAREN)
        deepest = max(deepest, depth)
        words += token.token_type not in _UNCOUNTED
    if deepest > MAX_BRACKETS:
        raise ConfigError(
            f"it is nested too deeply, with {deepest} brackets in one another; expected at most {MAX_BRACKETS}"
        )
    if words > MAX_WORDS:
        raise ConfigError(f"it has {words:,} names and operators; expected at most {MAX_WORDS:,}; write it with IN (…)")


def _conjuncts(node: Any) -> list[Any]:
    if isinstance(node, exp.Paren):
        return _conjuncts(node.this)
    if isinstance(node, exp.And):
        return [conjunct for part in node.flatten() for conjunct in _conjuncts(part)]
    return [node]
