"""An extractor as the user requests it: its name, its weights, and overrides of the catalogue's facts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embedstore.config import Settings, require
from embedstore.uris import as_given

POOLINGS = ("network", "cls", "mean", "cls+mean")
PRECISIONS = ("fp32", "fp16", "bf16")
#: On CUDA, where neither the user nor the extractor states one; `docs/decisions/half-precision.md` has the figures.
DEFAULT_PRECISION = "fp16"
#: What stands before a name of a library's; any other colon is that of a user's function.
TOWER_LIBRARIES = ("open_clip:", "transformers:")
LIBRARIES = ("timm:", *TOWER_LIBRARIES)
RGB = tuple[float, float, float]
RANDOM_WEIGHTS = re.compile(r"random(?::(\d+))?")


@dataclass(frozen=True, kw_only=True)
class ExtractorConfig(Settings):
    """An extractor by name, with overrides of its facts; None overrides nothing.

    It can be pickled, and loads to the same extractor in any process that sees the same files.

    Attributes:
        ref: A name of the catalogue; any timm name (`resnet18`, `timm:resnet18`); a network with a text tower, as
            `open_clip:ARCHITECTURE/WEIGHTS`, `open_clip:hf-hub:ORG/NAME`, `transformers:ORG/NAME`, or one of both with
            a folder; a user's `module:function` or `file.py:function`; or the name of an entry point in the group
            `embedstore.extractors`.
        name: Its name in the store.
        weights: A `.safetensors`, `.pt`, `.pth` or `.bin` file, or its address in an object store; or `random`
            (`random:SEED`) for untrained weights.
            None stands for the published weights: from the hub's cache, else downloaded.
        arch_args: Arguments of the architecture (`timm.create_model`) or of the user's function.
        tile_px: Edge of the tiles, pixels.
        mpp: Resolution of the tiles, micrometres per pixel.
        input_px: Edge that the network sees, pixels; tiles of another edge are resized on the device.
        mean, std: Normalisation of RGB values on 0..1: subtracted, and divided by.
        pooling: `network` (its own), `cls`, `mean` (of patch tokens) or `cls+mean` (concatenated).
        precision: `fp32`, `fp16` or `bf16`, for the forward pass on CUDA; on the CPU it is always fp32. In fp16, a tile
            whose embedding overflows is computed again in fp32. A collection keeps the one that it was made with.
    """

    ref: str
    name: str | None = None
    weights: str | None = None
    arch_args: Mapping[str, Any] = field(default_factory=dict)
    tile_px: int | None = None
    mpp: float | None = None
    input_px: int | None = None
    mean: RGB | None = None
    std: RGB | None = None
    pooling: str | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.ref.strip()), "an extractor's ref is empty; `embedstore extractors` lists the names")
        for name in ("tile_px", "input_px"):
            value = getattr(self, name)
            require(value is None or 16 <= value <= 8192, f"{name} is {value}; expected 16 to 8192 pixels")
        require(self.mpp is None or 0.02 <= self.mpp <= 100, f"mpp is {self.mpp}; expected 0.02 to 100 µm/px")
        require(self.pooling in (None, *POOLINGS), f"pooling is {self.pooling!r}; expected one of {POOLINGS}")
        require(self.precision in (None, *PRECISIONS), f"precision is {self.precision!r}; expected one of {PRECISIONS}")
        for name in ("mean", "std"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checked_rgb(getattr(self, name), name))
        if self.weights is not None and not RANDOM_WEIGHTS.fullmatch(self.weights):
            # Workers start in other directories, so a path is made absolute here.
            object.__setattr__(self, "weights", as_given(self.weights))
        library, colon, folder = self.ref.partition(":")
        if f"{library}:" in TOWER_LIBRARIES and (folder.startswith((".", "~")) or Path(folder).is_dir()):
            object.__setattr__(self, "ref", f"{library}:{Path(folder).expanduser().absolute()}")
        file, colon, function = self.ref.rpartition(":")
        if colon and file.endswith(".py"):
            object.__setattr__(self, "ref", f"{Path(file).expanduser().absolute()}:{function}")

    @property
    def random_seed(self) -> int | None:
        """The seed of random weights; None for trained weights."""
        match = RANDOM_WEIGHTS.fullmatch(self.weights or "")
        return int(match.group(1) or 0) if match else None


def with_precision_of(config: ExtractorConfig, details: Mapping[str, Any]) -> ExtractorConfig:
    """The extractor in the precision that a collection was made with, unless the user asks for one.

    Args:
        details: What the collection's record says of its extractor.
    """
    made_with = details.get("precision")
    return config if config.precision or made_with not in PRECISIONS else replace(config, precision=made_with)


def checked_rgb(values: Sequence[float], name: str) -> RGB:
    """Three numbers for RGB on 0..1; a mean or std for 0..255 is refused, not rescaled."""
    require(len(values) == 3, f"{name} has {len(values)} values; expected three, of R, G and B")
    red, green, blue = (float(value) for value in values)
    rgb = red, green, blue
    scale_hint = "expected values for RGB on 0..1; divide those for 0..255 by 255"
    require(all(0 <= value <= 1 for value in rgb), f"{name} is {rgb}; {scale_hint}")
    require(name != "std" or min(rgb) > 0, f"std is {rgb}; expected values above 0")
    return rgb
