"""Predictions or embeddings as CSV or Parquet, with what is known of the slides, written as they are read."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedstore.export.predictions.export_scope import ExportScope, metadata_columns
from embedstore.output_files import atomic_write

Form = Literal["csv", "parquet"]
TILE_COLUMNS = ["tile_id", "slide_id", "x", "y", "edge_l0", "name", "tissue"]


def write_table(scope: ExportScope, path: str | Path, *, form: Form) -> int:
    """Write all rows of the chosen slides, a batch at a time, with the columns of their slides joined.

    Of a head: its predictions, a row a tile, or a row a slide. Of a collection alone: its tiles, and in Parquet their
    vectors, as lists of float32. Columns of slides are patient, slide_mpp and the user's own; one whose name is taken
    is prefixed with `slide_`.

    Returns:
        How many rows were written.
    """
    batches = scope.predictions.batches(slides=scope.slide_ids) if scope.predictions else _tiles(scope, form)
    slides = slides_table(scope)
    written = 0
    with atomic_write(path) as part, contextlib.ExitStack() as opened:
        writer: Any = None
        for batch in batches:
            joined = join_slides(batch, slides)
            writer = writer or opened.enter_context(_writer(part, joined.schema, form))
            writer.write_batch(joined)
            written += joined.num_rows
    return written


def _writer(path: Path, schema: pa.Schema, form: Form) -> Any:
    if form == "csv":
        import pyarrow.csv

        return pyarrow.csv.CSVWriter(str(path), schema)
    import pyarrow.parquet

    return pyarrow.parquet.ParquetWriter(str(path), schema, compression="zstd")


def _tiles(scope: ExportScope, form: Form) -> Iterator[pa.RecordBatch]:
    """Tiles of the collection, with their vectors where the form can hold them."""
    collection = scope.store.collection(scope.collection)
    columns = [*TILE_COLUMNS, "vector"] if form == "parquet" else TILE_COLUMNS
    for batch in collection.batches(slides=scope.slide_ids, columns=columns):
        if form == "parquet":
            place = batch.schema.get_field_index("vector")
            values = batch.column(place).flatten().to_numpy().astype(np.float32)
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(values), collection.dim)
            batch = batch.set_column(place, pa.field("vector", vectors.type), vectors)
        yield batch.replace_schema_metadata(None)


def slides_table(scope: ExportScope) -> pa.Table:
    """What is known of the slides: slide_id, patient, slide_mpp, and the user's columns."""
    columns = metadata_columns(scope.slides)
    values = {name: pa.array([slide.column(name) for slide in scope.slides.values()]) for name in columns}
    typed = {name: each.cast(pa.string()) if pa.types.is_null(each.type) else each for name, each in values.items()}
    return pa.table({"slide_id": pa.array(list(scope.slides), pa.string()), **typed})


def join_slides(batch: pa.RecordBatch, slides: pa.Table) -> pa.RecordBatch:
    """Rows with the columns of their slides behind their own."""
    at = pc.index_in(batch.column("slide_id"), value_set=slides.column("slide_id").combine_chunks())
    arrays, names = list(batch.columns), list(batch.schema.names)
    for name in slides.schema.names[1:]:
        if name == "patient" and name in names:
            continue  # the head's own word on whose slide it is
        arrays.append(slides.column(name).combine_chunks().take(at))
        names.append(name if name not in names else f"slide_{name}")
    return pa.RecordBatch.from_arrays(arrays, names=names)
