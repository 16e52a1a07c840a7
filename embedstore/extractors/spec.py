"""A resolved extractor: every fact that decides its embeddings, before any weight is loaded."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from embedstore.errors import ConfigError
from embedstore.extractors.catalogue import CatalogueEntry
from embedstore.extractors.config import POOLINGS, PRECISIONS, ExtractorConfig, checked_rgb

RGB = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class ExtractorSpec:
    """What an extractor is; see `ExtractorConfig` for the fields of the same name.

    Attributes:
        source: Where it comes from, for people: `hub:MahmoodLab/UNI`, `timm:resnet18`, `builtin` …
        arch: timm's name of the architecture; for a user's function, its reference.
        hub_id, hub_file: The published weights; None where there are none.
        weights_format: `timm`, or the layout of the published file that is converted on loading.
        embedding_dim: As stated; checked when the network is up. None where only the network can tell.
    """

    name: str
    kind: Literal["builtin", "timm", "custom"]
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
    precision: str = "fp32"
    licence: str | None = None
    gated: bool | None = None

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ConfigError(f"pooling of {self.name!r} is {self.pooling!r}; expected one of {', '.join(POOLINGS)}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision of {self.name!r} is {self.precision!r}; expected {', '.join(PRECISIONS)}")
        object.__setattr__(self, "mean", checked_rgb(self.mean, "mean"))
        object.__setattr__(self, "std", checked_rgb(self.std, "std"))

    @classmethod
    def from_entry(cls, entry: CatalogueEntry) -> "ExtractorSpec":
        names = {field.name for field in dataclasses.fields(entry)} & {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: getattr(entry, name) for name in names})

    def with_overrides(self, config: ExtractorConfig) -> "ExtractorSpec":
        """This spec with what the user asked to differ."""
        names = ("name", "tile_px", "mpp", "input_px", "mean", "std", "pooling", "precision")
        asked = {name: value for name in names if (value := getattr(config, name)) is not None}
        if self.kind == "builtin":
            pointless = sorted({"input_px", "mean", "std", "pooling", "precision"} & asked.keys())
            pointless += [name for name in ("weights", "arch_args") if getattr(config, name)]
            if pointless:
                raise ConfigError(
                    f"extractor {self.name!r} is built in and has no {', '.join(pointless)}; leave it out"
                )
        return dataclasses.replace(self, arch_args={**self.arch_args, **config.arch_args}, **asked)

    def preprocessing(self) -> str:
        """What lies between a tile's pixels and its embedding besides the weights, as canonical JSON."""
        names = ("arch", "arch_args", "tile_px", "input_px", "interpolation", "mean", "std", "pooling")
        return json.dumps({name: getattr(self, name) for name in names}, sort_keys=True, default=str)
