"""Settings of the map of a collection, checked where they are made."""

from dataclasses import dataclass
from typing import Literal

from embedstore.config import Settings, require

#: A map of fewer tiles shows nothing that a table would not, and the methods are not made for it.
FEWEST_TILES = 3


@dataclass(frozen=True, kw_only=True)
class MapConfig(Settings):
    """How the tiles of a collection are laid out in two dimensions.

    Attributes:
        method: `pacmap`, which keeps neighbourhoods and the arrangement of groups; or `pca`, the first two principal
            components, in a second and without a further package.
        tiles: Tiles on the map, drawn evenly over the slides; 0 for all. A million take half an hour.
        neighbours: pacmap: of each tile, that are kept near; 10 of up to 10,000 tiles and 25 of 100,000 when None.
        seed: The same seed gives the same map of the same tiles.
    """

    method: Literal["pacmap", "pca"] = "pacmap"
    tiles: int = 100_000
    neighbours: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.tiles == 0 or self.tiles >= FEWEST_TILES,
            f"tiles is {self.tiles}; expected {FEWEST_TILES} or more, or 0 for all",
        )
        require(
            self.neighbours is None or 2 <= self.neighbours <= 200,
            f"neighbours is {self.neighbours}; expected 2 to 200",
        )
        require(0 <= self.seed < 1 << 31, f"seed is {self.seed}; expected 0 to {(1 << 31) - 1}")
