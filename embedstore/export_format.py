"""The formats and layouts of exports, and which one a file's ending stands for."""

from pathlib import Path
from typing import Literal, get_args

from embedstore.errors import ConfigError, ExportError
from embedstore.output_files import require_file, require_folder

#: What a service exports.
ServedFormat = Literal["geojson", "png", "csv", "parquet", "slides", "anndata"]
#: DICOM only where the store is: it copies the patient from the slide's file, which a service does not show.
ExportFormat = Literal[ServedFormat, "dicom"]
#: The layouts of other tools that a collection is written in; see `embedstore.layouts.writing`.
LayoutName = Literal["trident", "clam", "stamp", "anndata", "spatialdata", "parquet"]
#: The benchmarks that labels and splits are written for.
Benchmark = Literal["patho-bench", "pathorob", "eva"]
#: Formats with files for each slide, and the ending of these files.
SUFFIXES: dict[ExportFormat, str] = {"geojson": ".geojson", "png": ".png", "dicom": ".dcm"}
#: The two files of a slide in DICOM: the parametric map, and the annotations.
DICOM_SUFFIXES = (".map.dcm", ".ann.dcm")
#: The others, and a name for their file.
ONE_FILE: dict[ExportFormat, str] = {
    "csv": "tiles.csv", "parquet": "tiles.parquet", "slides": "slides.csv", "anndata": "tiles.h5ad",
}  # fmt: skip
#: What their file may end in.
_ONE_FILE_ENDINGS: dict[ExportFormat, tuple[str, ...]] = {
    "csv": (".csv",), "parquet": (".parquet",), "slides": (".csv", ".parquet", ".json"), "anndata": (".h5ad",),
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


def require_place(path: Path, chosen: ExportFormat) -> None:
    """Check that an export can be written to a path, before some long work; missing folders are made.

    Raises:
        ExportError: nothing can be written there, or it is a folder where one file is written, or the other way round.
    """
    if chosen in SUFFIXES:
        suffix = SUFFIXES[chosen]
        if chosen == "dicom":  # two files for each slide
            require_folder(path)
        elif path.suffix.lower() == suffix:
            require_file(path)
        else:
            require_folder(path, or_file=f"a {suffix} file for one slide")
        return
    such_as = path.with_suffix(_ONE_FILE_ENDINGS[chosen][0])
    if path.is_dir():
        raise ExportError(f"{path} is a folder; {chosen} writes one file, such as {path / ONE_FILE[chosen]}")
    if path.suffix.lower() not in _ONE_FILE_ENDINGS[chosen]:
        endings = " or ".join(_ONE_FILE_ENDINGS[chosen])
        found = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise ExportError(f"{path} {found}; {chosen} writes one file, which ends in {endings}, such as {such_as}")
    require_file(path)
