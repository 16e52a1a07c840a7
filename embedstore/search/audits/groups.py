"""What must not be alike: tiles of different patients, or of different parts of a split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.sorted_ids import positions_in
from embedstore.store import Patients, Store

#: Slides of one patient that a search is told to leave out; of more, the search passes over their tiles itself.
NAMED_SLIDES = 100


class Sides(Protocol):
    """Which side each tile is on."""

    def of(self, tiles: pa.Table) -> NDArray[Any]:
        """(n, checks) of the sides of tiles with tile_id, slide_id and name."""

    def apart(self, one: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the others (n, checks) are on another side than one (checks,)."""

    def own_slides(self, tile: Mapping[str, Any]) -> Sequence[str]:
        """Slides that lie wholly on a tile's own side: a search passes over them."""

    def names(self, one: NDArray[Any], other: NDArray[Any]) -> tuple[str, str]:
        """What two sides that are apart are called."""


class PatientSides:
    """A side is a patient, or what counts as one: see `Patients`."""

    def __init__(self, store: Store):
        self.patients = Patients(store)

    def of(self, tiles: pa.Table) -> NDArray[Any]:
        slides, names = tiles.column("slide_id").to_pylist(), tiles.column("name").to_pylist()
        pairs = zip(slides, names, strict=True)
        return np.array([self._side(slide, name) for slide, name in pairs], object).reshape(-1, 1)

    def _side(self, slide: str, name: str | None) -> str:
        patient = self.patients.of_tile(slide, name)
        if patient is not None:
            return f"patient {patient}"
        return f"slide {slide}" if name is None else f"tile {name} of {slide}"

    def apart(self, one: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
        return others[:, 0] != one[0]

    def own_slides(self, tile: Mapping[str, Any]) -> Sequence[str]:
        if tile["name"] is not None:
            return ()
        own = self.patients.slides_with_same(tile["slide_id"])
        return own if len(own) <= NAMED_SLIDES else (tile["slide_id"],)

    def names(self, one: NDArray[Any], other: NDArray[Any]) -> tuple[str, str]:
        return one[0], other[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class PartSides:
    """A side is a part of a split, fold by fold; tiles that are in no part are on no side.

    Attributes:
        tile_ids: (n,) int64, ascending.
        parts: (n, folds) int8, -1 where a tile is in no part of a fold.
        part_names: What the parts are called.
        fold_names: What the folds are called.
        whole: Slides that have all of their tiles in the same parts.
    """

    tile_ids: NDArray[np.int64]
    parts: NDArray[np.int8]
    part_names: Mapping[int, str]
    fold_names: Sequence[str]
    whole: frozenset[str] = field(default_factory=frozenset)

    def of(self, tiles: pa.Table) -> NDArray[Any]:
        ids = tiles.column("tile_id").to_numpy()
        at = positions_in(self.tile_ids, ids)
        return np.where((at >= 0)[:, None], self.parts[at], np.int8(-1))

    def apart(self, one: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
        return ((others != one) & (others >= 0) & (one >= 0)).any(axis=1)

    def own_slides(self, tile: Mapping[str, Any]) -> Sequence[str]:
        return (tile["slide_id"],) if tile["slide_id"] in self.whole else ()

    def names(self, one: NDArray[Any], other: NDArray[Any]) -> tuple[str, str]:
        fold = int(np.flatnonzero((one != other) & (one >= 0) & (other >= 0))[0])
        where = f" of {self.fold_names[fold]}" if len(self.fold_names) > 1 else ""
        return f"{self.part_names[int(one[fold])]}{where}", f"{self.part_names[int(other[fold])]}{where}"
