"""A table as a file holds it, before names and values are understood."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """The cells of a table.

    Attributes:
        names: Header of each column.
        columns: The cells of each column, all of the same length: text, or what the file types them as. Arrow's columns
            are of integers, floats or text.
        numbers: Where each row is in the file.
        unit: What `numbers` count: lines of a text file, or rows.
        typed: The file states the types of its cells; in a text file they follow from what is written.
        decimal_comma: Numbers may be written as 0,25.
        notes: Warnings for the user.
    """

    names: Sequence[str]
    columns: Sequence["Sequence[Any] | pa.Array"]
    numbers: Sequence[int]
    unit: Literal["line", "row"] = "row"
    typed: bool = True
    decimal_comma: bool = False
    notes: tuple[str, ...] = ()
