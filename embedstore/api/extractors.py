"""The extractors that embedstore knows by name."""

import pyarrow as pa

from embedstore.result_table import Table


def list_extractors() -> Table:
    """The catalogue: embedding size, tile size, resolution, pooling, precision, licence, and whether access is gated.

    Beside these, `Store.ingest` takes any timm name, local weights and a user's own function.
    """
    from embedstore.extractors import catalogue

    columns = ("name", "embedding_dim", "tile_px", "mpp", "pooling", "precision", "gated", "licence", "source")
    rows = [{name: getattr(entry, name) for name in columns} for entry in catalogue().values()]
    return Table(pa.Table.from_pylist(rows), title="extractors")
