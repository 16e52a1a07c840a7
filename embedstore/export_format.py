"""The formats of exports, and which one a file's ending stands for."""

from pathlib import Path
from typing import Literal, get_args

from embedstore.errors import ConfigError

#: What a service exports.
ServedFormat = Literal["geojson", "png", "csv", "parquet", "slides", "anndata"]
#: DICOM only where the store is: it copies the patient from the slide's file, which a service does not show.
ExportFormat = Literal[ServedFormat, "dicom"]
#: Formats with files for each slide, and the ending of these files.
SUFFIXES: dict[ExportFormat, str] = {"geojson": ".geojson", "png": ".png", "dicom": ".dcm"}
#: The two files of a slide in DICOM: the parametric map, and the annotations.
DICOM_SUFFIXES = (".map.dcm", ".ann.dcm")
#: The others, and a name for their file.
ONE_FILE: dict[ExportFormat, str] = {
    "csv": "tiles.csv", "parquet": "tiles.parquet", "slides": "slides.csv", "anndata": "tiles.h5ad",
}  # fmt: skip
#: The format that a file's ending stands for.
ENDINGS: dict[str, ExportFormat] = {
    ".geojson": "geojson", ".png": "png", ".csv": "csv", ".parquet": "parquet", ".h5ad": "anndata",
}  # fmt: skip


def format_of(path: Path, given: ExportFormat | None) -> ExportFormat:
    """The format of an export: the given one, or that of the path's ending.

    Raises:
        ConfigError: the ending stands for none.
    """
    chosen = given or ENDINGS.get(path.suffix.lower())
    if chosen is None:
        formats = ", ".join(get_args(ExportFormat))
        raise ConfigError(f"the ending of {str(path)!r} does not tell the format; name one of {formats}")
    return chosen
