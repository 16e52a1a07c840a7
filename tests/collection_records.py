"""Records of collections for tests, one builder for all of them."""

from collections.abc import Mapping
from typing import Any

from embedstore.store import CollectionRecord


def collection_record(
    dim: int, *, tiling: Mapping[str, Any] | None = None, request: Mapping[str, Any] | None = None, **extractor: Any
) -> CollectionRecord:
    """The record of a collection of extractor `toy`, with default settings.

    Args:
        tiling: Fields of `TilingConfig` that differ from the defaults.
        extractor: Fields of the extractor's record that differ: name, digest and others.
    """
    return CollectionRecord.from_record(
        {
            "tiling": dict(tiling or {}),
            "extractor": {"name": "toy", "dim": dim, "digest": "sha256:1", **extractor},
            "request": request,
        }
    )
