"""Rows of tiles as users hand them back: of `tiles`, of a search, or what is left of such a table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from embedstore.errors import ConfigError
from embedstore.typed_values import shown

#: What is needed of a row to find its tile.
PLACE = ("tile_id", "slide_id", "x", "y", "edge_l0", "name")


def given_tile_rows(rows: Any) -> list[dict[str, Any]]:
    """Rows of tiles, as dictionaries.

    Args:
        rows: Dictionaries, or a table of Arrow, pandas or polars.
    Raises:
        ConfigError: they are no rows of tiles.
    """
    if hasattr(rows, "__arrow_c_stream__"):
        rows = pa.table(rows).to_pylist()
    elif not isinstance(rows, Iterable) or isinstance(rows, str | bytes | Mapping):
        rows = [rows]
    given = list(rows)
    check_tile_rows(given, PLACE)
    return given


def check_tile_rows(rows: Sequence[Any], fields: Sequence[str]) -> None:
    """Check that rows have the fields by which their tiles are found.

    Raises:
        ConfigError: one has not; the message says where rows come from.
    """
    for row in rows:
        found = shown(row)
        if isinstance(row, Mapping):
            lacking = [name for name in fields if name not in row]
            if not lacking:
                continue
            found = f"one without {', '.join(lacking)}"
        raise ConfigError(
            f"expected rows of tiles, found {found}; `tiles` of a collection and a search give rows, "
            "`store.tile(id)` the one of an id"
        )
