"""Lance's SQL over a table in memory, so that a condition means the same wherever the columns come from."""

import re
import time
from collections.abc import Iterable, Sequence
from typing import Literal

import lance
import pyarrow as pa

from embedstore.errors import ConfigError

NULL_SQL = "CAST(NULL AS BOOLEAN)"
#: Longest that a condition may take, seconds: that of 1,000 comparisons of text on 1,000,000 tiles.
LIMIT_S = 60.0
#: Conditions in one pair of brackets.
JOINED = 20
#: Characters at either end of a long text that an error shows.
CLIP = 200


def sql_string(value: str) -> str:
    """A string literal of Lance's SQL.

    Raises:
        ConfigError: the text is none: bytes of the command line or escapes of JSON that are no characters.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ConfigError(f"{value!r} is no text: expected UTF-8, found bytes or half characters that are none")
    return "'" + value.replace("'", "''") + "'"


def sql_name(name: str) -> str:
    """The name of a column in Lance's SQL."""
    return "`" + name.replace("`", "``") + "`"


def sql_join(operator: Literal["AND", "OR"], conditions: Iterable[str]) -> str:
    """Conditions joined in brackets of a few: Lance's stack overflows at 800 operators in a row."""
    joined = list(conditions)
    while len(joined) > 1:
        groups = (joined[i : i + JOINED] for i in range(0, len(joined), JOINED))
        joined = [group[0] if len(group) == 1 else f"({f' {operator} '.join(group)})" for group in groups]
    return joined[0]


def sql_in(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(sql_string(v) for v in values)})"


def filter_rows(table: pa.Table, where: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a table for which a condition is true, in their order; where it is NULL a row is left out.

    Args:
        table: Names of its columns are distinct but for their case, and without dots.
        where: Lance's SQL over the table's columns.
        columns: Of the result; all when None.
    Raises:
        ConfigError: `where` cannot be understood, fails on a value, or takes longer than `LIMIT_S`.
    """
    end = time.monotonic() + LIMIT_S
    batches = []
    try:
        dataset = lance.write_dataset(table, "memory://")
        scanner = dataset.scanner(filter=where, columns=None if columns is None else list(columns))
        for batch in scanner.to_batches():
            batches.append(batch)
            if time.monotonic() > end:
                break
        else:
            return pa.Table.from_batches(batches, scanner.projected_schema)
    except (ValueError, OSError, RuntimeError) as error:  # Lance says of all three that a filter is wrong
        raise ConfigError(f"{clipped(where)!r} cannot be evaluated: {lance_reason(error)}") from error
    raise ConfigError(f"{clipped(where)!r} takes longer than {LIMIT_S:.0f} s; write a simpler filter")


def holds_for_nulls(schema: pa.Schema, where: str) -> bool:
    """Whether a condition is true of a row that has nothing, such as `p IS NULL` is.

    Raises:
        ConfigError: `where` cannot be understood.
    """
    nullable = pa.schema([pa.field(each.name, each.type) for each in schema])
    row = pa.table([pa.nulls(1, each.type) for each in nullable], schema=nullable)
    return filter_rows(row, where).num_rows == 1


def lance_reason(error: Exception) -> str:
    """What Lance says of a filter, without the places in its own source."""
    text = re.sub(r",? */\S*\.rs:\d+:\d+", "", str(error)).strip()
    return clipped(re.sub(r"^(Invalid user input: |External error: |Query Execution error: )+", "", text))


def clipped(text: str) -> str:
    """A text without the middle of what is long, such as a list of thousands of slides."""
    return text if len(text) <= 2 * CLIP else f"{text[:CLIP]} … {text[-CLIP:]}"
