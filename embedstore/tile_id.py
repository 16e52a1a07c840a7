"""Tile ids, which readers compute as the store does."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def tile_keys(xy_l0: NDArray[np.int32], names: tuple[str, ...] | None) -> list[str]:
    """What identifies each tile within its slide: 'x,y' of its top-left corner, level-0 pixels, or its file's name."""
    if names is not None:
        return list(names)
    return [f"{x},{y}" for x, y in xy_l0.tolist()]


def tile_ids(slide_id: str, keys: list[str]) -> NDArray[np.int64]:
    """Stable 64-bit ids of a slide's tiles, (n,) int64: BLAKE2b of the slide's id and the tile's key."""
    slide_hash = hashlib.blake2b(slide_id.encode() + b"\0", digest_size=8)
    ids = np.empty(len(keys), dtype="<i8")
    for i, key in enumerate(keys):
        tile_hash = slide_hash.copy()
        tile_hash.update(key.encode())
        ids[i] = int.from_bytes(tile_hash.digest(), "little", signed=True)
    return ids
