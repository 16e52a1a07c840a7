"""Tables in Parquet, Arrow and Feather files."""

import io
from typing import Any

from embedstore.errors import TableError
from embedstore.tables.raw_table import RawTable


def read_columnar(content: bytes) -> RawTable:
    """Read a Parquet, Arrow or Feather file.

    Raises:
        TableError: it is damaged, or a column holds text that is not UTF-8.
    """
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.ipc
    import pyarrow.parquet

    failures = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError)  # seen on damaged files
    try:
        if content.startswith(b"PAR1"):
            table = pa.parquet.ParquetFile(io.BytesIO(content)).read()
        elif content.startswith((b"ARROW1", b"FEA1")):
            table = pa.feather.read_table(io.BytesIO(content))
        else:
            table = pa.ipc.open_stream(io.BytesIO(content)).read_all()
        names = list(table.schema.names)
    except failures as error:
        raise TableError("is damaged, or no Parquet, Arrow or Feather file; write it again") from error
    columns: list[Any] = []
    for name, column in zip(names, table.columns, strict=True):
        try:
            column.validate(full=True)
            columns.append(_values(column))
        except failures as error:
            raise TableError(
                f"has a column {name!r} of type {column.type} that cannot be read: damaged, or text other than UTF-8"
            ) from error
    return RawTable(names=names, columns=columns, numbers=range(1, table.num_rows + 1))


def _values(column: Any) -> Any:
    """A column of numbers or text as Arrow has it, of others as a list."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.type in (pa.string(), pa.float64(), pa.float32()) or pa.types.is_integer(column.type):
        return column.combine_chunks()
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)  # Python has no nanoseconds
    if pa.types.is_duration(column.type):
        column = column.cast(pa.duration("us"), safe=False)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.string())
    return column.to_pylist()
