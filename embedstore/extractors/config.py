"""What the user asked for: which extractor, with which weights, and what differs from its entry in the catalogue."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedstore.errors import ConfigError

POOLINGS = ("network", "cls", "mean", "cls+mean")
PRECISIONS = ("fp32", "fp16", "bf16")
RANDOM_WEIGHTS = re.compile(r"random(?::(\d+))?")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class ExtractorConfig:
    """An extractor by name, and whatever is to differ from what that name stands for; None leaves it as it is.

    Pickles, and loads to the same extractor in any process that sees the same files.

    Attributes:
        ref: A name of the catalogue; any timm name (`resnet18`, `timm:resnet18`); a user's `module:function` or
            `file.py:function`; or the name of an entry point in the group `embedstore.extractors`.
        name: What to call it in the store.
        weights: A `.safetensors`, `.pt`, `.pth` or `.bin` file; or `random` (`random:SEED`) for untrained weights.
            None finds the published weights: in the hub's cache, else by download.
        arch_args: Arguments of the architecture (`timm.create_model`) or of the user's function.
        tile_px: Edge of the tiles that it is given, pixels.
        mpp: Resolution of the tiles, micrometres per pixel.
        input_px: Edge that the network sees, pixels; tiles of another edge are resized on the device.
        mean, std: Of RGB values scaled to 0..1, subtracted and divided by.
        pooling: `network` (its own), `cls`, `mean` (of patch tokens) or `cls+mean` (concatenated).
        precision: Of the forward pass on CUDA; on the CPU it is always fp32.
    """

    ref: str
    name: str | None = None
    weights: str | None = None
    arch_args: Mapping[str, Any] = field(default_factory=dict)
    tile_px: int | None = None
    mpp: float | None = None
    input_px: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    pooling: str | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        _require(bool(self.ref.strip()), "an extractor's ref is empty; `embedstore extractors` lists the names")
        for name in ("tile_px", "input_px"):
            value = getattr(self, name)
            _require(value is None or 16 <= value <= 8192, f"{name} is {value}; expected 16 to 8192 pixels")
        _require(self.mpp is None or 0.02 <= self.mpp <= 100, f"mpp is {self.mpp}; expected 0.02 to 100 µm/px")
        _require(self.pooling in (None, *POOLINGS), f"pooling is {self.pooling!r}; expected one of {POOLINGS}")
        _require(
            self.precision in (None, *PRECISIONS), f"precision is {self.precision!r}; expected one of {PRECISIONS}"
        )
        for name in ("mean", "std"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checked_rgb(getattr(self, name), name))
        if self.weights is not None and not RANDOM_WEIGHTS.fullmatch(self.weights):
            # Workers start in other directories: a path is made absolute once, here.
            object.__setattr__(self, "weights", str(Path(self.weights).expanduser().absolute()))
        file, colon, function = self.ref.rpartition(":")
        if colon and file.endswith(".py"):
            object.__setattr__(self, "ref", f"{Path(file).expanduser().absolute()}:{function}")

    @property
    def random_seed(self) -> int | None:
        """The seed of random weights; None where trained ones are meant."""
        match = RANDOM_WEIGHTS.fullmatch(self.weights or "")
        return int(match.group(1) or 0) if match else None


def checked_rgb(values: Any, name: str) -> tuple[float, float, float]:
    """Three numbers on the scale 0..1 of RGB; a mean or std of 0..255 values is refused, not rescaled."""
    rgb = tuple(float(value) for value in values)
    _require(len(rgb) == 3, f"{name} has {len(rgb)} values; expected three, of R, G and B")
    scale_hint = "expected values for RGB on 0..1; divide those for 0..255 by 255"
    _require(all(0 <= value <= 1 for value in rgb), f"{name} is {rgb}; {scale_hint}")
    _require(name != "std" or min(rgb) > 0, f"std is {rgb}; expected values above 0")
    return rgb  # type: ignore[return-value]
