"""A folder of different synthetic slides with a slide list, which the demo ingests."""

import csv
import math
from pathlib import Path

from embedstore.errors import ConfigError
from embedstore.progress import OnProgress, Progress, no_progress
from synthetic_slides.layout import SlideRecipe
from synthetic_slides.stain_mix import StainMix
from synthetic_slides.synthetic_slide import SyntheticSlide, write_slide

LIST_NAME = "slides.csv"
LIST_COLUMNS = ("path", "patient", "cohort", "stain")

# Used in turn; when they are used again, they have other seeds, and so other tissue.
SCENES: tuple[tuple[str, SlideRecipe], ...] = (
    ("colon", SlideRecipe(mix=StainMix(), glands=0.42, dense=0.17, fat=0.1, pen="blue")),
    (
        "tumour",
        SlideRecipe(
            mix=StainMix(haematoxylin=1.12, eosin=0.8, hue=-0.6),
            pieces=2,
            glands=0.16,
            dense=0.48,
            fat=0.05,
            pen="green",
        ),
    ),
    ("ihc", SlideRecipe(mix=StainMix(stain="IHC"), glands=0.3, dense=0.34, fat=0.0, pen=None)),
    (
        "fat",
        SlideRecipe(
            mix=StainMix(haematoxylin=0.82, eosin=1.12, hue=0.7),
            pieces=3,
            glands=0.25,
            dense=0.08,
            fat=0.4,
            pen="black",
        ),
    ),
)


def write_demo_collection(
    folder: str | Path,
    *,
    slides: int = 3,
    size_px: tuple[int, int] = (6000, 5000),
    mpp: float = 0.5,
    seed: int = 0,
    on_progress: OnProgress = no_progress,
) -> list[SyntheticSlide]:
    """Make slides that differ in tissue and stain, and `slides.csv`, which lists them with their patients.

    Two consecutive slides are of one patient, as in a real collection.

    Args:
        folder: Folder for the slides; made where it does not exist.
        slides: Number of slides.
        size_px: (width, height) of each slide, level-0 pixels.
        mpp: Micrometres per level-0 pixel.
        seed: The same seed makes the same slides.
        on_progress: Called after each slide.
    Returns:
        The slides in the order of the list.
    Raises:
        ConfigError: the number of slides, or a slide's size, resolution or seed is out of range.
    """
    if slides < 1:
        raise ConfigError(f"{slides} synthetic slides were requested; expected 1 or more")
    folder = Path(folder)
    written: list[SyntheticSlide] = []
    rows = []
    digits = max(2, math.ceil(math.log10(slides + 1)))
    for index in range(slides):
        name, recipe = SCENES[index % len(SCENES)]
        slide = write_slide(
            folder / f"synthetic-{index + 1:0{digits}d}-{name}.svs",
            size_px=size_px,
            mpp=mpp,
            seed=1000 * seed + index,
            recipe=recipe,
        )
        written.append(slide)
        rows.append((slide.path.name, f"P{index // 2 + 1:03d}", "synthetic", recipe.mix.stain))
        on_progress(
            Progress(stage="synthesize", message=slide.path.name, done=len(written), total=slides, unit="slides")
        )
    with (folder / LIST_NAME).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LIST_COLUMNS)
        writer.writerows(rows)
    return written
