"""Export of predictions or embeddings as CSV or Parquet, with columns of their slides, batch by batch."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedstore.export.predictions.export_scope import ExportScope, metadata_columns
from embedstore.output_files import atomic_write

TableFormat = Literal["csv", "parquet"]
TILE_COLUMNS = ["tile_id", "slide_id", "x", "y", "edge_l0", "name", "tissue"]


def write_table(scope: ExportScope, path: str | Path, *, file_format: TableFormat) -> int:
    """Write all rows of the chosen slides, a batch at a time, joined with columns of their slides.

    For a head, these are its predictions, a row for each tile or slide. For a collection alone, these are its tiles; in
    Parquet with their vectors, as lists of float32. The columns of slides are patient, slide_mpp and the user's own; a
    name that the rows have already gets the prefix `slide_`.

    Returns:
        How many rows were written.
    """
    batches = scope.predictions.batches(slides=scope.slide_ids) if scope.predictions else _tiles(scope, file_format)
    slides = slides_table(scope)
    written = 0
    with atomic_write(path) as part, contextlib.ExitStack() as opened:
        writer: Any = None
        for batch in batches:
            joined = join_slides(batch, slides)
            writer = writer or opened.enter_context(_writer(part, joined.schema, file_format))
            writer.write_batch(joined)
            written += joined.num_rows
    return written


def _writer(path: Path, schema: pa.Schema, file_format: TableFormat) -> Any:
    if file_format == "csv":
        import pyarrow.csv

        return pyarrow.csv.CSVWriter(str(path), schema)
    import pyarrow.parquet

    return pyarrow.parquet.ParquetWriter(str(path), schema, compression="zstd")


def _tiles(scope: ExportScope, file_format: TableFormat) -> Iterator[pa.RecordBatch]:
    """Tiles of the collection; for Parquet with their vectors."""
    collection = scope.store.collection(scope.collection)
    columns = [*TILE_COLUMNS, "vector"] if file_format == "parquet" else TILE_COLUMNS
    for batch in collection.batches(slides=scope.slide_ids, columns=columns):
        if file_format == "parquet":
            position = batch.schema.get_field_index("vector")
            values = batch.column(position).flatten().to_numpy().astype(np.float32)
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(values), collection.dim)
            batch = batch.set_column(position, pa.field("vector", vectors.type), vectors)
        yield batch.replace_schema_metadata(None)


def slides_table(scope: ExportScope) -> pa.Table:
    """The chosen slides: slide_id, patient, slide_mpp, and the user's columns."""
    columns = metadata_columns(scope.slides)
    values = {name: pa.array([slide.column(name) for slide in scope.slides.values()]) for name in columns}
    typed = {name: array.cast(pa.string()) if pa.types.is_null(array.type) else array for name, array in values.items()}
    return pa.table({"slide_id": pa.array(list(scope.slides), pa.string()), **typed})


def join_slides(batch: pa.RecordBatch, slides: pa.Table) -> pa.RecordBatch:
    """Append to each row the columns of its slide."""
    row = pc.index_in(batch.column("slide_id"), value_set=slides.column("slide_id").combine_chunks())
    arrays, names = list(batch.columns), list(batch.schema.names)
    for name in slides.schema.names[1:]:
        if name == "patient" and name in names:
            continue  # predictions hold the patient that the head was given
        arrays.append(slides.column(name).combine_chunks().take(row))
        names.append(name if name not in names else f"slide_{name}")
    return pa.RecordBatch.from_arrays(arrays, names=names)
