"""Lance's SQL for the syntax tree of a filter, with its types checked.

Lance panics, overflows its stack or never ends on some of the SQL that it reads, and takes one type for another. So it
gets only what is written here: each operator and function that a filter may have, over values of known types, nested
to a limit, with no division by zero and no number out of range.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
from sqlglot import exp

from embedstore.errors import ConfigError
from embedstore.search.filters.columns import Column
from embedstore.store.sql import clipped, sql_join, sql_name, sql_string

Kind = Literal["text", "number", "boolean", "time", "nothing"]
WORDS = {"text": "text", "number": "a number", "boolean": "a boolean", "time": "a time", "nothing": "NULL"}
TYPES = {"text": "STRING", "number": "DOUBLE", "boolean": "BOOLEAN", "time": "TIMESTAMP", "nothing": "STRING"}

#: Levels of operators and functions: Lance parses 20 in a minute, and 22 in three.
MAX_DEPTH = 10
#: Values of a sum, a product or a text put together: 800 overflow Lance's stack, which ends the process.
MAX_CHAIN = 100
#: Digits of a whole number that is compared exactly; those of 64 bits have 19.
MAX_DIGITS = 19
#: Counts that a function takes: letters, decimals, the part of a split text.
MAX_COUNT = 1000

COMPARISONS = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
}  # fmt: skip
ARITHMETIC: dict[type, str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}
CASTS: dict[Any, Kind] = {
    **dict.fromkeys((exp.DType.TEXT, exp.DType.VARCHAR, exp.DType.CHAR, exp.DType.NVARCHAR), "text"),
    **dict.fromkeys((exp.DType.INT, exp.DType.BIGINT, exp.DType.SMALLINT, exp.DType.TINYINT), "number"),
    **dict.fromkeys((exp.DType.FLOAT, exp.DType.DOUBLE, exp.DType.DECIMAL), "number"),
    exp.DType.BOOLEAN: "boolean",
    **dict.fromkeys((exp.DType.TIMESTAMP, exp.DType.DATETIME, exp.DType.DATE), "time"),
}  # fmt: skip
WHOLE = {exp.DType.INT, exp.DType.BIGINT, exp.DType.SMALLINT, exp.DType.TINYINT}


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function that a filter may call.

    Attributes:
        takes: Kinds of its arguments; 'pattern' and 'count' are constants: text, and a whole number from 1.
        gives: Kind of its value.
        required: Number of arguments at least; all when None.
        name: Lance's name for it; the same when None.
    """

    takes: tuple[Kind | Literal["pattern", "count"], ...]
    gives: Kind
    required: int | None = None
    name: str | None = None


FUNCTIONS = {
    **{name: Function(takes=("text",), gives="text") for name in ("lower", "upper", "ltrim", "rtrim")},
    "trim": Function(takes=("text",), gives="text", name="btrim"),
    "left": Function(takes=("text", "count"), gives="text"),
    "right": Function(takes=("text", "count"), gives="text"),
    "split_part": Function(takes=("text", "pattern", "count"), gives="text"),
    "length": Function(takes=("text",), gives="number"),
    **{name: Function(takes=("text", "text"), gives="boolean") for name in ("starts_with", "ends_with", "contains")},
    "regexp_like": Function(takes=("text", "pattern"), gives="boolean"),
    **{name: Function(takes=("number",), gives="number") for name in ("abs", "sqrt", "ln", "log10", "exp")},
    "round": Function(takes=("number", "count"), gives="number", required=1),
}
#: Functions of several values of one kind, and of which number.
OF_ALIKE = {"coalesce": range(1, MAX_COUNT), "nullif": range(2, 3)}


@dataclass(frozen=True, kw_only=True)
class Term:
    """A part of a filter in Lance's SQL.

    Attributes:
        value: Of a constant; None of anything else.
        bits: Of a whole number, 0 of anything else.
        double: It is a float64.
    """

    sql: str
    kind: Kind
    value: str | int | float | None = None
    bits: int = 0
    double: bool = False


NULL = Term(sql="NULL", kind="nothing")


class LanceWriter:
    """Writes Lance's SQL for syntax trees.

    Args:
        column_of: The column of a name, whose parts are joined by dots.
        name_of: The name of a column in the table that is asked.
    """

    def __init__(self, column_of: Callable[[str], Column], name_of: Callable[[Column], str]):
        self._column_of, self._name_of = column_of, name_of
        self._depth = 0
        self.may_fail = False  # on some value: a cast, or a regular expression that is none

    def condition(self, node: Any) -> str:
        """SQL that is true, false or NULL.

        Raises:
            ConfigError: the tree has something that a filter cannot have, or compares values of different kinds.
        """
        return self._as(node, "boolean").sql

    def _write(self, node: Any) -> Term:
        node = _unpacked(node)
        if isinstance(node, exp.Column):
            return self._column(node)
        if isinstance(node, exp.Literal | exp.Boolean | exp.Null):
            return _constant(node)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ConfigError(
                f"it is nested too deeply; expected at most {MAX_DEPTH} levels of operators and functions"
            )
        term = self._written(node)
        self._depth -= 1
        return term

    def _written(self, node: Any) -> Term:
        match node:
            case exp.And() | exp.Or():
                parts = [self.condition(part) for part in _only(node, "this", "expression").flatten()]
                return Term(sql=sql_join("AND" if isinstance(node, exp.And) else "OR", parts), kind="boolean")
            case exp.Not():
                return Term(sql=f"(NOT {self.condition(_only(node, 'this').this)})", kind="boolean")
            case exp.Is():
                return self._is(node)
            case exp.In() if node.expressions:
                value, *among = self._alike(node, [_only(node, "this", "expressions").this, *node.expressions])
                if len(among) == 1:  # Lance takes NULL IN ('a') AND NOT NULL IN ('a') for false
                    return Term(sql=f"({value.sql} = {among[0].sql})", kind="boolean")
                return Term(sql=f"({value.sql} IN ({', '.join(term.sql for term in among)}))", kind="boolean")
            case exp.Between():
                value, low, high = self._alike(
                    node, [_only(node, "this", "low", "high").this, node.args["low"], node.args["high"]]
                )
                return Term(sql=f"({value.sql} BETWEEN {low.sql} AND {high.sql})", kind="boolean")
            case exp.Like() | exp.ILike() | exp.Escape():
                return self._like(node)
            case exp.Neg():
                return self._negative(node)
            case exp.DPipe():
                first, rest = _chain(node, exp.DPipe)
                parts = [self._as(part, "text").sql for part in (first, *(part for _, part in rest))]
                return Term(sql=f"({' || '.join(parts)})", kind="text")
            case exp.Cast() | exp.TryCast():
                return self._cast(node)
            case exp.Anonymous():
                return self._function(_only(node, "this", "expressions"))
        if type(node) in COMPARISONS:
            left, right = self._alike(node, [_only(node, "this", "expression").this, node.expression])
            return Term(sql=f"({left.sql} {COMPARISONS[type(node)]} {right.sql})", kind="boolean")
        if type(node) in ARITHMETIC:
            return self._arithmetic(node)
        raise ConfigError(
            f"it has {_text(node)!r}, which a filter cannot have; expected comparisons of columns, joined by AND, OR "
            "and NOT"
        )

    def _as(self, node: Any, kind: Kind) -> Term:
        """The term of a tree that must be of a kind; NULL may be of any."""
        term = self._write(node)
        if term.kind == "nothing":
            return _null(kind)
        if term.kind != kind:
            raise ConfigError(f"{_text(node)!r} is {WORDS[term.kind]}; expected {WORDS[kind]}")
        return term

    # -- values -----------------------------------------------------------------------------

    def _column(self, node: Any) -> Term:
        column = self._column_of(column_name(node))
        kind, bits = _kind_of(column.kind)
        if kind is None:
            raise ConfigError(f"column {column.text} is {column.kind}; expected text, a number, a boolean or a time")
        return Term(sql=sql_name(self._name_of(column)), kind=kind, bits=bits)

    def _alike(self, node: Any, parts: Sequence[Any]) -> list[Term]:
        """The terms of trees that are compared, in one type."""
        terms = [self._write(part) for part in parts]
        kinds = {term.kind for term in terms} - {"nothing"}
        if kinds == {"time", "text"}:
            terms = [_time(term.value) if isinstance(term.value, str) else term for term in terms]
            kinds = {term.kind for term in terms} - {"nothing"}
        if len(kinds) > 1:
            found = ", ".join(
                f"{_text(part)} is {WORDS[term.kind]}" for part, term in zip(parts[:3], terms, strict=False)
            )
            raise ConfigError(
                f"{_text(node)!r} compares values of different kinds: {found}; text stands in single quotes, numbers "
                "without, names of columns in double quotes or none"
            )
        kind: Kind = next(iter(kinds), "nothing")
        terms = [_null(kind) if term.kind == "nothing" else term for term in terms]
        return _of_one_type(terms) if kind == "number" else terms

    def _is(self, node: Any) -> Term:
        against = _only(node, "this", "expression").expression
        if isinstance(against, exp.Null):
            term = self._write(node.this)
            return Term(sql=f"({(_null('text') if term.kind == 'nothing' else term).sql} IS NULL)", kind="boolean")
        if isinstance(against, exp.Boolean):
            return Term(sql=f"({self.condition(node.this)} IS {str(against.this).upper()})", kind="boolean")
        raise ConfigError(
            f"{_text(node)!r} is not understood; expected IS NULL, IS TRUE, IS FALSE, with or without NOT"
        )

    def _like(self, node: Any) -> Term:
        like = node
        if isinstance(node, exp.Escape):
            like = _only(node, "this", "expression").this
            if not isinstance(node.expression, exp.Literal) or node.expression.this != "\\":
                raise ConfigError(
                    f"{_text(node)!r} has its own ESCAPE; a backslash before % or _ takes it as it stands"
                )
        value = self._as(_only(like, "this", "expression", "negate").this, "text")
        pattern = self._constant_text(like.expression)
        word = ("NOT " if like.args.get("negate") else "") + ("ILIKE" if isinstance(like, exp.ILike) else "LIKE")
        return Term(sql=f"({value.sql} {word} {pattern})", kind="boolean")

    def _constant_text(self, node: Any) -> str:
        term = self._write(node)
        if not isinstance(term.value, str):
            raise ConfigError(f"{_text(node)!r} is no pattern; expected text in single quotes")
        return term.sql

    def _negative(self, node: Any) -> Term:
        term = self._as(_only(node, "this").this, "number")
        if isinstance(term.value, int | float):
            return _number(-term.value)
        return Term(sql=f"(- {_double(term)})", kind="number", double=True)

    def _arithmetic(self, node: Any) -> Term:
        """In float64, where nothing overflows; what is divided by zero is NULL."""
        first, rest = _chain(
            node, *((exp.Add, exp.Sub) if isinstance(node, exp.Add | exp.Sub) else (exp.Mul, exp.Div, exp.Mod))
        )
        sql = _double(self._as(first, "number"))
        for operator, part in rest:
            operand = _double(self._as(part, "number"))
            divides = operator in (exp.Div, exp.Mod)
            sql += f" {ARITHMETIC[operator]} {f'NULLIF({operand}, 0.0)' if divides else operand}"
        return Term(sql=f"({sql})", kind="number", double=True)

    def _cast(self, node: Any) -> Term:
        _only(node, "this", "to", "safe")
        target = node.to.this
        kind = CASTS.get(target)
        if kind is None or node.to.expressions:
            raise ConfigError(
                f"{_text(node)!r} is a type that a filter cannot have; expected TEXT, INT, DOUBLE, BOOLEAN or TIMESTAMP"
            )
        term = self._write(node.this)
        if kind == "time" and isinstance(term.value, str):
            return _time(term.value)
        if term.kind == "nothing":
            return _null(kind)
        if {term.kind, kind} in ({"number", "time"}, {"boolean", "time"}):
            raise ConfigError(f"{_text(node)!r} casts {WORDS[term.kind]}, of which there is no {kind}")
        name = "BIGINT" if target in WHOLE else TYPES[kind]
        tries = isinstance(node, exp.TryCast)
        self.may_fail |= not tries and kind != "text"
        sql = f"{'TRY_CAST' if tries else 'CAST'}({term.sql} AS {name})"
        return Term(sql=sql, kind=kind, bits=64 if target in WHOLE else 0, double=name == "DOUBLE")

    def _function(self, node: Any) -> Term:
        name = str(node.this).lower()
        if name in OF_ALIKE:
            if len(node.expressions) not in OF_ALIKE[name]:
                raise ConfigError(f"{_text(node)!r} has {len(node.expressions)} values")
            terms = self._alike(node, node.expressions)
            return Term(sql=f"{name}({', '.join(term.sql for term in terms)})", kind=terms[0].kind)
        function = FUNCTIONS.get(name)
        if function is None:
            known = ", ".join(sorted({*FUNCTIONS, *OF_ALIKE}))
            raise ConfigError(f"there is no function {name} in a filter, which is of one tile; there are {known}")
        least, most = function.required or len(function.takes), len(function.takes)
        if not least <= len(node.expressions) <= most:
            expected = most if least == most else f"{least} to {most}"
            raise ConfigError(f"{_text(node)!r} has {len(node.expressions)} values; expected {expected}")
        arguments = [self._argument(part, kind) for part, kind in zip(node.expressions, function.takes, strict=False)]
        self.may_fail |= name == "regexp_like"
        sql = f"{function.name or name}({', '.join(arguments)})"
        if name == "length":
            return Term(sql=f"CAST({sql} AS BIGINT)", kind="number", bits=64)
        return Term(sql=sql, kind=function.gives, double=function.gives == "number")

    def _argument(self, node: Any, kind: Kind | Literal["pattern", "count"]) -> str:
        if kind == "pattern":
            return self._constant_text(node)
        if kind == "count":
            value = self._as(node, "number").value
            if not isinstance(value, int) or not 1 <= value <= MAX_COUNT:
                raise ConfigError(f"{_text(node)!r} is no count; expected a whole number from 1 to {MAX_COUNT}")
            return str(value)
        return _double(self._as(node, "number")) if kind == "number" else self._as(node, kind).sql


def column_name(node: Any) -> str:
    """The name of a column in a tree, its parts joined by dots."""
    return ".".join(part.name for part in node.parts)


def _only(node: Any, *names: str) -> Any:
    """The node, if nothing else is written at it, such as the SYMMETRIC of a BETWEEN."""
    more = [name for name, value in node.args.items() if value not in (None, False, []) and name not in names]
    if more:
        raise ConfigError(f"it has {_text(node)!r}, which a filter cannot have")
    return node


def _unpacked(node: Any) -> Any:
    """What is in brackets."""
    while isinstance(node, exp.Paren):
        node = _only(node, "this").this
    return node


def _chain(node: Any, *operators: type) -> tuple[Any, list[tuple[type, Any]]]:
    """The first value of a chain such as a + b - c, and each other with the operator before it."""
    rest = []
    while type(node) in operators:
        rest.append((type(node), _only(node, "this", "expression", "typed", "safe").expression))
        node = node.this
    if len(rest) >= MAX_CHAIN:
        raise ConfigError(f"it has a chain of {len(rest) + 1} values; expected at most {MAX_CHAIN}")
    return node, rest[::-1]


def _text(node: Any) -> str:
    return clipped(node.sql(normalize_functions=False, comments=False))


def _kind_of(kind: pa.DataType) -> tuple[Kind | None, int]:
    """The kind of a column's values, and their bits where they are whole numbers."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text", 0
    if pa.types.is_integer(kind):
        return "number", kind.bit_width
    if pa.types.is_floating(kind):
        return "number", 0
    if pa.types.is_boolean(kind):
        return "boolean", 0
    return ("time", 0) if pa.types.is_timestamp(kind) else (None, 0)


def _constant(node: Any) -> Term:
    if isinstance(node, exp.Null):
        return NULL
    if isinstance(node, exp.Boolean):
        return Term(sql=str(bool(node.this)).lower(), kind="boolean")
    if node.is_string:
        return Term(sql=sql_string(node.this), kind="text", value=node.this)
    digits = node.this
    try:
        value = int(digits) if digits.isdecimal() and len(digits) <= MAX_DIGITS else float(digits)
    except ValueError as error:
        raise ConfigError(f"{clipped(digits)!r} is no number") from error
    return _number(value)


def _number(value: int | float) -> Term:
    if not abs(value) < 1e308:
        raise ConfigError(f"{clipped(str(value))} is too large for a number")
    return Term(sql=repr(value), kind="number", value=value, bits=64 if isinstance(value, int) else 0)


def _null(kind: Kind) -> Term:
    return Term(sql=f"CAST(NULL AS {TYPES[kind]})", kind=kind)


def _time(text: str) -> Term:
    """A time that is written in ISO 8601; UTC where no zone is given."""
    try:
        time = datetime.fromisoformat(text.strip())
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{clipped(text)!r} is no time; expected one such as timestamp '2026-01-31 12:00'") from error
    return Term(sql=f"CAST('{time.replace(tzinfo=None).isoformat()}' AS TIMESTAMP)", kind="time")


def _double(term: Term) -> str:
    if isinstance(term.value, int | float):
        return repr(float(term.value))
    return term.sql if term.double else f"CAST({term.sql} AS DOUBLE)"


def _of_one_type(terms: Sequence[Term]) -> list[Term]:
    """Numbers that Lance compares: it refuses a constant that is not of the type of the column beside it."""
    columns = [term for term in terms if term.value is None]
    bits = min((term.bits for term in columns), default=0)
    constants = [term.value for term in terms if isinstance(term.value, int | float)]
    if bits and all(isinstance(value, int) and abs(value) < 1 << (bits - 1) for value in constants):
        return list(terms)
    if any(term.bits for term in columns):
        return [Term(sql=_double(term), kind="number") for term in terms]
    return [term if term.value is None else Term(sql=_double(term), kind="number") for term in terms]
