"""What the files of slides are called in the layout of another tool."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from embedstore.output_files import slide_path
from embedstore.slides.sources.folder import SLIDE_SUFFIXES, TIFF_SUFFIXES

_SUFFIXES = SLIDE_SUFFIXES | TIFF_SUFFIXES | {".dcm"}
_LONGEST_ENDING = "_patches.parquet"


def slide_names(slide_ids: Iterable[str], *, flat: bool) -> dict[str, str]:
    """{slide: relative path of its files, without suffix}: each its own, and inside the folder of the export.

    Tools find a slide's features by the name of its file without suffix, so that is taken where no other slide has it;
    else the whole id, with '_' for '/' where the tool knows no folders.

    Args:
        flat: All files are in one folder; else in the folders of the slide.
    """
    slide_ids = list(slide_ids)
    short = {slide_id: _without_suffix(slide_id, flat=flat) for slide_id in slide_ids}
    of_name = Counter(name.casefold() for name in short.values())  # macOS and Windows tell no case
    names, taken = {}, set()
    for slide_id in sorted(slide_ids):
        name = short[slide_id]
        if of_name[name.casefold()] > 1:
            name = _path(slide_id.replace("/", "_") if flat else slide_id)
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        names[slide_id] = name
    return names


def renamed(names: dict[str, str], *, flat: bool) -> list[str]:
    """The slides whose files a tool does not find by the slide's file name."""
    return [slide_id for slide_id, name in names.items() if name != _without_suffix(slide_id, flat=flat)]


def _without_suffix(slide_id: str, *, flat: bool) -> str:
    path = _path(PurePosixPath(slide_id).name if flat else slide_id)
    suffix = PurePosixPath(path).suffix
    return path.removesuffix(suffix) if suffix.lower() in _SUFFIXES and suffix != path else path


def _path(slide_id: str) -> str:
    """A slide's id as a relative path that stays in its folder, with room for the longest ending."""
    return slide_path(Path(), slide_id, _LONGEST_ENDING, single=False).as_posix().removesuffix(_LONGEST_ENDING)
