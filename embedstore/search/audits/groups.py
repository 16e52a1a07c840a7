"""Audit groups: a near-duplicate of a tile in another group is a leak. Groups are patients, or the parts of a split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.sorted_ids import positions_in
from embedstore.store import Patients, Store

#: A search is given at most so many slides of one patient to leave out; of more, it skips the tiles it finds.
MAX_EXCLUDED_SLIDES = 100


class AuditGroups(Protocol):
    """The groups of tiles. A tile has one in each of one or more partitions, such as the folds of a split."""

    def of_tiles(self, tiles: pa.Table) -> NDArray[Any]:
        """(n, partitions) groups of tiles with tile_id, slide_id and name."""

    def differ(self, group: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
        """(n,) whether the groups (n, partitions) of other tiles differ from a tile's (partitions,) anywhere."""

    def slides_within(self, slide_id: str, name: str | None) -> Sequence[str]:
        """Slides that lie wholly in the groups of a tile, so that a search may leave them out.

        Args:
            name: The file of a ready-made tile, None of others.
        """

    def names(self, group: NDArray[Any], other: NDArray[Any]) -> tuple[str, str]:
        """Names of two groups that differ."""


class GroupsByPatient:
    """A group is a patient, or what counts as one: see `Patients`."""

    def __init__(self, store: Store):
        self.patients = Patients(store)

    def of_tiles(self, tiles: pa.Table) -> NDArray[Any]:
        slides, names = tiles.column("slide_id").to_pylist(), tiles.column("name").to_pylist()
        pairs = zip(slides, names, strict=True)
        return np.array([self._group(slide, name) for slide, name in pairs], object).reshape(-1, 1)

    def _group(self, slide_id: str, name: str | None) -> str:
        patient = self.patients.of_tile(slide_id, name)
        if patient is not None:
            return f"patient {patient}"
        return f"slide {slide_id}" if name is None else f"tile {name} of {slide_id}"

    def differ(self, group: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
        return others[:, 0] != group[0]

    def slides_within(self, slide_id: str, name: str | None) -> Sequence[str]:
        if name is not None:
            return ()
        slides = self.patients.slides_with_same(slide_id)
        return slides if len(slides) <= MAX_EXCLUDED_SLIDES else (slide_id,)

    def names(self, group: NDArray[Any], other: NDArray[Any]) -> tuple[str, str]:
        return group[0], other[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupsBySplit:
    """A group is a part of a split, fold by fold. Tiles in no part of a fold have no group in it.

    Attributes:
        tile_ids: (n,) int64, ascending.
        parts: (n, folds) int8, -1 where a tile is in no part of a fold.
        part_names: Names of the parts.
        fold_names: Names of the folds.
        whole: Slides that have all of their tiles in the same parts.
    """

    tile_ids: NDArray[np.int64]
    parts: NDArray[np.int8]
    part_names: Mapping[int, str]
    fold_names: Sequence[str]
    whole: frozenset[str] = field(default_factory=frozenset)

    def of_tiles(self, tiles: pa.Table) -> NDArray[Any]:
        at = positions_in(self.tile_ids, tiles.column("tile_id").to_numpy())
        return np.where((at >= 0)[:, None], self.parts[at], np.int8(-1))

    def differ(self, group: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
        return ((others != group) & (others >= 0) & (group >= 0)).any(axis=1)

    def slides_within(self, slide_id: str, name: str | None) -> Sequence[str]:
        return (slide_id,) if slide_id in self.whole else ()

    def names(self, group: NDArray[Any], other: NDArray[Any]) -> tuple[str, str]:
        fold = int(np.flatnonzero((group != other) & (group >= 0) & (other >= 0))[0])
        where = f" of {self.fold_names[fold]}" if len(self.fold_names) > 1 else ""
        return f"{self.part_names[int(group[fold])]}{where}", f"{self.part_names[int(other[fold])]}{where}"
