"""Settings of a fit by name."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from embedstore.settings import build_config

if TYPE_CHECKING:
    from heads.config import FitConfig


def fit_config(config: "FitConfig | None", settings: Mapping[str, Any]) -> "FitConfig":
    """A configuration of a fit; without `level` among the settings, model and encoder decide it."""
    from heads.config import TILE_MODELS, AugmentConfig, FitConfig

    fields = dict(settings)
    if config is None and fields.get("encoder") is not None:
        fields.setdefault("level", "slide")
    if config is None and "model" in fields:
        fields.setdefault("level", "tile" if fields["model"] in TILE_MODELS else "slide")
    if isinstance(fields.get("split"), str):
        fields["split"] = {"kind": fields["split"]}
    if fields.get("augment") is not None:
        policies = fields["augment"]
        policies = list(policies) if isinstance(policies, list | tuple) else [policies]
        fields["augment"] = tuple(
            AugmentConfig()
            if policy == "none"
            else build_config(AugmentConfig, policy)
            if isinstance(policy, Mapping)
            else policy
            for policy in policies
        )
    return build_config(FitConfig, config, **fields)
