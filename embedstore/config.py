"""Settings of each stage, checked where they are made and passed on whole.

The text of a field under `Attributes:` is also the help of its flag; text that ends with "; X when None." tells what
the default is.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from embedstore.errors import ConfigError
from embedstore.typed_values import typed

Downsample = Literal["area", "dct"]

MIB = 1 << 20
GB = 10**9
#: The largest slides have 5 GB, and a reader works on two.
SLIDE_CACHE_GB = 50.0


def require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)


def require_cluster_address(address: str) -> None:
    """Refuse addresses of Ray's client (`ray://`), and all others that no driver on the cluster has.

    Raises:
        ConfigError: it is neither `auto`, `local` nor `host:port`.
    """
    scheme, separator, rest = address.rpartition("://")
    host = rest.rpartition(":")[0] or rest
    why = "a run over Ray's client ends 30 s after its connection is lost" if scheme == "ray" else "it is no driver's"
    require(
        not separator,
        f"the cluster's address is {address!r}: {why}; expected auto or host:port, on a node of the cluster; from "
        f"elsewhere, submit the command to it: `ray job submit --address http://{host or 'HEAD'}:8265 -- embedstore "
        "ingest SLIDES --store STORE --address auto`",
    )


class Settings:
    """Base of the configuration classes, which are frozen dataclasses: each value is of the type of its field."""

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):  # type: ignore[arg-type]
            value = typed(getattr(self, each.name), each.type, f"{type(self).__name__}: {each.name}")
            object.__setattr__(self, each.name, value)


@dataclass(frozen=True, kw_only=True)
class TilingConfig(Settings):
    """How a slide is cut into tiles.

    Attributes:
        tile_px: Edge of a tile as the extractor sees it, pixels.
        mpp: Resolution of a tile as the extractor sees it, micrometres per pixel.
        stride_px: Distance between neighbouring tiles, pixels of a tile; the tile's edge when None.
        min_tissue: Smallest share of a tile's area that must be tissue, 0 to 1.
        downsample: How a tile is made smaller than the level it is read from: `area` averages pixels; `dct` lets the
            decoder of JPEG or JPEG 2000 data leave out the high frequencies (scaled decoding), and averages otherwise.
    """

    tile_px: int = 256
    mpp: float = 0.5
    stride_px: int | None = None
    min_tissue: float = 0.5
    downsample: Downsample = "area"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(16 <= self.tile_px <= 8192, f"tile_px is {self.tile_px}; expected 16 to 8192 pixels")
        require(0.02 <= self.mpp <= 100, f"mpp is {self.mpp}; expected 0.02 to 100 µm/px")
        stride = self.tile_px if self.stride_px is None else self.stride_px
        require(1 <= stride <= 16 * self.tile_px, f"stride_px is {stride}; expected 1 to {16 * self.tile_px} pixels")
        object.__setattr__(self, "stride_px", stride)
        require(0 <= self.min_tissue <= 1, f"min_tissue is {self.min_tissue}; expected a share from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class TissueConfig(Settings):
    """How tissue is separated from background on a thumbnail.

    Attributes:
        method: `otsu` finds tissue by optical density and saturation; `all` takes the whole slide.
        mpp: Resolution of the thumbnail on which tissue is found, micrometres per pixel.
        min_area_um2: Pieces of tissue smaller than this are dropped, µm².
        max_hole_um2: Holes in tissue smaller than this are filled, µm².
        exclude_pen: Leave out marks of blue, green, red and black pens.
        mask_origin: Where coordinates of a given mask begin: `bounds`, the corner of the slide's image as in QuPath,
            or `level0`. A mask that states its origin is read by that; `bounds` for GeoJSON and `level0` for ASAP's XML
            when None.
    """

    method: Literal["otsu", "all"] = "otsu"
    mpp: float = 8.0
    min_area_um2: float = 20_000.0
    max_hole_um2: float = 10_000.0
    exclude_pen: bool = True
    mask_origin: Literal["bounds", "level0"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.5 <= self.mpp <= 64, f"tissue mpp is {self.mpp}; expected 0.5 to 64 µm/px")
        require(self.min_area_um2 >= 0, f"min_area_um2 is {self.min_area_um2}; expected 0 or more")
        require(self.max_hole_um2 >= 0, f"max_hole_um2 is {self.max_hole_um2}; expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class ReadingConfig(Settings):
    """How pixels are read.

    Attributes:
        reader: `auto` takes, for each slide, the fastest reader whose pixels equal OpenSlide's; a name forces one.
        max_unreadable: Share of a slide's tiles, 0 to 1, that may be unreadable before the slide fails.
    """

    reader: Literal["auto", "tiff", "dicom", "zarr", "fastslide", "openslide"] = "auto"
    max_unreadable: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.max_unreadable <= 1, f"max_unreadable is {self.max_unreadable}; expected a share 0 to 1")


@dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """How a run uses the machine. Nothing here changes what is stored.

    Attributes:
        readers: Reader workers beside each extractor; as many as the cores allow when None.
        extractors: Extractor workers; one per GPU, or one on a machine without a GPU when None.
        min_extractors: Extractor workers that a cluster is asked for in any case.
        max_extractors: Most extractor workers, for which a cluster is asked while slides wait; those that its nodes
            have room for when None.
        batch_tiles: Tiles in one forward pass; the extractor's own choice when None.
        chunk_bytes: Pixels that a reader sends to its extractor at once, bytes; 8 MiB in one process and 16 MiB on Ray
            when None, and always few enough that each reader of a group has some in flight.
        in_flight_bytes: Pixels read and not yet embedded, per worker group (an extractor and its readers), bytes.
        group_slides: Largest number of slides in one commit.
        group_s: Longest time that a finished slide waits for its commit, seconds.
        max_strikes: A slide fails after this many workers died while working on it.
        max_restarts: Number of worker deaths that a run survives.
        compact_every: Commits between two compactions of a collection.
        slide_cache_gb: Most that slides fetched from an object store may take on the disk of a machine, GB.
    """

    readers: int | None = None
    extractors: int | None = None
    min_extractors: int = 1
    max_extractors: int | None = None
    batch_tiles: int | None = None
    chunk_bytes: int | None = None
    in_flight_bytes: int = 64 * MIB
    group_slides: int = 64
    group_s: float = 2.0
    max_strikes: int = 3
    max_restarts: int = 100
    compact_every: int = 64
    slide_cache_gb: float = SLIDE_CACHE_GB

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("readers", "extractors", "min_extractors", "max_extractors", "batch_tiles", "chunk_bytes"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} is {value}; expected 1 or more")
        most = self.max_extractors
        require(
            most is None or self.min_extractors <= most,
            f"min_extractors is {self.min_extractors} and max_extractors {most}; expected no more than that",
        )
        require(
            self.extractors is None or (self.min_extractors == 1 and most is None),
            f"extractors is {self.extractors}, a fixed number; expected it, or min_extractors and max_extractors",
        )
        for name in ("in_flight_bytes", "group_slides", "max_strikes", "max_restarts", "compact_every"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; expected 1 or more")
        require(self.group_s >= 0, f"group_s is {self.group_s}; expected 0 or more seconds")
        require(self.slide_cache_gb > 0, f"slide_cache_gb is {self.slide_cache_gb}; expected more than 0 GB")


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig(Settings):
    """Where an ingest runs.

    Attributes:
        in_process: Use threads of this process: the default on a machine without a GPU.
        ray: Start Ray on this machine, with a process for each reader and extractor: the default with a GPU, with
            several extractor workers, and in a process that has joined a cluster.
        address: The Ray cluster to join (`auto`, or `host:port` on a node of it); the one of RAY_ADDRESS when None.
        device: Device of the extractors: `auto`, `cpu`, `cuda` or `cuda:N`.
    """

    in_process: bool = False
    ray: bool = False
    address: str | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.address is not None:
            require_cluster_address(self.address)
        require(
            not (self.in_process and (self.ray or self.address is not None)),
            "in_process is given, and so is ray or an address; expected one place to run: leave the others out",
        )


@dataclass(frozen=True, kw_only=True)
class ViewConfig(Settings):
    """Which augmented copies (views) of each tile are embedded beside it. They are the same in every run.

    Every view is mirrored and turned at random. Each other change is made to the share of views that is noted.

    Attributes:
        count: Augmented copies of each tile to embed beside it, for fit-head and fit-augmenter.
        crop: Largest share of a tile's area that is cut away (half of the views); the rest is enlarged to the tile.
        stain: Largest change of the amounts of haematoxylin and eosin (all views): a factor of 1 ± stain and an offset
            of ± stain, in units of optical density (Tellez et al. 2018, doi 10.1109/TMI.2018.2820199); background
            has no stain and stays as it is.
        brightness: Largest change of brightness, as a share of white (half of the views).
        contrast: Largest change of contrast about the tile's mean (half of the views).
        blur: Largest standard deviation of a Gaussian blur, pixels (a quarter of the views).
        jpeg: Lowest quality of JPEG compression, 1 to 100 (a quarter of the views); 100 is off.
        seed: Seed of the random changes.
    """

    count: int = 4
    crop: float = 0.3
    stain: float = 0.1
    brightness: float = 0.1
    contrast: float = 0.2
    blur: float = 1.5
    jpeg: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.count <= 64, f"views is {self.count}; expected 1 to 64 of each tile")
        for name, most in (("crop", 0.9), ("stain", 0.9), ("brightness", 0.9), ("contrast", 0.9), ("blur", 20)):
            value = getattr(self, name)
            require(0 <= value <= most, f"{name} of views is {value}; expected 0 to {most}")
        require(1 <= self.jpeg <= 100, f"jpeg of views is {self.jpeg}; expected a quality from 1 to 100")
        require(0 <= self.seed < 2**32, f"seed of views is {self.seed}; expected 0 to {2**32 - 1}")


@dataclass(frozen=True, kw_only=True)
class IngestConfig(Settings):
    """Everything that determines the rows of a slide, except the extractor.

    Attributes:
        tiling: How slides are cut into tiles.
        tissue: How tissue is found.
        reading: How pixels are read.
        views: Which augmented copies of tiles are embedded as well; none when None.
    """

    tiling: TilingConfig = field(default_factory=TilingConfig)
    tissue: TissueConfig = field(default_factory=TissueConfig)
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    views: ViewConfig | None = None


@dataclass(frozen=True, kw_only=True)
class JoinConfig(Settings):
    """When a tile lies in an annotated area.

    Attributes:
        rule: `centre`: the tile's centre lies in the area; `overlap`: at least `min_overlap` of the tile does.
        min_overlap: With `overlap`, the smallest share of the tile that must lie in the area, above 0 and up to 1.
    """

    rule: Literal["centre", "overlap"] = "centre"
    min_overlap: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.min_overlap <= 1, f"min_overlap is {self.min_overlap}; expected a share above 0, to 1")


def as_record(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON values, to be stored with what it produced."""
    return dataclasses.asdict(config)
