"""A slide as the user named it, before anything of it is opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MetadataValue = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class SlideSource:
    """Where a slide is and what the user said of it. Pickles: it travels between processes.

    Attributes:
        slide_id: Unique in a run: the path relative to the folder given (posix, with suffix), the list's `slide_id`,
            or a tile folder's name.
        path: Absolute: a file, the level-0 file of a DICOM series, or a folder of ready-made tiles.
        kind: `wsi` for whatever a slide reader opens, `tiles` for a folder of ready-made tiles.
        mpp: Level-0 resolution given by the user, µm/px; it wins over the file's.
        tissue: Path of a GeoJSON mask (level-0 pixels) that replaces tissue detection.
        metadata: Further columns of a slide list; `patient` is one of them.
    """

    slide_id: str
    path: str
    kind: Literal["wsi", "tiles"]
    mpp: float | None = None
    tissue: str | None = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
