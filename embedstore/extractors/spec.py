"""The facts of an extractor that determine its embeddings, known before any weights are loaded."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from embedstore.errors import ConfigError
from embedstore.extractors.config import DEFAULT_PRECISION, POOLINGS, PRECISIONS, RGB, ExtractorConfig, checked_rgb

Kind = Literal["builtin", "timm", "open_clip", "transformers", "package", "custom"]


@dataclass(frozen=True, kw_only=True)
class ExtractorSpec:
    """The facts of an extractor.

    Attributes:
        name: Its name in the store.
        kind: `timm` (built by timm), `open_clip` and `transformers` (built by these, with a text tower), `builtin`
            (needs no weights), `custom` (a user's own function), or `package` (of its authors, for such a function).
        source: Where it comes from, for people: `hub:MahmoodLab/UNI`, `timm:resnet18`, `file:NAME`, `builtin` …
        arch, arch_args: Arguments of `timm.create_model`; `arch` of a user's function is its reference.
        hub_id, hub_file: Repository and file of the published weights; None where they are not on the hub.
        weights_format: `timm`, or `transformers` where the published file is converted on loading.
        embedding_dim: Length of an embedding under `pooling`, checked when the network is built; None where only the
            network can tell.
        tile_px: Edge of the tiles to cut, pixels.
        mpp: Resolution to cut them at, micrometres per pixel; None where none is documented.
        input_px: Edge that the network sees; tiles of another edge are resized on the device. None: any.
        interpolation: How tiles are resized where `tile_px` is not `input_px`: `bicubic` or `bilinear`, anti-aliased.
        mean, std: Of RGB on 0..1.
        pooling: `network`, `cls`, `mean` or `cls+mean`.
        precision: Of the forward pass on CUDA.
        licence: Of the weights, as their repository states it.
        gated: Whether the weights need an account that was granted access; None where that is unknown.
    """

    name: str
    kind: Kind
    source: str
    arch: str
    arch_args: Mapping[str, Any] = field(default_factory=dict)
    hub_id: str | None = None
    hub_file: str | None = None
    weights_format: str = "timm"
    embedding_dim: int | None = None
    tile_px: int
    mpp: float | None = None
    input_px: int | None = None
    interpolation: str = "bicubic"
    mean: RGB = (0.0, 0.0, 0.0)
    std: RGB = (1.0, 1.0, 1.0)
    pooling: str = "network"
    precision: str = DEFAULT_PRECISION
    licence: str | None = None
    gated: bool | None = None

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ConfigError(f"pooling of {self.name!r} is {self.pooling!r}; expected one of {', '.join(POOLINGS)}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision of {self.name!r} is {self.precision!r}; expected {', '.join(PRECISIONS)}")
        object.__setattr__(self, "mean", checked_rgb(self.mean, "mean"))
        object.__setattr__(self, "std", checked_rgb(self.std, "std"))

    def with_overrides(self, config: ExtractorConfig) -> Self:
        """This spec with the fields that the user's configuration sets.

        Raises:
            ConfigError: a built-in extractor has no such field.
        """
        names = ("name", "tile_px", "mpp", "input_px", "mean", "std", "pooling", "precision")
        overrides = {name: value for name in names if (value := getattr(config, name)) is not None}
        if self.kind == "builtin":
            unused = sorted({"input_px", "mean", "std", "pooling", "precision"} & overrides.keys())
            unused += [name for name in ("weights", "arch_args") if getattr(config, name)]
            if unused:
                raise ConfigError(f"extractor {self.name!r} is built in and has no {', '.join(unused)}; leave it out")
        arch_args = {**self.arch_args, **config.arch_args}
        if (overrides.get("pooling", self.pooling), arch_args) != (self.pooling, dict(self.arch_args)):
            overrides["embedding_dim"] = None
        return dataclasses.replace(self, arch_args=arch_args, **overrides)

    def preprocessing(self) -> str:
        """Everything besides the weights that determines an embedding, as canonical JSON."""
        names = ("arch", "arch_args", "tile_px", "input_px", "interpolation", "mean", "std", "pooling")
        return json.dumps({name: getattr(self, name) for name in names}, sort_keys=True, default=str)
