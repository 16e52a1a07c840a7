"""What every table does: rows replaced in one version, in spite of others."""

from pathlib import Path

import pyarrow as pa
import pytest
from lance.fragment import write_fragments

from embedstore.store.table import Table

SCHEMA = pa.schema([pa.field("slide_id", pa.string()), pa.field("n", pa.int64())])


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(str(tmp_path), "t")
    table.overwrite(SCHEMA, fragments(table, {"a": 1, "b": 2, "c": 3}, mode="overwrite"))
    return table


def fragments(table: Table, rows: dict[str, int], mode: str = "append"):
    made = pa.table({"slide_id": list(rows), "n": list(rows.values())}, schema=SCHEMA)
    return write_fragments(made, table.uri, schema=SCHEMA, mode=mode)


def held(table: Table) -> dict[str, int]:
    return {row["slide_id"]: row["n"] for row in table.rows()}


def test_rows_are_replaced_in_one_version(table: Table):
    before = table.open().version
    table.replace("slide_id = 'a'", fragments(table, {"a": 9}))
    assert held(table) == {"b": 2, "c": 3, "a": 9}
    assert table.open().version == before + 1
    table.replace(None, fragments(table, {"d": 4}))
    assert held(table) == {"b": 2, "c": 3, "a": 9, "d": 4}


def test_a_replacement_is_tried_again_where_another_writer_was_quicker(table: Table, monkeypatch):
    others, plain = ["slide_id = 'a'", "slide_id = 'b'"], Table.replacement

    def late(self, filter_sql, new):
        operation = plain(self, filter_sql, new)
        if others:
            Table(str(Path(self.uri).parent), "t").delete(others.pop())
        return operation

    monkeypatch.setattr(Table, "replacement", late)
    table.replace("slide_id IN ('a', 'c')", fragments(table, {"c": 9}))
    assert not others
    assert held(table) == {"c": 9}


def test_a_table_that_another_made_meanwhile_is_kept(table: Table, monkeypatch):
    seen = iter([False, True, True])
    monkeypatch.setattr(Table, "exists", lambda self: next(seen))
    table.create(pa.schema([*SCHEMA, pa.field("more", pa.string())]))
    assert [(row["slide_id"], row["more"]) for row in table.rows()] == [("a", None), ("b", None), ("c", None)]


def test_values_are_counted_in_the_order_in_which_they_come(table: Table):
    table.replace(None, fragments(table, {"d": 4, "a": 5}))
    assert list(table.counts("slide_id").items()) == [("a", 2), ("b", 1), ("c", 1), ("d", 1)]


def test_a_dropped_table_can_be_made_again(table: Table):
    table.drop()
    assert not table.exists() and table.rows() == []
    table.drop()
    table.overwrite(SCHEMA, fragments(table, {"z": 1}, mode="overwrite"))
    assert held(table) == {"z": 1}
