"""Parquet: `{slide}.parquet`, a row a tile with its vector."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embedstore.layouts.writing.mark import KEY
from embedstore.layouts.writing.slide_tiles import SlideTiles
from embedstore.output_files import atomic_write


def parquet_files(out: Path, tiles: SlideTiles) -> list[Path]:
    """The file of a slide."""
    return [out / f"{tiles.name}.parquet"]


def write_parquet(out: Path, tiles: SlideTiles) -> None:
    """Write a slide as a table: tile_id, slide_id, x, y, edge_l0, name and tissue, what was asked for, and `vector`.

    Vectors are lists of float32, as most readers of Parquet know no float16. What the table was made of is in the
    metadata of its schema, as JSON.
    """
    (path,) = parquet_files(out, tiles)
    rows = tiles.rows.add_column(1, "slide_id", pa.array([tiles.slide_id] * len(tiles), pa.string()))
    vector = pa.field("vector", pa.list_(pa.float32(), tiles.dim))
    metadata = {KEY: json.dumps(tiles.mark), f"{KEY}.about": json.dumps(tiles.about)}
    schema = rows.schema.append(vector).with_metadata(metadata)
    with atomic_write(path, keep_suffix=False) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for batch in _batches(tiles, rows, schema):
            writer.write_batch(batch)


def _batches(tiles: SlideTiles, rows: pa.Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    at = 0
    for block in tiles.blocks():
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.astype(np.float32).ravel()), tiles.dim)
        of_block = rows.slice(at, len(block)).combine_chunks()
        columns = [*(column.combine_chunks() for column in of_block.columns), vectors]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
        at += len(block)
