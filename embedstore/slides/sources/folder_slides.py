"""The slides and tile folders in a folder."""

import os
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

from embedstore.errors import SlideError, SlideListError
from embedstore.slides.readers.dicom_series import DicomHeader, read_header
from embedstore.slides.sources.folder import Folder
from embedstore.slides.sources.folder_levels import read_levels
from embedstore.slides.sources.image_sizes import image_size
from embedstore.slides.sources.source import SlideSource
from embedstore.slides.sources.source_summary import LeftOutFiles
from embedstore.slides.sources.tile_folder import LABELS, match_images, tile_folders

MOST_TILE_PX = 2048  # a tiled TIFF with a longer edge is a slide, also where a labels.csv lists it


def find_in_folder(tree: Folder, left_out: LeftOutFiles, warnings: list[str]) -> list[SlideSource]:
    """Slides and tile folders of a folder that was scanned, named by their paths relative to it.

    A folder is a tile folder where its labels.csv lists images. In a folder without any slide, so is one of images
    only, with sub-folders that belong together (`read_levels`).

    Args:
        tree: The folder.
        left_out: Takes the images that are neither.
        warnings: Takes what is improbable.
    """
    labelled: dict[Path, Set[str]] = {}
    for folder in tree.walk():
        if labelled.keys().isdisjoint(folder.path.parents) and (listed := _listed(folder, warnings)):
            labelled[folder.path] = listed
    has_slides = any(folder.slides or folder.dicom or folder.zarr for folder in _outside(tree, labelled.keys()))
    return list(_sources(tree, tree.path, labelled, left_out, images_are_tiles=not has_slides))


def _listed(folder: Folder, warnings: list[str]) -> Set[str]:
    """The tiles that a labels.csv of the folder lists; none where it lists slides."""
    images, tiled = folder.image_names(), folder.tiled_names()
    table = folder.table(LABELS)
    if table is None or not (images or tiled):
        return set()
    problems = list[str]()
    try:
        listed = match_images(table, sorted([*images, *tiled]), [], problems).keys()
    except SlideListError:
        return set(images)  # the plan of the tile folder says what is wrong
    if listed and listed <= set(tiled):
        size = image_size(folder.path / min(listed))
        return listed if size is not None and max(size) <= MOST_TILE_PX else set()
    if not listed and images:
        warnings += problems
    return listed


def _outside(folder: Folder, labelled: Set[Path]) -> Iterator[Folder]:
    """The folder and those below it, without tile folders and what is in them."""
    if folder.path not in labelled:
        yield folder
        for child in folder.children:
            yield from _outside(child, labelled)


def _sources(
    folder: Folder, root: Path, labelled: Mapping[Path, Set[str]], left_out: LeftOutFiles, *, images_are_tiles: bool
) -> Iterator[SlideSource]:
    listed = labelled.get(folder.path)
    if listed is None and not (images_are_tiles and _is_tile_folder(folder, labelled.keys())):
        yield from _slides(folder, folder.slides, root, left_out)
        if folder.images:
            kind = "beside tiles" if images_are_tiles else "beside slides"
            left_out.add(kind, folder.path / folder.images[0], count=len(folder.images))
        for child in folder.children:
            yield from _sources(child, root, labelled, left_out, images_are_tiles=images_are_tiles)
        return
    slide_id = folder.path.relative_to(root).as_posix()
    yield SlideSource(slide_id=root.name if slide_id == "." else slide_id, path=str(folder.path), kind="tiles")
    if listed is None or listed >= set(folder.slide_names()):
        return
    for below in folder.walk():  # tiles that are listed, and slides
        within = below.path.relative_to(folder.path)
        yield from _slides(below, [n for n in below.slides if (within / n).as_posix() not in listed], root, left_out)
        if images := [name for name in below.images if (within / name).as_posix() not in listed]:
            left_out.add("beside slides", below.path / images[0], count=len(images))


def _slides(folder: Folder, names: list[str], root: Path, left_out: LeftOutFiles) -> Iterator[SlideSource]:
    series = sorted(Path(finest).name for finest, _ in dicom_series(folder, left_out))
    within = "".join(f"{part}/" for part in folder.path.relative_to(root).parts)
    for name in [*names, *series]:
        yield SlideSource(slide_id=within + name, path=os.path.join(folder.path, name), kind="wsi")  # noqa: PTH118
    for name, image in folder.zarr.items():
        yield SlideSource(slide_id=within + name, path=str(image), kind="wsi")


def _is_tile_folder(folder: Folder, labelled: Set[Path]) -> bool:
    """Whether the images below a folder without slides are one set."""
    if any(below.path in labelled for below in folder.walk()):
        return False
    if folder.images:
        return True
    folders = tile_folders(folder)
    return bool(folders) and read_levels(folders).one_set


def dicom_series(folder: Folder, left_out: LeftOutFiles | None = None) -> list[tuple[str, list[str]]]:
    """(level-0 file, all files) of each DICOM series in a folder; an unreadable file counts as a slide."""
    members: dict[str, list[DicomHeader]] = {}
    for name in folder.dicom:
        path = folder.path / name
        try:
            header = read_header(path)
        except SlideError:
            header = DicomHeader(path=str(path), series=str(path), whole_slide=True, volume=True, size=(0, 0))
        if header.whole_slide:
            members.setdefault(header.series, []).append(header)
        elif left_out is not None:
            left_out.add("not whole", path)
    return [
        (max(files, key=lambda header: (header.volume, header.size[0])).path, [header.path for header in files])
        for files in members.values()
    ]
