"""A collection, with or without a head's predictions, as AnnData (.h5ad): for scanpy and whatever else reads it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedstore.errors import ExportError
from embedstore.export.predictions.export_scope import ExportScope
from embedstore.export.predictions.prediction_table import TILE_COLUMNS, join_slides, slides_table
from embedstore.output_files import atomic_write


def write_anndata(scope: ExportScope, path: str | Path) -> int:
    """Write tiles as observations; the vectors are held in memory, at float32.

    X: vectors. obs (named by tile_id): place, tissue, label and probabilities, attention, and columns of the slide; of
    a head for slides each tile has its slide's answer. obsm['spatial']: centres of tiles, level-0 pixels, which a
    folder of ready-made tiles does not have. uns['embedstore']: the collection, its extractor, and the head.

    Returns:
        How many tiles were written.
    Raises:
        ExportError: anndata is not installed.
    """
    try:
        import anndata
    except ImportError as error:
        raise ExportError(
            "AnnData files need the package anndata, which is not installed; pip install 'embedstore[anndata]'"
        ) from error
    tiles, vectors = _tiles(scope)
    obs = _observations(scope, tiles)
    made = anndata.AnnData(X=vectors, obs=obs, uns={"embedstore": _about(scope)})
    made.var_names = [f"d{i}" for i in range(vectors.shape[1])]
    edge = tiles["edge_l0"].to_numpy()
    if edge.all():
        corner = np.stack([tiles["x"].to_numpy(), tiles["y"].to_numpy()], axis=1)
        made.obsm["spatial"] = corner + edge[:, None] / 2
    with atomic_write(path) as part:
        made.write_h5ad(part, compression="gzip")
    return len(vectors)


def _tiles(scope: ExportScope) -> tuple[pa.Table, np.ndarray]:
    """Tiles with what the head says of them, and their vectors (n, dim) float32."""
    collection = scope.store.collection(scope.collection)
    said = _said_of_tiles(scope)
    slides, batches, vectors = slides_table(scope), [], []
    for batch in collection.batches(slides=scope.slide_ids, columns=[*TILE_COLUMNS, "vector"]):
        values = batch.column("vector").flatten().to_numpy().reshape(-1, collection.dim).astype(np.float32)
        batch = batch.drop_columns(["vector"])
        for key, table in said:
            at = pc.index_in(batch.column(key), value_set=table.column(key).combine_chunks())
            if key == "tile_id" and at.null_count:  # tiles that came after the predictions
                known = pc.is_valid(at)
                batch, values, at = batch.filter(known), values[known.to_numpy(zero_copy_only=False)], at.filter(known)
            for name in table.schema.names:
                if name not in batch.schema.names:
                    batch = batch.append_column(name, table.column(name).combine_chunks().take(at))
        batches.append(join_slides(batch, slides))
        vectors.append(values)
    return pa.Table.from_batches(batches), np.concatenate(vectors)


def _said_of_tiles(scope: ExportScope) -> list[tuple[str, pa.Table]]:
    """Tables to join to tiles, each with the column to join by."""
    if scope.predictions is None or scope.facts is None:
        return []
    answers = ["label", *scope.facts.columns.values()]
    if scope.facts.level == "tile":
        return [("tile_id", scope.predictions.table(slides=scope.slide_ids, columns=["tile_id", *answers]))]
    said = [("slide_id", scope.predictions.table(slides=scope.slide_ids, columns=["slide_id", *answers]))]
    if scope.attention is not None:
        said.append(("tile_id", scope.attention.table(slides=scope.slide_ids, columns=["tile_id", "attention"])))
    return said


def _observations(scope: ExportScope, tiles: pa.Table) -> Any:
    """A data frame, named by tile, with repeated texts as categories; columns without any value are left out."""
    kept = [name for name in tiles.schema.names if name != "tile_id" and tiles[name].null_count < len(tiles)]
    encoded = [
        tiles[name].dictionary_encode() if pa.types.is_string(tiles[name].type) else tiles[name] for name in kept
    ]
    frame = pa.table(encoded, names=kept).to_pandas()
    frame.index = [str(tile_id) for tile_id in tiles["tile_id"].to_pylist()]
    return frame


def _about(scope: ExportScope) -> dict[str, Any]:
    record = scope.store.collection(scope.collection).record()
    about: dict[str, Any] = {"collection": scope.collection, "extractor": _storable(record.extractor.as_record())}
    if scope.facts is not None:
        about["head"] = _storable(scope.facts.as_record())
    return about


def _storable(value: Any) -> Any:
    """As HDF5 can hold it: no None, no empty list, and no '/' in the keys, which are paths there."""
    if isinstance(value, dict):
        return {
            str(key).replace("/", "_"): _storable(entry) for key, entry in value.items() if entry not in (None, [], ())
        }
    if isinstance(value, list | tuple):
        plain = all(isinstance(entry, (int, float, bool)) for entry in value)
        return np.asarray(value) if plain else np.asarray([str(entry) for entry in value], object)
    return value
