"""The extractors that embedstore knows by name, with what is publicly documented about each.

The entries stand in `catalogue.toml`. A fact that no public document states is left out, and is None here.
"""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

RGB = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One extractor of the field.

    Attributes:
        name: As the user writes it.
        kind: `timm` (built by timm), or `builtin` (needs no weights).
        source: Where the weights come from: `hub:…`, `timm:…`, `file`, or `builtin`.
        arch, arch_args: For `timm.create_model`.
        hub_id, hub_file: Repository and file of the weights; None where they are not on the hub.
        weights_format: `timm`, or `transformers` where the published file is converted on loading.
        embedding_dim: Length of an embedding under `pooling`.
        tile_px: Edge of the tiles to cut, pixels.
        mpp: Resolution to cut them at, micrometres per pixel; None where none is documented.
        input_px: Edge that the network sees; tiles of another edge are resized on the device. None: any.
        interpolation: How tiles are resized where `tile_px` is not `input_px`: `bicubic` or `bilinear`, anti-aliased.
        mean, std: Of RGB on 0..1.
        pooling: `network`, `cls`, `mean` or `cls+mean`.
        precision: Of the forward pass on CUDA.
        licence: As its repository states it.
        gated: Whether the weights take an account that was granted access.
        million_params: Parameters of the network, in millions.
        note: What a user must know.
        url: Where the facts were read.
    """

    name: str
    kind: Literal["timm", "builtin"] = "timm"
    source: str
    arch: str
    arch_args: Mapping[str, Any] = field(default_factory=dict)
    hub_id: str | None = None
    hub_file: str | None = None
    weights_format: str = "timm"
    embedding_dim: int
    tile_px: int = 224
    mpp: float | None = None
    input_px: int | None = None
    mean: RGB = (0.485, 0.456, 0.406)
    std: RGB = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    pooling: str = "network"
    precision: str = "fp32"
    licence: str | None = None
    gated: bool | None = None
    million_params: float | None = None
    note: str = ""
    url: str = ""


@functools.cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """Every entry by its name, in the order in which they are shown."""
    text = resources.files("embedstore.extractors").joinpath("catalogue.toml").read_text(encoding="utf-8")
    entries = {name: _entry(name, facts) for name, facts in tomllib.loads(text).items()}
    return MappingProxyType(entries)


def _entry(name: str, facts: dict[str, Any]) -> CatalogueEntry:
    for rgb in ("mean", "std"):
        if rgb in facts:
            facts[rgb] = tuple(facts[rgb])
    hub_id = facts.get("hub_id")
    facts.setdefault("source", f"hub:{hub_id}" if hub_id else "file")
    return CatalogueEntry(name=name, **facts)
