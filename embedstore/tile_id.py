"""What tells tiles apart: known to readers and to the store, without either's machinery."""

import hashlib

import numpy as np


def place(xy_l0: np.ndarray, names: tuple[str, ...] | None) -> list[str]:
    """What tells a slide's tiles apart: 'x,y' of the top-left in level-0 pixels, or the file's name."""
    if names is not None:
        return list(names)
    return [f"{x},{y}" for x, y in xy_l0.tolist()]


def tile_ids(slide_id: str, places: list[str]) -> np.ndarray:
    """Stable 64-bit ids of a slide's tiles, (n,) int64: BLAKE2b of the slide's id and the tile's place."""
    base = hashlib.blake2b(slide_id.encode() + b"\0", digest_size=8)
    ids = np.empty(len(places), dtype="<i8")
    for i, spot in enumerate(places):
        tile = base.copy()
        tile.update(spot.encode())
        ids[i] = int.from_bytes(tile.digest(), "little", signed=True)
    return ids
