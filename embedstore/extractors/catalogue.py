"""The extractors that embedstore knows by name, with what is publicly documented about each.

The entries are in `catalogue.toml`. A fact that no public document states is left out, and is None here.
"""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from embedstore.extractors.config import RGB
from embedstore.extractors.spec import ExtractorSpec, Kind


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry(ExtractorSpec):
    """A published extractor. The defaults are those of most entries: a timm network, normalised as for ImageNet.

    Attributes:
        million_params: Parameters of the network, in millions.
        context_tokens: Most tokens of a text, where it has a text tower.
        note: What a user must know.
        url: Source of the facts.
    """

    kind: Kind = "timm"
    tile_px: int = 224
    mean: RGB = (0.485, 0.456, 0.406)
    std: RGB = (0.229, 0.224, 0.225)
    million_params: float | None = None
    context_tokens: int | None = None
    note: str = ""
    url: str = ""

    @property
    def has_text_tower(self) -> bool:
        """Whether words can be embedded where its embeddings lie."""
        return self.kind in ("open_clip", "transformers", "package")


@functools.cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """All entries by name, in the order in which they are listed."""
    text = resources.files("embedstore.extractors").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return MappingProxyType({name: _entry(name, facts) for name, facts in tomllib.loads(text).items()})


def _entry(name: str, facts: dict[str, Any]) -> CatalogueEntry:
    hub_id = facts.get("hub_id")
    return CatalogueEntry(**{"name": name, "source": f"hub:{hub_id}" if hub_id else "file", **facts})
