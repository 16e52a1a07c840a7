"""Tiles and their stored views: what a latent augmenter is trained and evaluated on, divided by patient."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import SplitError, ViewsNotFoundError
from embedstore.search.filters import slides_where
from embedstore.store import Collection, Patients, Store, read_tile_locations, read_vectors, read_views
from embedstore.store.patients import group_by_patient
from heads.config import AugmenterConfig
from heads.splitting.groups import distribute_groups
from heads.splitting.splits import PART_NAMES, TEST, TRAIN, VALID

#: Most views that are read: a network of this size learns too little from more to be worth their memory (512 MB at
#: 1,280 dimensions).
MAX_VIEWS = 200_000
#: Patients that there must be: one to train on, one to validate on, two to evaluate on, for an interval.
_LEAST_GROUPS = 4


@dataclass(frozen=True, kw_only=True)
class TilesAndGroups:
    """Numbers of tiles of a part, and of their patients (groups)."""

    tiles: int
    groups: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewPairs:
    """n tiles and their views.

    Attributes:
        version, views_version: Versions of the collection's table and of the table of its views.
        vectors: (n, dim) of the tiles.
        views: (n, count, dim) of their views.
        parameters: (n, count, P) parameters of each view.
        part: (n,) int8 of TRAIN, VALID, TEST.
        group: (n,) patient of each tile, 0 … groups − 1.
        notes: What the user should know.
    """

    version: int
    views_version: int
    vectors: NDArray[np.float16]
    views: NDArray[np.float16]
    parameters: NDArray[np.float32]
    part: NDArray[np.int8]
    group: NDArray[np.intp]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.vectors)

    def counts(self) -> dict[str, TilesAndGroups]:
        """Tiles and patients of each part, by its name."""
        return {
            name: TilesAndGroups(
                tiles=int((self.part == part).sum()), groups=len(np.unique(self.group[self.part == part]))
            )
            for part, name in PART_NAMES.items()
        }


def gather_view_pairs(
    store: Store, collection: Collection, config: AugmenterConfig, where: str | None = None
) -> ViewPairs:
    """Read tiles that have all their views, `MAX_VIEWS` views at most, and split them by patient.

    The tiles of a sample, and their parts, depend on their ids, on their patients and on the seed, not on the order of
    the table.

    Args:
        where: Only slides that fulfil this condition, see `select_slides`; all when None.
    Raises:
        ConfigError, SlideNotInStoreError: `where` is not a valid condition on slides, or true for none.
        ViewsNotFoundError: the collection has no views, or none of these slides has.
        SplitError: too few patients.
        VectorError: a vector holds NaN or infinity.
    """
    views = store.views(collection.name)
    count = views.config().count
    slides = views.slides().keys() & {slide.slide_id for slide in slides_where(store, collection, where)}
    locations = read_tile_locations(collection, slides=sorted(slides))
    notes = []
    chosen = np.argsort(locations.tile_id)
    if len(chosen) * count > MAX_VIEWS:
        chosen = np.random.default_rng(config.seed).permutation(chosen)[: MAX_VIEWS // count]
        notes.append(f"a sample of {len(chosen):,} of {len(locations):,} tiles is looked at: {MAX_VIEWS:,} views")
    chosen = np.sort(chosen)
    read = read_views(views, locations.tile_id[chosen])
    if not read.found.any():
        raise ViewsNotFoundError(
            f"no tile of collection {collection.name!r}{'' if where is None else f' on slides such that {where}'} has "
            "all its stored views; `embedstore ingest … --views 4` over the slides makes them"
        )
    if not read.found.all():
        notes.append(f"{int((~read.found).sum()):,} of {len(chosen):,} tiles lack views and are left out")
    chosen = chosen[read.found]
    patient, patients = Patients(store).of_tiles(locations, chosen)
    groups = group_by_patient(
        patient,
        patients,
        slide=locations.slide[chosen],
        slides=locations.slides,
        ready_made=locations.is_ready_made[chosen],
        things="tiles",
        consequence="the figures for unseen tiles are too good",
    )
    _, first, group = np.unique(groups.code, return_index=True, return_inverse=True)
    group = np.argsort(np.argsort(first))[group]  # numbered by first occurrence
    return ViewPairs(
        version=locations.version,
        views_version=read.version,
        vectors=read_vectors(collection, locations.row[chosen], version=locations.version),
        views=read.vectors if read.found.all() else read.vectors[read.found],
        parameters=read.parameters[read.found],
        part=assign_parts(group, locations.tile_id[chosen], config, collection.name),
        group=group,
        notes=(*notes, *groups.notes),
    )


def assign_parts(
    group: NDArray[np.integer], tile_id: NDArray[np.int64], config: AugmenterConfig, collection: str
) -> NDArray[np.int8]:
    """(n,) part of each tile: no patient is in two, and at least two are in the test part.

    Raises:
        SplitError: fewer than four patients.
    """
    sizes = np.bincount(group)
    if len(sizes) < _LEAST_GROUPS:
        raise SplitError(
            f"tiles of collection {collection!r} with stored views are of {len(sizes)} patient"
            f"{'' if len(sizes) == 1 else 's'} (or slides, where no patient is known); expected at least "
            f"{_LEAST_GROUPS}: one to train on, one to validate on, two to evaluate on; ingest more of them with "
            "--views, or say in the list of slides who the patients are"
        )
    # Patients are ordered by their smallest tile id, which does not depend on the order of the table.
    first = np.full(len(sizes), np.iinfo(np.int64).max)
    np.minimum.at(first, group, tile_id)
    order = np.argsort(first)
    shares = (1 - config.valid_share - config.test_share, config.valid_share, config.test_share)
    part = np.empty(len(sizes), np.int8)
    part[order] = distribute_groups(sizes[order, None].astype(np.float64), shares, np.random.default_rng(config.seed))
    if (part == TEST).sum() < 2:  # move the smallest patient of a part that can spare one
        spare = np.flatnonzero((part == TRAIN) & ((part == TRAIN).sum() > 1))
        spare = spare if len(spare) else np.flatnonzero(part == VALID)
        part[spare[np.lexsort([first[spare], sizes[spare]])[0]]] = TEST
    return part[group]
