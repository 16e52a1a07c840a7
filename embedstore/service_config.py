"""Settings of the service, checked where they are made. Here, so that the command line shows them without FastAPI."""

from dataclasses import dataclass, field

from embedstore.access_config import AccessConfig
from embedstore.config import MIB, SLIDE_CACHE_GB, Settings, require, require_cluster_address


@dataclass(frozen=True, kw_only=True)
class ServiceConfig(Settings):
    """How a store is served over HTTP.

    Attributes:
        host: Address to listen on, or the path of a Unix socket; other machines reach the service only on an address
            beyond the loopback.
        port: Port to listen on; 0 takes a free one.
        searches: Searches that run at once; one a core when None.
        pictures: Pictures of slides that are made at once; two a core when None.
        open_slides: Slides that stay open between requests, each in a process of 50 to 150 MB.
        picture_cache_bytes: Memory for pictures that were asked for lately, bytes.
        slide_cache_gb: Most that slides fetched from an object store may take on the disk, GB.
        trust_extractor: Run a user's own function to embed an image or words, where a collection was made with one.
        warm_tiles: Collections of so many tiles or more are kept warm, for searches within a millisecond, where
            faiss-cpu is installed; 0 keeps none.
        jobs: Fits, predictions and exports that run at once.
        cluster: Address of a Ray cluster: images of queries are embedded, and heads fitted, on its nodes; here when
            None.
        spool: Folder for exports until they are downloaded, and for temporary files; in the user's cache when None.
        max_json_bytes: Largest body of JSON, bytes.
        max_upload_bytes: Largest body of any other kind, such as an image or a table of queries, bytes.
        body_timeout_s: Longest pause of a client within the body of a request, seconds.
        max_rows: Most rows of one answer in JSON; in Arrow ten times as many.
        access: Who may ask it.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    searches: int | None = None
    pictures: int | None = None
    open_slides: int = 8
    picture_cache_bytes: int = 256 * MIB
    slide_cache_gb: float = SLIDE_CACHE_GB
    trust_extractor: bool = False
    warm_tiles: int = 20_000
    jobs: int = 1
    cluster: str | None = None
    spool: str | None = None
    max_json_bytes: int = 4 * MIB
    max_upload_bytes: int = 64 * MIB
    body_timeout_s: float = 30.0
    max_rows: int = 10_000
    access: AccessConfig = field(default_factory=AccessConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.port <= 65_535, f"port is {self.port}; expected 0 to 65535")
        for name in ("searches", "pictures", "open_slides", "jobs", "max_json_bytes", "max_upload_bytes", "max_rows"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} is {value}; expected 1 or more")
        require(self.warm_tiles >= 0, f"warm_tiles is {self.warm_tiles}; expected 0 or more tiles")
        require(self.slide_cache_gb > 0, f"slide_cache_gb is {self.slide_cache_gb}; expected more than 0 GB")
        require(self.picture_cache_bytes >= 0, f"picture_cache_bytes is {self.picture_cache_bytes}; expected 0 or more")
        if self.cluster is not None:
            require_cluster_address(self.cluster)
        require(self.body_timeout_s > 0, f"body_timeout_s is {self.body_timeout_s}; expected more than 0 s")
