"""The rows of a hot index that pass a filter, remembered until what decides it changes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from embedstore.search.filters import Selection, select_tiles
from embedstore.search.hot.hot_index import HotIndex, Passing
from embedstore.store import Collection, Store
from embedstore.store.nearest import addresses_where

#: Filters that are remembered for one version of a collection; 1.1 bytes a tile each, and 8 a tile that passes.
KEPT_FILTERS = 16
#: Tables of predictions may be dropped and made again under the same version, so their filters are not remembered.
REMEMBERED = frozenset(("tile", "slide", "label"))


class _Kept(NamedTuple):
    """What a filter let pass, and the versions of the tables that decided it."""

    versions: tuple[int, int]
    passing: Passing


def passing_rows(index: HotIndex, store: Store, collection: Collection, where: str | None) -> Passing | None:
    """The rows for which a filter is true; None for all.

    Args:
        collection: Pinned at the version of the index.
        where: As for `select_tiles`.
    Raises:
        ConfigError: the filter is not valid.
    """
    if where is None:
        return None
    versions = store.ledger.version(), store.labels.version()
    kept = index.kept_filters.get(where)
    if kept is not None and kept.versions == versions:
        return kept.passing
    selection = select_tiles(store, collection, where)
    passing = _passing(index, collection, selection)
    if selection.sources <= REMEMBERED:
        if len(index.kept_filters) >= KEPT_FILTERS:
            index.kept_filters.clear()
        index.kept_filters[where] = _Kept(versions, passing)
    return passing


def without_slides(index: HotIndex, passing: Passing | None, slides: Sequence[str]) -> Passing | None:
    """Those of the rows that are of none of some slides."""
    if not slides:
        return passing
    rows = np.concatenate([index.rows.of_slide(slide_id) for slide_id in slides])
    return (passing or index.everything).without(rows)


def _passing(index: HotIndex, collection: Collection, selection: Selection) -> Passing:
    mask = index.rows.findable
    if selection.where is not None:
        mask = mask & index.rows.mask(index.rows.at(addresses_where(collection, selection.where)))
    if selection.tile_ids is not None:
        mask = mask & index.rows.mask(index.rows.of_tiles(selection.tile_ids))
    return Passing(mask)
