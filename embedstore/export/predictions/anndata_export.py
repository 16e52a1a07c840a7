"""Export of a collection, with or without a head's predictions, as AnnData (.h5ad), which scanpy reads."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedstore.export.predictions.export_scope import ExportScope
from embedstore.export.predictions.prediction_table import TILE_COLUMNS, join_slides, slides_table
from embedstore.output_files import FILE_BYTES, ROW_BYTES, atomic_write, require_room


def write_anndata(scope: ExportScope, path: str | Path) -> int:
    """Write tiles as observations; all vectors are held in memory, as float32.

    - `X`: the vectors.
    - `obs`, with tile ids as names: location, tissue, label and probabilities, attention, and columns of the slide. For
      a head for slides, each tile has the prediction of its slide.
    - `obsm['spatial']`: centres of the tiles, level-0 pixels; left out if any tile is ready-made, as these have none.
    - `uns['embedstore']`: the collection, its extractor, and the head.

    Returns:
        How many tiles were written.
    Raises:
        ExportError: anndata is not installed, or the disk has no room.
    """
    # All layouts come with it, which nothing else needs here.
    from embedstore.layouts.writing.anndata import import_anndata, observations, storable

    anndata = import_anndata()
    tiles, vectors = _tiles(scope)
    obs = observations(tiles)
    annotated = anndata.AnnData(X=vectors, obs=obs, uns={"embedstore": storable(about_export(scope))})
    annotated.var_names = [f"d{i}" for i in range(vectors.shape[1])]
    edge = tiles["edge_l0"].to_numpy()
    if edge.all():
        corner = np.stack([tiles["x"].to_numpy(), tiles["y"].to_numpy()], axis=1)
        annotated.obsm["spatial"] = corner + edge[:, None] / 2
    with atomic_write(path) as part:
        size = vectors.nbytes + tiles.nbytes + len(tiles) * ROW_BYTES + FILE_BYTES  # before compression
        require_room(part.parent, size, then="or name another place")
        annotated.write_h5ad(part, compression="gzip")
    return len(vectors)


def _tiles(scope: ExportScope) -> tuple[pa.Table, np.ndarray]:
    """Tiles with their predictions and columns of their slides, and their vectors (n, dim) float32."""
    collection = scope.store.collection(scope.collection)
    predictions = prediction_tables(scope)
    slides, batches, vectors = slides_table(scope), [], []
    for batch in collection.batches(slides=scope.slide_ids, columns=[*TILE_COLUMNS, "vector"]):
        values = batch.column("vector").flatten().to_numpy().reshape(-1, collection.dim).astype(np.float32)
        batch = batch.drop_columns(["vector"])
        for key, table in predictions:
            row = pc.index_in(batch.column(key), value_set=table.column(key).combine_chunks())
            if key == "tile_id" and row.null_count:  # leave out tiles that were ingested after the prediction
                has_row = pc.is_valid(row)
                values, row = values[has_row.to_numpy(zero_copy_only=False)], row.filter(has_row)
                batch = batch.filter(has_row)
            for name in table.schema.names:
                if name not in batch.schema.names:
                    batch = batch.append_column(name, table.column(name).combine_chunks().take(row))
        batches.append(join_slides(batch, slides))
        vectors.append(values)
    return pa.Table.from_batches(batches), np.concatenate(vectors)


def prediction_tables(scope: ExportScope) -> list[tuple[str, pa.Table]]:
    """Predictions and attention, each with the column by which it is joined to tiles."""
    if scope.predictions is None or scope.facts is None:
        return []
    key = "tile_id" if scope.facts.level == "tile" else "slide_id"
    columns = [key, "label", *scope.facts.columns.values()]
    tables = [(key, scope.predictions.table(slides=scope.slide_ids, columns=columns))]
    if scope.attention is not None:
        tables.append(("tile_id", scope.attention.table(slides=scope.slide_ids, columns=["tile_id", "attention"])))
    return tables


def about_export(scope: ExportScope) -> dict[str, Any]:
    """What is exported, as JSON values: the collection, its extractor, and the head."""
    record = scope.store.collection(scope.collection).record()
    about: dict[str, Any] = {"collection": scope.collection, "extractor": record.extractor.as_record()}
    return about if scope.facts is None else about | {"head": scope.facts.as_record()}
