"""Slides before they are in a store: the tissue that ingest would find, and synthetic ones to try things on."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedstore.access_errors import tells_access_errors
from embedstore.arguments import checks_arguments
from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.progress import OnProgress
from embedstore.progress_bar import progress_bar
from embedstore.uris import as_given

if TYPE_CHECKING:
    from embedstore.slides import TissueReport
    from synthetic_slides import SyntheticSlide


@tells_access_errors
@checks_arguments
def inspect_tissue(
    slide: str | Path,
    *,
    mpp: float | None = None,
    mask: str | Path | None = None,
    tiling: TilingConfig | Mapping[str, Any] | None = None,
    tissue: TissueConfig | Mapping[str, Any] | None = None,
    reading: ReadingConfig | Mapping[str, Any] | None = None,
) -> "TissueReport":
    """Find the tissue and lay the tiles of a slide as ingest would, as a check before ingest.

    Args:
        slide: The slide's file, or its address in an object store.
        mpp: Resolution of level 0, µm/px, of a slide that does not say its own.
        mask: A GeoJSON mask, such as one edited in QuPath, instead of detection.
        tiling, tissue, reading: Settings, each an object or a dictionary of its fields.
    Returns:
        A report; `report.write(folder)` writes the overlay as PNG and the mask as GeoJSON.
    Raises:
        SlideError: the slide cannot be opened, has no resolution, or the mask cannot be read.
    """
    from embedstore.settings import build_config
    from embedstore.slides import SlideSource, report_tissue, single_thread

    single_thread()
    path = Path(slide)
    source = SlideSource(
        slide_id=path.name,
        path=as_given(slide),
        kind="wsi",
        mpp=mpp,
        tissue=None if mask is None else as_given(mask),
    )
    return report_tissue(
        source,
        tiling=build_config(TilingConfig, tiling),
        tissue=build_config(TissueConfig, tissue),
        reading=build_config(ReadingConfig, reading),
    )


@tells_access_errors
@checks_arguments
def synthesize_slides(
    folder: str | Path,
    *,
    slides: int = 3,
    size_px: tuple[int, int] = (6000, 5000),
    mpp: float = 0.5,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> "list[SyntheticSlide]":
    """Make synthetic H&E-like slides with ground truth, for trying things out.

    The ground truth of each slide is next to it as GeoJSON, and slides.csv lists patient, cohort and stain.

    Args:
        folder: Folder for the slides; made where it does not exist.
        slides: Number of slides; two consecutive ones are of one patient.
        size_px: (width, height) of each slide, pixels.
        mpp: Micrometres per pixel.
        seed: The same seed makes the same slides.
        on_progress: See `embedstore.progress`; a progress bar when None.
    Raises:
        ExportError: nothing can be written there.
    """
    from embedstore.output_files import require_folder
    from synthetic_slides import write_demo_collection

    require_folder(folder)
    with progress_bar(on_progress) as report:
        return write_demo_collection(folder, slides=slides, size_px=size_px, mpp=mpp, seed=seed, on_progress=report)
