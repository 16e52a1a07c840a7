"""Tables that people write: CSV, Excel, Parquet and Arrow, read in one way wherever one is given."""

from embedstore.tables.user_table import TABLE_SUFFIXES, UserTable, Value, read_table

__all__ = ["TABLE_SUFFIXES", "UserTable", "Value", "read_table"]
