"""Lists of slides."""

import os
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from embedstore.errors import SlideListError
from embedstore.slides.sources.source import MetadataValue
from embedstore.tables import PATIENT_COLUMNS, TABLE_SUFFIXES, read_table

LIST_SUFFIXES = TABLE_SUFFIXES
# Columns with a meaning of their own; every other one becomes metadata of the slide.
OWN_COLUMNS = ("path", "slide_id", "mpp", "tissue")


@dataclass(frozen=True, kw_only=True)
class ListedSlide:
    """A row of a slide list.

    Attributes:
        path: As written, but for the back-slashes of Windows; relative to the folder of the list or absolute.
        slide_id: The slide's id; None where the list gives none.
        mpp: Level-0 resolution, µm/px; None where the list gives none.
        tissue: Path of a GeoJSON mask, as written; None where the list gives none.
        metadata: The other columns.
    """

    path: str
    slide_id: str | None
    mpp: float | None
    tissue: str | None
    metadata: dict[str, MetadataValue]


def read_slide_list(list_path: Path) -> tuple[list[ListedSlide], tuple[str, ...]]:
    """The rows of a list, and notes for the user on how it was read.

    Paths, ids and patients are text as it stands. Other columns are numbers, or true and false, where all values are
    such, and text otherwise.

    Raises:
        SlideListError: it cannot be read, has no column `path`, or a row without a path or with a wrong mpp.
    """
    table = read_table(list_path, error=SlideListError)
    own = {name: table.find(name) for name in OWN_COLUMNS}
    if own["path"] is None:
        raise table.error(f"expected a column path, found {', '.join(table.names) or 'no column with a name'}")
    patient = table.find(*PATIENT_COLUMNS)
    none: list[None] = [None] * len(table)
    paths, ids, tissues = (
        none if (c := own[name]) is None else table.text(c) for name in ("path", "slide_id", "tissue")
    )
    if lacking := [row for row, path in enumerate(paths) if path is None]:
        raise table.error("no path; expected one in each row", lacking)
    if nameless := [row for row, path in enumerate(paths) if Path(str(path)).name in ("", "..")]:
        raise table.error(f"path is {paths[nameless[0]]!r}; expected a file, or a folder by its name", nameless)
    mpps = none if own["mpp"] is None else table.numbers(own["mpp"])
    if wrong := [row for row, mpp in enumerate(mpps) if mpp is not None and mpp <= 0]:
        raise table.error(f"mpp is {mpps[wrong[0]]:g}; expected µm/px, above 0", wrong)
    metadata = {
        "patient" if name == patient else name: table.text(name) if name == patient else table.values(name)
        for name in table.names
        if name not in own.values()
    }
    rows = [
        ListedSlide(
            path=_as_here(str(path), list_path.parent),
            slide_id=slide_id,
            mpp=mpp,
            tissue=None if tissue is None else _as_here(tissue, list_path.parent),
            metadata={name: values[row] for name, values in metadata.items()},
        )
        for row, (path, slide_id, mpp, tissue) in enumerate(zip(paths, ids, mpps, tissues, strict=True))
    ]
    notes = [] if patient is None or patient.lower() == "patient" else [f"{list_path.name}: {patient!r} is the patient"]
    return rows, (*table.notes, *notes)


def _as_here(path: str, folder: Path) -> str:
    """A path as it stands, or with / where Windows wrote it and no file has the back-slashes in its name."""
    return path if "\\" not in path or os.path.exists(folder / path) else PureWindowsPath(path).as_posix()  # noqa: PTH110
