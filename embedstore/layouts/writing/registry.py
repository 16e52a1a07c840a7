"""The layouts that are written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from embedstore.export_format import LayoutName
from embedstore.layouts.writing.anndata import anndata_files, write_anndata
from embedstore.layouts.writing.clam import clam_files, write_clam
from embedstore.layouts.writing.parquet import parquet_files, write_parquet
from embedstore.layouts.writing.slide_tiles import SlideTiles
from embedstore.layouts.writing.spatialdata import spatialdata_files, write_spatialdata
from embedstore.layouts.writing.stamp import stamp_files, write_stamp
from embedstore.layouts.writing.trident import trident_files, write_trident


@dataclass(frozen=True, kw_only=True)
class WrittenLayout:
    """How a layout is written.

    Attributes:
        files: The files of a slide in a folder; the first says that the slide is done.
        write: Writes them.
        value_bytes: What a value of a vector takes in them, bytes.
        flat: All files are in one folder, named by the slide's file.
        located: Only tiles with a place can be in it.
        columns: It has room for columns: predictions, and columns of slides.
    """

    files: Callable[[Path, SlideTiles], list[Path]]
    write: Callable[[Path, SlideTiles], None]
    value_bytes: int = 4
    flat: bool = False
    located: bool = True
    columns: bool = False


WRITTEN_LAYOUTS: Mapping[LayoutName, WrittenLayout] = {
    "trident": WrittenLayout(files=trident_files, write=write_trident, flat=True),
    "clam": WrittenLayout(files=clam_files, write=write_clam, value_bytes=8, flat=True),
    "stamp": WrittenLayout(files=stamp_files, write=write_stamp, value_bytes=2),
    "anndata": WrittenLayout(files=anndata_files, write=write_anndata, located=False, columns=True),
    "spatialdata": WrittenLayout(files=spatialdata_files, write=write_spatialdata, columns=True),
    "parquet": WrittenLayout(files=parquet_files, write=write_parquet, located=False, columns=True),
}
