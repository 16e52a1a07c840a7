"""Tables that people write: CSV, Excel, Parquet and Arrow, read in one way wherever one is given."""

from embedstore.tables.tool_tables import ToolTable, tool_table
from embedstore.tables.user_table import PATIENT_COLUMNS, TABLE_SUFFIXES, UserTable, Value, read_table, table_of

__all__ = [
    "PATIENT_COLUMNS",
    "TABLE_SUFFIXES",
    "ToolTable",
    "UserTable",
    "Value",
    "read_table",
    "table_of",
    "tool_table",
]
