"""Tables: lists of slides, labels and splits, as text, Excel, Parquet and Arrow."""

import csv
import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from embedstore.labels.files.label_table import read_label_table
from embedstore.slides import find_slides
from heads.splitting.split_file import read_split_file
from tests.fuzz.kind import Kind
from tests.fuzz.mutations import NUMBERS, WORDS, changed_bytes, changed_numbers

SLIDES = {"path": ["a.svs", "b.svs"], "slide_id": ["a", None], "mpp": [0.25, None], "tissue": [None, "m.geojson"],
          "patient": ["007", "20E4567"], "age": [61, 7], "her2": [True, None], "score": [0.5, 2.0]}  # fmt: skip
LABELS = {"slide_id": ["a", "b"], "x": [1.5, 2], "y": [3, 4], "edge_l0": [100, 100], "label": ["x", "y"],
          "split": ["train", None], "patient": [101.0, None], "task": ["t", None], "tile_id": [-5, 2**40]}  # fmt: skip
SPLITS = {"slide_id": ["a", "b"], "patient": ["p", "q"], "split": ["train", "test"]}


def _text(draw: DrawFn, table: Mapping[str, list[Any]]) -> bytes:
    out = io.StringIO()
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(out, delimiter=draw(st.sampled_from(",;\t|")), quoting=quoting)
    writer.writerows([list(table), *zip(*table.values(), strict=True)])
    return out.getvalue().encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"])), "replace")


def _excel(draw: DrawFn, table: Mapping[str, list[Any]]) -> bytes:
    book, made, out = openpyxl.Workbook(), io.BytesIO(), io.BytesIO()
    for row in (list(table), *zip(*table.values(), strict=True)):
        book.active.append([_cell(value) for value in row])
    book.save(made)
    with zipfile.ZipFile(made) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as timeless:
        for name in archive.namelist():
            if name != "docProps/core.xml":  # the time of day would make the inputs of a seed differ
                timeless.writestr(zipfile.ZipInfo(name), archive.read(name), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.sub("", value)
    return value if isinstance(value, int | float | None) and abs(value or 0) < 1e300 else str(value)


def _columnar(draw: DrawFn, table: Mapping[str, list[Any]]) -> bytes:
    columns = {}
    for name, values in table.items():
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, OverflowError, TypeError):
            columns[name] = pa.array([None if value is None else str(value) for value in values])
        if draw(st.integers(0, 3)) == 0 and pa.types.is_string(columns[name].type):
            columns[name] = columns[name].dictionary_encode()
    made, out = pa.table(columns), io.BytesIO()
    if draw(st.booleans()):
        pa.parquet.write_table(made, out, compression=draw(st.sampled_from(["none", "snappy"])))
    else:
        with draw(st.sampled_from([pa.ipc.new_file, pa.ipc.new_stream]))(out, made.schema) as stream:
            stream.write_table(made)
    return out.getvalue()


@st.composite
def _tables(draw: DrawFn, columns: Mapping[str, list[Any]]) -> bytes:
    """Some of the columns, with other names and values here and there."""
    chosen: dict[str, list[Any]] = {}
    first, *others = columns
    for name in [first, *draw(st.lists(st.sampled_from(others), max_size=4))]:
        other = draw(st.sampled_from([name] * 8 + [name.upper(), *WORDS[:20]]))
        value = st.sampled_from([*columns[name]] * 6 + [*WORDS, *NUMBERS, None])
        chosen[other] = draw(st.lists(value, min_size=2, max_size=2))
    return draw(st.sampled_from([_text, _text, _columnar, _excel]))(draw, chosen)


def _reader(use: Callable[[Path], object]) -> Callable[[Path], Callable[[bytes], object]]:
    def reader(folder: Path) -> Callable[[bytes], object]:
        path = folder / "table.csv"

        def read(data: bytes) -> object:
            path.write_bytes(data)
            return use(path)

        return read

    return reader


def _place(path: Path) -> object:
    return read_split_file(path).place(np.array([0, 1]), ("a.svs", "b.svs"))


def _kind(name: str, columns: Mapping[str, list[Any]], use: Callable[[Path], object]) -> Kind:
    tables = _tables(columns)
    return Kind(
        name=f"table-{name}",
        inputs=st.one_of(tables, changed_bytes(tables), changed_numbers(tables)),
        reader=_reader(use),
        sample=150,
    )


KINDS = [
    _kind("slides", SLIDES, lambda path: find_slides([path])),
    _kind("labels", LABELS, lambda path: read_label_table(path, task="t")),
    _kind("splits", SPLITS, _place),
]
