"""The first directory of a TIFF, read by hand: 30 µs a file, where tifffile takes a millisecond."""

import struct
from pathlib import Path

TILE_WIDTH = 322  # a TIFF tag
DIRECTORY_BYTES = 4096  # 200 entries of a BigTIFF; slides have 30


def is_tiled_tiff(path: str | Path) -> bool:
    """Whether a file is a TIFF whose first directory is stored in tiles, as every slide's is."""
    try:
        with open(path, "rb") as file:
            header = file.read(16)
            order = {b"II": "<", b"MM": ">"}.get(header[:2])
            if order is None:
                return False
            big = struct.unpack(order + "H", header[2:4])[0] == 43
            at = struct.unpack(order + ("Q" if big else "I"), header[8:16] if big else header[4:8])[0]
            file.seek(at)
            directory = file.read(DIRECTORY_BYTES)
    except (OSError, struct.error, ValueError, OverflowError):
        return False
    count_bytes, entry_bytes = (8, 20) if big else (2, 12)
    entries = directory[count_bytes:]
    if len(directory) < count_bytes:
        return False
    count = min(struct.unpack(order + ("Q" if big else "H"), directory[:count_bytes])[0], len(entries) // entry_bytes)
    tags = (struct.unpack_from(order + "H", entries, entry_bytes * i)[0] for i in range(count))
    return TILE_WIDTH in tags
