"""A synthetic slide on disk, and its ground truth next to it."""

from dataclasses import dataclass
from pathlib import Path

from embedstore.errors import ConfigError
from synthetic_slides.ground_truth import write_truth
from synthetic_slides.layout import SlideRecipe, draw_layout
from synthetic_slides.painter import Painter
from synthetic_slides.pyramid import write_pyramid

SMALLEST_PX = 256


@dataclass(frozen=True, kw_only=True)
class SyntheticSlide:
    """A synthetic slide on disk.

    Attributes:
        path: The slide: a pyramidal, tiled BigTIFF that OpenSlide reads as Aperio's.
        truth_path: Its ground truth: GeoJSON as QuPath writes it, polygons in level-0 pixels.
        size_px: (width, height) in level-0 pixels.
        mpp: Micrometres per level-0 pixel.
        seed: The seed that it was drawn from.
        recipe: The recipe that it was drawn by.
        glands: Number of glands.
    """

    path: Path
    truth_path: Path
    size_px: tuple[int, int]
    mpp: float
    seed: int
    recipe: SlideRecipe
    glands: int


def write_slide(
    path: str | Path,
    *,
    size_px: tuple[int, int] = (6000, 5000),
    mpp: float = 0.5,
    seed: int = 0,
    recipe: SlideRecipe | None = None,
) -> SyntheticSlide:
    """Make a slide and its ground truth; the same arguments give the same bytes.

    At any size, only a band of 256 rows is held in memory.

    Args:
        path: The file to write, `NAME.svs`; the ground truth is `NAME.geojson` next to it. Folders are made.
        size_px: (width, height) in level-0 pixels.
        mpp: Micrometres per level-0 pixel, 0.1 to 4.
        seed: Everything is drawn from it, 0 or more.
        recipe: Content of the slide; None for the default recipe.
    Raises:
        ConfigError: the size, resolution or seed is out of range.
    """
    if min(size_px) < SMALLEST_PX:
        raise ConfigError(
            f"size of the synthetic slide is {size_px[0]}x{size_px[1]}; expected at least {SMALLEST_PX} px a side"
        )
    if not 0.1 <= mpp <= 4:
        raise ConfigError(f"mpp of the synthetic slide is {mpp}; expected 0.1 to 4 µm/px")
    if seed < 0:
        raise ConfigError(f"seed of the synthetic slide is {seed}; expected 0 or more")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    recipe = recipe or SlideRecipe()
    layout = draw_layout(size_px, mpp, seed, recipe)
    write_pyramid(path, Painter(layout).bands(), size_px=size_px, mpp=mpp)
    truth_path = path.with_suffix(".geojson")
    write_truth(truth_path, layout)
    return SyntheticSlide(
        path=path, truth_path=truth_path, size_px=size_px, mpp=mpp, seed=seed, recipe=recipe, glands=len(layout.glands)
    )
