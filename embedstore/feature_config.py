"""What a user says of vectors that files do not say."""

from dataclasses import dataclass

from embedstore.config import Settings, require


@dataclass(frozen=True, kw_only=True)
class FeatureConfig(Settings):
    """What holds for the vectors of a folder; it takes precedence over what the files say.

    Attributes:
        layout: The tool whose layout the folder has; recognised when None.
        coordinates: Folder of the files of tiles' places (CLAM's patches/); the one beside the vectors when None.
        features: Which of several sets of vectors that the files of a slide hold (LazySlide's tables).
        extractor: The extractor that made the vectors: a name of the catalogue, or any other; what the files say when
            None.
        tile_px: Edge of a tile as the tool cut it, pixels; what the files say when None.
        mpp: Resolution of these tiles, micrometres per pixel; what the files say or follows from the slide when None.
        slide_mpp: Resolution of slides that do not state theirs, micrometres per level-0 pixel.
        edge_l0: Edge of a tile, level-0 pixels; what the files say or follows from the slide when None.
    """

    layout: str | None = None
    coordinates: str | None = None
    features: str | None = None
    extractor: str | None = None
    tile_px: int | None = None
    mpp: float | None = None
    slide_mpp: float | None = None
    edge_l0: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tile_px", "edge_l0"):
            value = getattr(self, name)
            require(value is None or 1 <= value <= 1 << 20, f"{name} is {value}; expected 1 to 1048576 pixels")
        for name in ("mpp", "slide_mpp"):
            value = getattr(self, name)
            require(value is None or 0.02 <= value <= 100, f"{name} is {value}; expected 0.02 to 100 µm/px")
        require(self.extractor is None or bool(self.extractor.strip()), "extractor is empty; expected a name")
