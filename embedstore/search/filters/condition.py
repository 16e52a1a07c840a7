"""A parsed filter: its conditions, the columns that they name, and their SQL over renamed columns.

Import this only where there is a filter: its parser takes 70 ms to load.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.generator import Generator as SqlGenerator
from sqlglot.parser import Parser as SqlParser
from sqlglot.tokens import Tokenizer as SqlTokenizer
from sqlglot.tokens import TokenType

from embedstore.errors import ConfigError

#: What a filter may contain. Anything else (a subquery, a window, a parameter) is refused.
ALLOWED = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.And, exp.Or, exp.Not,
    exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is, exp.In, exp.Between,
    exp.Like, exp.ILike, exp.Escape, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.DPipe,
    exp.Cast, exp.TryCast, exp.DataType, exp.DataTypeParam, exp.Interval, exp.Var, exp.Anonymous,
)  # fmt: skip
#: Functions over many rows.
AGGREGATES = frozenset(
    name.lower() for kind in exp.ALL_FUNCTIONS if issubclass(kind, exp.AggFunc) for name in kind.sql_names()
)
_EXPECTED = "expected one condition on a tile, such as \"cohort = 'A' AND x > 1000\""
_QUOTING = "names with a space, a '-' or of a word of SQL stand in double quotes, text in single ones"


class LanceFilter(Dialect):
    """The SQL of Lance's filters. Functions stay as written, as Lance itself checks them."""

    class Tokenizer(SqlTokenizer):
        IDENTIFIERS = ["`", '"']  # noqa: RUF012  # the first is written, both are read

    class Parser(SqlParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS = {name: SqlParser.FUNCTION_PARSERS[name] for name in ("CAST", "TRY_CAST")}  # noqa: RUF012
        NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}

    class Generator(SqlGenerator):
        TYPE_MAPPING = {  # noqa: RUF012
            **SqlGenerator.TYPE_MAPPING,
            exp.DataType.Type.TEXT: "STRING",
            exp.DataType.Type.VARCHAR: "STRING",
            exp.DataType.Type.CHAR: "STRING",
        }


@dataclass(frozen=True, eq=False)
class Condition:
    """A condition on a tile.

    Attributes:
        node: Its syntax tree.
    """

    node: Any

    @property
    def text(self) -> str:
        """Its text for people, with the columns as they were written."""
        return self.node.sql(normalize_functions=False, comments=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns, parts joined by dots, each once."""
        return tuple(dict.fromkeys(_name(column) for column in self.node.find_all(exp.Column)))

    def sql(self, column_of: Callable[[str], str]) -> str:
        """Lance's SQL for it, with each column under the name that `column_of` returns."""

        def renamed(node: Any) -> Any:
            if isinstance(node, exp.Column):
                return exp.column(exp.to_identifier(column_of(_name(node)), quoted=True))
            return node

        return self.node.transform(renamed).sql(dialect=LanceFilter, normalize_functions=False, comments=False)

    def write(self, part_sql: Callable[["Condition"], str | None]) -> str | None:
        """SQL for it, composed of the largest parts between AND, OR and NOT for which `part_sql` gives SQL.

        Returns:
            None where it gives none for a part that cannot be split further.
        """
        sql = part_sql(self)
        if sql is not None:
            return f"({sql})"
        if isinstance(self.node, exp.And | exp.Or):
            parts = [Condition(part).write(part_sql) for part in self.node.flatten()]
            word = " AND " if isinstance(self.node, exp.And) else " OR "
            return None if None in parts else f"({word.join(map(str, parts))})"
        if isinstance(self.node, exp.Paren | exp.Not):
            inner = Condition(self.node.this).write(part_sql)
            return f"(NOT {inner})" if inner and isinstance(self.node, exp.Not) else inner
        return None


def split_filter(where: str) -> list[Condition]:
    """Split a filter into the conditions of its outermost AND, which must all hold.

    Raises:
        ConfigError: it is not one condition, or contains something that a filter cannot have.
    """
    try:
        tokens = LanceFilter().tokenize(where)
        if any(token.token_type is TokenType.SEMICOLON for token in tokens):
            raise ConfigError(f"the filter {where!r} has a semicolon; {_EXPECTED}")
        trees = LanceFilter().parser().parse_into(exp.Condition, tokens, where)
    except SqlglotError as error:
        details = getattr(error, "errors", None) or [{}]
        near = details[0].get("highlight")
        reason = f"near {near!r}" if near else str(error).splitlines()[0]
        raise ConfigError(f"the filter {where!r} is not SQL, {reason}; {_QUOTING}") from error
    except RecursionError as error:
        raise ConfigError(
            f"the filter of {len(where)} characters is nested too deeply; write it with IN (…)"
        ) from error
    if len(trees) != 1 or trees[0] is None:
        raise ConfigError(f"the filter {where!r} is empty; {_EXPECTED}")
    _check(trees[0], where)
    return [Condition(node) for node in _conjuncts(trees[0])]


def _conjuncts(node: Any) -> list[Any]:
    if isinstance(node, exp.Paren):
        return _conjuncts(node.this)
    if isinstance(node, exp.And):
        return [conjunct for part in node.flatten() for conjunct in _conjuncts(part)]
    return [node]


def _check(tree: Any, where: str) -> None:
    for node in tree.walk():
        if isinstance(node, exp.Query | exp.Exists | exp.Subquery):
            raise ConfigError(f"the filter {where!r} has a query within it; expected a condition on one tile")
        if isinstance(node, exp.Anonymous) and str(node.this).lower() in AGGREGATES:
            raise ConfigError(
                f"the filter {where!r} has {node.this}, which is of many rows; expected a condition on one tile"
            )
        if not isinstance(node, ALLOWED) or (isinstance(node, exp.Column) and isinstance(node.this, exp.Star)):
            text = node.sql(normalize_functions=False) or type(node).__name__
            raise ConfigError(
                f"the filter {where!r} has {text!r}, which a filter cannot have; expected comparisons of columns, "
                f"joined by AND, OR and NOT; {_QUOTING}"
            )


def _name(column: Any) -> str:
    return ".".join(part.name for part in column.parts)
