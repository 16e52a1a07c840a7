"""A slide as the user named it, before it is opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from embedstore.tables import Value

MetadataValue = Value


@dataclass(frozen=True, kw_only=True)
class SlideSource:
    """Where a slide is, and what the user stated about it. It can be pickled, to travel between processes.

    Attributes:
        slide_id: Unique in a run: the path relative to the folder given (posix, with suffix), the list's `slide_id`,
            or a tile folder's name.
        path: Absolute: a file, the level-0 file of a DICOM series, the metadata file of an OME-Zarr image, or a folder
            of ready-made tiles; or the address of one in an object store.
        kind: `wsi` for a slide file, `tiles` for a folder of ready-made tiles.
        mpp: Level-0 resolution given by the user, µm/px; it takes precedence over the file's.
        tissue: Path of a mask (GeoJSON or XML of ASAP) that replaces tissue detection.
        metadata: The other columns of a slide list, such as `patient`.
        version: Of the objects of an address when the slide was planned; its tiles are read from no other.
    """

    slide_id: str
    path: str
    kind: Literal["wsi", "tiles"]
    mpp: float | None = None
    tissue: str | None = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    version: str | None = None
