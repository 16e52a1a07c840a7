"""Tables of what was found say the same in every form."""

import csv
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from embedstore.errors import ExportError
from embedstore.export import HitFiles, write_hits, write_hits_table
from tests.export.hits_scene import FOLDER, make_found, make_hits, tile_rows


def test_every_form_holds_the_rows(tmp_path: Path):
    store = make_found(tmp_path)
    rows = [*tile_rows(store, "a.svs"), *tile_rows(store, FOLDER)]
    age = pa.array([61.5, None, math.nan, 40.0, 41.0])
    hits = make_hits(store, rows, age=age)
    assert [write_hits_table(hits, tmp_path / f"h.{form}") for form in ("csv", "json", "parquet")] == [5, 5, 5]
    kept = pyarrow.parquet.read_table(tmp_path / "h.parquet")
    assert kept.schema == hits.table.schema and math.isnan(kept["age"][2].as_py())
    assert kept.drop_columns("age").equals(hits.table.drop_columns("age"))  # NaN equals nothing
    expected = [{**row, "age": None if number == 2 else row["age"]} for number, row in enumerate(hits)]
    assert json.loads((tmp_path / "h.json").read_text()) == expected
    with open(tmp_path / "h.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [int(row["tile_id"]) for row in read] == [row["tile_id"] for row in rows]
    assert [row["name"] for row in read] == ["", "", "", "n/1.png", "t/2.png"]
    assert list(read[0]) == hits.table.schema.names


def test_other_forms_and_folders_are_refused(tmp_path: Path):
    hits = make_hits(make_found(tmp_path), [])
    with pytest.raises(ExportError, match=r"ends in '\.xlsx'; expected \.csv, \.parquet, \.json for a table of tiles"):
        write_hits_table(hits, tmp_path / "h.xlsx")
    (tmp_path / "h.csv").mkdir()
    with pytest.raises(ExportError, match=r"h\.csv is a folder"):
        write_hits_table(hits, tmp_path / "h.csv")
    assert list((tmp_path / "h.csv").iterdir()) == []


def test_only_the_files_that_are_named_are_written(tmp_path: Path):
    store = make_found(tmp_path)
    hits = make_hits(store, [*tile_rows(store, "a.svs"), *tile_rows(store, FOLDER)])
    assert write_hits(hits, HitFiles()).paths == ()
    files = HitFiles(page=tmp_path / "o" / "h.html", geojson=tmp_path / "o", table=tmp_path / "o" / "h.csv")
    written = write_hits(hits, files)
    assert written.paths == (files.page, tmp_path / "o" / "a.svs.geojson", files.table)
    assert sorted((tmp_path / "o").iterdir()) == sorted(written.paths)
    assert FOLDER in written.notes[0]
