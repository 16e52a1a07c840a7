"""What goes from the process that reads vectors to the one that wants them, once a slide is open."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedstore.layouts.layout import FeatureFacts, Features


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedFeatures:
    """The attributes of `Features`."""

    facts: FeatureFacts
    xy_l0: NDArray[np.integer] | None
    edge_l0: int | NDArray[np.integer] | None
    names: tuple[str, ...] | None
    centred: bool
    in_tile_px: bool

    @classmethod
    def of(cls, features: Features) -> "OpenedFeatures":
        return cls(
            facts=features.facts,
            xy_l0=features.xy_l0,
            edge_l0=features.edge_l0,
            names=features.names,
            centred=features.centred,
            in_tile_px=features.in_tile_px,
        )
