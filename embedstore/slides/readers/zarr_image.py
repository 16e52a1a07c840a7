"""OME-Zarr images (NGFF 0.4 and 0.5, and those in SpatialData): what a Zarr folder says of them, before any pixel.

An image is named by the file of its metadata, as a DICOM series is by one of its files.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from embedstore.errors import SlideFormatError
from embedstore.zarr_files import V2, V3, is_zarr, is_zarr_3, metadata_file, read_json, zarr_attributes

METADATA_FILES = frozenset({V3, V2})
MOST_LEVELS = 32
MOST_FILES = 1000
#: Images that are looked at in one Zarr folder.
MOST_IMAGES = 100
#: Micrometres of the units that NGFF names.
UNITS = {"angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}
RGB_COLOURS = ("FF0000", "00FF00", "0000FF")
#: In the root of what LazySlide writes, whose only image is a thumbnail.
FEATURE_KEYS = frozenset({"slide_properties", "tile_spec"})


@dataclass(frozen=True, kw_only=True)
class ZarrImage:
    """An image with its levels.

    Attributes:
        file: Its metadata.
        axes: Names of the axes of its arrays: `y`, `x`, `c`, and perhaps `t` and `z`.
        levels: Paths of its arrays relative to its folder, as they are written.
        shape: Of the first array.
        data_type: Of the first array, by NumPy's name.
        mpp_xy: Micrometres per pixel of the first array along x and y; None where the axes have no unit of length.
        colours: Of the channels, six hexadecimal digits each; empty where it states none.
    """

    file: Path
    axes: tuple[str, ...]
    levels: tuple[str, ...]
    shape: tuple[int, ...]
    data_type: str
    mpp_xy: tuple[float, float] | None
    colours: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return self.shape[self.axes.index("x")], self.shape[self.axes.index("y")]

    def why_no_slide(self) -> str | None:
        """Why it is no brightfield image; None where it is RGB with 8 bits a channel."""
        lengths = dict(zip(self.axes, self.shape, strict=True))
        stacked = [f"{lengths[axis]} along {axis}" for axis in self.axes if axis not in "cyx" and lengths[axis] != 1]
        channels = lengths.get("c", 1)
        if channels != 3 or self.data_type != "uint8":
            return f"{channels} channel(s) of {self.data_type}; expected RGB: 3 of uint8"
        if self.colours and self.colours != RGB_COLOURS:
            return f"channels shown as {', '.join(self.colours)}; expected red, green and blue"
        return f"a stack, {' and '.join(stacked)}; expected a plane" if stacked else None


def find_images(folder: Path) -> list[Path]:
    """The metadata files of the images in a Zarr folder, the one that is the slide first.

    That is the folder itself, or what lies in `images/` (SpatialData) or directly in it (bioformats2raw): the largest
    RGB image; the largest of another kind where none is RGB. A folder whose metadata cannot be read counts as an image,
    so that opening it says what is wrong. None of what is only features of a slide, such as LazySlide's.
    """
    if not is_zarr(folder):
        return []
    try:
        attributes = _attributes(folder)
    except SlideFormatError:
        return [metadata_file(folder)]
    if "multiscales" in attributes:
        return [metadata_file(folder)]
    if attributes.keys() & FEATURE_KEYS:
        return []
    found = []
    for child, _ in zip(_children(folder), range(MOST_IMAGES), strict=False):
        try:
            image = read_zarr_image(metadata_file(child)) if "multiscales" in _attributes(child) else None
        except SlideFormatError:
            continue
        if image is not None:
            found.append((image.why_no_slide() is not None, -math.prod(image.size), str(image.file)))
    return [Path(file) for *_, file in sorted(found)]


def read_zarr_image(file: Path) -> ZarrImage:
    """Read the metadata of an image.

    Args:
        file: `zarr.json` or `.zattrs` in its folder.
    Raises:
        SlideFormatError: it is not that of an image, or cannot be used.
    """
    folder = file.parent
    attributes = _attributes(folder)
    try:
        multiscales = attributes["multiscales"][0]
        axes, units = _axes(multiscales.get("axes"))
        datasets = multiscales["datasets"][:MOST_LEVELS]
        levels = tuple(_inside(str(dataset["path"]), folder) for dataset in datasets)
        shape, data_type = _array(folder / levels[0])
        if len(shape) != len(axes) or not {"x", "y"} <= set(axes) or len(set(axes)) != len(axes):
            raise ValueError(f"axes {', '.join(axes)} of arrays of shape {shape}")
        scale = [
            one * other
            for one, other in zip(_scale(datasets[0], len(axes)), _scale(multiscales, len(axes)), strict=True)
        ]
        mpp = [scale[axes.index(axis)] * unit for axis in "xy" if (unit := units.get(axis))]
        return ZarrImage(
            file=file,
            axes=axes,
            levels=levels,
            shape=shape,
            data_type=data_type,
            mpp_xy=(mpp[0], mpp[1]) if len(mpp) == 2 and all(0 < each < math.inf for each in mpp) else None,
            colours=_colours(attributes.get("omero")),
        )
    except SlideFormatError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise SlideFormatError(
            f"slide {str(file)!r}: its OME-Zarr metadata cannot be used ({type(error).__name__}: {error}); expected "
            "multiscales of NGFF 0.4 or 0.5 with axes y, x and c"
        ) from error


def coarsest_files(file: Path) -> list[Path]:
    """The files of the last level of an image, sorted, MOST_FILES at most: others have as much content.

    Raises:
        SlideFormatError: as of `read_zarr_image`.
    """
    folder = file.parent / read_zarr_image(file).levels[-1]
    return sorted(islice((path for path in folder.rglob("*") if path.is_file()), MOST_FILES))


def _children(folder: Path) -> Iterator[Path]:
    """The groups in which images may lie."""
    for parent in (folder / "images", folder):
        try:
            children = sorted(child for child in parent.iterdir() if not child.name.startswith("."))
        except OSError:
            continue
        yield from (child for child in children if child.name not in ("images", "labels") and is_zarr(child))


def _attributes(folder: Path) -> Mapping[str, Any]:
    """The attributes of a group, of which NGFF 0.5 has its own below `ome`."""
    attributes = zarr_attributes(folder, SlideFormatError)
    nested = attributes.get("ome")
    if not isinstance(nested, Mapping | None):
        raise SlideFormatError(f"{str(folder)!r}: its attribute ome is no table of names; it is damaged: copy it again")
    return {**attributes, **(nested or {})}


def _axes(stated: Any) -> tuple[tuple[str, ...], dict[str, float | None]]:
    """Names of the axes, in the order of the arrays, and µm of the unit of each; before NGFF 0.3 all were five."""
    axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in (stated or "tczyx")]
    return (
        tuple(str(axis["name"]) for axis in axes),
        {str(axis["name"]): UNITS.get(str(axis.get("unit"))) for axis in axes},
    )


def _scale(stated: Mapping[str, Any], axes: int) -> list[float]:
    """The scale among transformations; SpatialData's own, between named systems, are none of the pixels."""
    for transformation in stated.get("coordinateTransformations") or ():
        if transformation["type"] == "scale" and "input" not in transformation:
            scale = [float(each) for each in transformation["scale"]]
            if len(scale) != axes:
                raise ValueError(f"a scale of {len(scale)} numbers for {axes} axes")
            return scale
    return [1.0] * axes


def _inside(path: str, folder: Path) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or "\0" in path:
        raise SlideFormatError(f"slide {str(folder)!r}: its level {path!r} lies outside of it; expected a path within")
    return str(parts)


def _array(folder: Path) -> tuple[tuple[int, ...], str]:
    """Shape and type of an array, from its metadata."""
    if is_zarr_3(folder):
        content = read_json(folder / V3, SlideFormatError)
        data_type = content["data_type"]
    else:
        content = read_json(folder / ".zarray", SlideFormatError)
        data_type = {"|u1": "uint8", "<u1": "uint8", ">u1": "uint8"}.get(str(content["dtype"]), content["dtype"])
    return tuple(int(length) for length in content["shape"]), str(data_type)[:40]


def _colours(omero: Any) -> tuple[str, ...]:
    """The colours in which channels are shown; none where one of them has none."""
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list):
        return ()
    colours = [channel.get("color") if isinstance(channel, Mapping) else None for channel in channels[:8]]
    return tuple(colour.upper()[:6] for colour in colours if isinstance(colour, str)) if all(colours) else ()
