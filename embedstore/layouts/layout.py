"""What every layout of files offers: the slides of a folder, and the vectors and places of one of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import FeatureFileError

#: No slide has so many tiles: 16 x 16 pixels of the largest one would be fewer. What claims more is damaged.
MOST_TILES = 50_000_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One slide of a folder. It can be pickled, to travel between processes.

    Attributes:
        slide: What the folder calls the slide: the path of its file relative to the folder, without suffix.
        features: The file, or the folder, of its vectors; None where it has only coordinates.
        coordinates: The file of its tiles' places, where that is another one.
        key: What in the file is meant, where it may hold several.
    """

    slide: str
    features: Path | None
    coordinates: Path | None = None
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class SlideFacts:
    """What is known of a slide besides its vectors: from its file where that is at hand, or from the user.

    Attributes:
        mpp: Micrometres per level-0 pixel.
        size_l0: (width, height) of level 0, pixels.
    """

    mpp: float | None = None
    size_l0: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class FeatureFacts:
    """What files say of the vectors of a slide. What they do not say is None.

    Attributes:
        dim: Length of a vector.
        tiles: Number of vectors.
        extractor: What the files call the extractor.
        tile_px: Edge of a tile as the tool cut it, pixels.
        mpp: Resolution of these tiles, micrometres per pixel; nominal where the tool states a magnification.
        slide_mpp: Micrometres per level-0 pixel of the slide.
        size_l0: (width, height) of level 0 of the slide, pixels.
        tool: The tool that wrote them, with its version where they say it.
        warnings: What a user should know; stored with the slide.
    """

    dim: int
    tiles: int
    extractor: str | None = None
    tile_px: int | None = None
    mpp: float | None = None
    slide_mpp: float | None = None
    size_l0: tuple[int, int] | None = None
    tool: str | None = None
    warnings: tuple[str, ...] = ()


class Features(ABC):
    """The vectors of a slide, open for reading.

    Attributes:
        facts: What the files say of them.
        xy_l0: (n, 2) integers, top-left corners of the tiles, level-0 pixels; None where the files have no places.
        edge_l0: Edge of the tiles, level-0 pixels: one for all, or (n,) integers; None where the files do not say it.
        names: Name of every tile, where there are no places.
        centred: `xy_l0` are the centres of the tiles.
        in_tile_px: `xy_l0` are in pixels of the resolution at which the tool cut the tiles.
    """

    facts: FeatureFacts
    xy_l0: NDArray[np.integer] | None = None
    centred: bool = False
    in_tile_px: bool = False
    edge_l0: int | NDArray[np.integer] | None = None
    names: tuple[str, ...] | None = None

    @abstractmethod
    def read(self, start: int, stop: int) -> NDArray[np.floating]:
        """The vectors of tiles `start` to `stop`, (stop - start, dim), of whichever floating-point type is stored.

        Ranges are mostly asked for in their order.

        Raises:
            FeatureFileError: they cannot be read.
        """

    def close(self) -> None:  # noqa: B027 - not every layout has something to close
        """Close the files; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Layout(ABC):
    """How a tool lays out the vectors of slides in a folder.

    Attributes:
        name: What users call it with --layout.
        title: The tool, for people.
        where: Which folder a user gives, for people.
        holds_sets: Files of a slide may hold several sets of vectors, of which users name one with --features.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    where: ClassVar[str]
    holds_sets: ClassVar[bool] = False

    @abstractmethod
    def recognise(self, folder: Path) -> bool:
        """Whether a folder is of this layout: by names, and at most a look into a few files."""

    @abstractmethod
    def slides(self, folder: Path, *, features: str | None = None) -> Sequence[Entry]:
        """The slides of a folder, sorted by name, each name once.

        Args:
            features: Name of the set of vectors; None except where the layout `holds_sets`.
        Raises:
            LayoutError: the folder holds vectors of several extractors or tilings, or two files of one slide.
        """

    @abstractmethod
    def open(self, entry: Entry, slide: SlideFacts) -> Features:
        """Open the vectors of a slide; of the files, no more is read than their headers and the tiles' places.

        Args:
            slide: What is known of the slide besides.
        Raises:
            FeatureFileError: they are damaged, or not what the layout expects; the message says what to do.
        """


def features_path(entry: Entry, layout: str) -> Path:
    """The file of an entry's vectors.

    Raises:
        FeatureFileError: there are only coordinates.
    """
    if entry.features is None:
        raise FeatureFileError(
            f"slide {entry.slide!r} has coordinates ({entry.coordinates}) but no features; let {layout} extract them, "
            "then run the same command again with --retry-failed"
        )
    return entry.features


def check_shape(path: Path, name: str, shape: Sequence[int], dtype: np.dtype) -> tuple[int, int]:
    """(number of tiles, dimensions) of a table of vectors.

    Raises:
        FeatureFileError: it is no table of numbers.
    """
    if tuple(shape) == (0,):  # of no tile, where the tool did not know the length of a vector
        return 0, 1
    if len(shape) == 1:
        raise FeatureFileError(
            f"{path}: {name!r} is one vector of {shape[0]} values, as of a whole slide; expected a vector a tile, "
            "(tiles, dimensions); give the folder of the tiles' vectors"
        )
    if len(shape) != 2 or shape[1] < 1 or dtype.kind not in "fV":
        raise FeatureFileError(
            f"{path}: {name!r} is {dtype} of shape {tuple(shape)}; expected floating-point numbers (tiles, dimensions)"
        )
    if shape[0] > MOST_TILES or shape[1] > 1 << 16:
        raise FeatureFileError(
            f"{path}: {name!r} claims the shape {tuple(shape)}, as no slide has; the file is damaged"
        )
    return int(shape[0]), int(shape[1])


def check_places(path: Path, name: str, shape: Sequence[int], dtype: np.dtype, tiles: int) -> None:
    """Raise FeatureFileError where places of tiles are no pairs of numbers, or more or fewer than vectors."""
    if len(shape) != 2 or not 2 <= shape[1] <= 8 or dtype.kind not in "iuf":
        raise FeatureFileError(
            f"{path}: {name!r} is {dtype} of shape {tuple(shape)}; expected the x and y of each tile, (tiles, 2)"
        )
    if shape[0] != tiles:
        raise FeatureFileError(
            f"{path}: there are {tiles:,} vectors and {shape[0]:,} places; expected as many of each; extract the slide "
            "again, then run the same command with --retry-failed"
        )


def checked_places(path: Path, name: str, places: NDArray, tiles: int, *, whole_numbers: bool = True) -> NDArray:
    """Places of tiles as (n, 2) int64, or float64 where they are not `whole_numbers`.

    Raises:
        FeatureFileError: there are more or fewer than vectors, or they are no finite numbers, or beyond all slides.
    """
    check_places(path, name, places.shape, places.dtype, tiles)
    places = places[:, :2]
    if places.dtype.kind == "f" and not np.isfinite(places).all():
        raise FeatureFileError(f"{path}: {name!r} holds places that are no numbers; extract the slide again")
    if len(places) and (places.min() < -(1 << 31) or places.max() >= 1 << 31):
        raise FeatureFileError(f"{path}: {name!r} holds places beyond ±2³¹; expected level-0 pixels")
    if not whole_numbers:
        return places.astype(np.float64)
    return (np.rint(places) if places.dtype.kind == "f" else places).astype(np.int64)
