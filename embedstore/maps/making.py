"""Makes the map of a collection, and brings it up to date with the collection."""

import dataclasses
import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.errors import ConfigError, StoreBusyError
from embedstore.map_config import FEWEST_TILES, MapConfig
from embedstore.map_record import MapFacts, MapRecord
from embedstore.maps.layout import Components, lay_out, library_of, method_for
from embedstore.maps.placing import place
from embedstore.maps.reading import read_map
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.search.tile_sample import TileSample, directions, sample_tiles
from embedstore.sorted_ids import positions_in
from embedstore.store import Collection, CollectionMap, Store
from embedstore.store.collection_map import MAP
from embedstore.store.schema import batch_rows
from embedstore.store.table import now
from embedstore.store.vectors import matrix
from embedstore.version import __version__

log = logging.getLogger(__name__)

#: Removing a slide and other maps hold the lease only while they write, seconds.
WAIT_S = 20.0


def make_map(
    store: Store,
    collection: Collection,
    config: MapConfig | None = None,
    *,
    rebuild: bool = False,
    on_progress: OnProgress = no_progress,
) -> MapFacts:
    """Make the map of a collection; where there is one, place the slides that are not on it yet.

    Args:
        config: How it is made; the defaults when None. A map that there is, and is not made anew, keeps its own.
        rebuild: Make it anew where there is one.
    Raises:
        ConfigError: the collection has too few tiles; the method is not installed; or the map that there is was made
            with other settings.
        StoreBusyError: another process is writing to the map.
    """
    held = store.map(collection.name)
    if check_map(store, collection, config, rebuild=rebuild):
        _place_new(store, collection, held, on_progress)
    else:
        _make(store, collection, config or MapConfig(), held, on_progress)
    return read_map(store, collection).facts


def check_map(store: Store, collection: Collection, config: MapConfig | None, *, rebuild: bool) -> bool:
    """Whether `make_map` would place new slides into the map that there is; it raises what can be known before."""
    held = store.map(collection.name)
    if rebuild or not held.exists():
        library_of((config or MapConfig()).method)
        return False
    record = held.record()
    if config is not None and config != record.config:
        changed = [
            f"{each.name} {getattr(record.config, each.name)!r}"
            for each in dataclasses.fields(config)
            if getattr(config, each.name) != getattr(record.config, each.name)
        ]
        raise ConfigError(
            f"collection {collection.name!r} has a map that was made with {', '.join(changed)}; make it anew with "
            "rebuild (`embedstore map --rebuild`), or leave the settings out to place new slides into it"
        )
    return True


def _make(
    store: Store, collection: Collection, config: MapConfig, held: CollectionMap, on_progress: OnProgress
) -> None:
    on_progress(Progress(stage="map", message=f"read the vectors of {collection.name}"))
    pinned = collection.pinned()
    sample = sample_tiles(pinned, config.tiles, seed=config.seed)
    if len(sample) < FEWEST_TILES:
        raise ConfigError(
            f"collection {collection.name!r} has {len(sample)} tile(s) with a vector; a map needs "
            f"{FEWEST_TILES} or more"
        )
    method = method_for(config, len(sample))
    on_progress(Progress(stage="map", message=f"lay out {len(sample):,} tiles by {method}"))
    components = Components(sample.vectors).of(sample.vectors)
    record = MapRecord(
        config=config,
        method=method,
        library=library_of(method),
        components=components.shape[1],
        tiles=len(sample),
        candidates=sample.candidates,
        slides=sample.slides,
        collection_version=pinned.dataset().version,
        extractor_digest=pinned.extractor().digest,
        embedstore=__version__,
        created_at=now().isoformat(timespec="seconds"),
    )
    rows = _rows(sample, lay_out(components, config), placed=False)
    with held.lease(wait_s=WAIT_S) as lease:  # a slide that is being removed has the lease, or is gone already
        rows = _present(rows, collection)
        lease.check()
        held.write(record, rows)


def _place_new(store: Store, collection: Collection, held: CollectionMap, on_progress: OnProgress) -> None:
    """Place the slides that the map lacks, with their share of the tiles that it is to have."""
    on_map = read_map(store, collection)
    lacking = [name for name in collection.slides() if name not in on_map.slide_names]
    if not lacking:
        return
    on_progress(Progress(stage="map", message=f"place {len(lacking):,} slide(s) into the map of {collection.name}"))
    record = on_map.facts.record
    counts = collection.slides()
    share = sum(counts[name] for name in lacking) / sum(counts.values())
    wanted = record.config.tiles and max(
        record.config.tiles - on_map.facts.tiles, round(record.config.tiles * share), 1
    )
    sample = sample_tiles(collection.pinned(), wanted, slides=lacking, seed=record.config.seed)
    known, order = _vectors_of(collection, on_map.tile_ids)
    if not len(sample) or not len(known):
        return
    components = Components(known)
    places = place(components.of(sample.vectors), components.of(known), on_map.places[order], on_progress=on_progress)
    rows = _rows(sample, places, placed=True)
    with held.lease(wait_s=WAIT_S) as lease:
        if held.record() != record:
            raise StoreBusyError(
                f"the map of collection {collection.name!r} was made anew meanwhile; nothing was placed; try again"
            )
        there = pa.array(sorted(held.slides()), pa.string())  # by another process meanwhile
        rows = _present(rows.filter(pc.invert(pc.is_in(rows["slide_id"], value_set=there))), collection)
        lease.check()
        held.add(rows)


def _rows(sample: TileSample, places: NDArray[np.float32], *, placed: bool) -> pa.Table:
    columns = {
        "tile_id": sample.tiles["tile_id"],
        "slide_id": sample.tiles["slide_id"],
        "map_x": places[:, 0],
        "map_y": places[:, 1],
        "placed": np.full(len(places), placed),
    }
    return pa.table(columns).cast(MAP)


def _present(rows: pa.Table, collection: Collection) -> pa.Table:
    """The rows of slides that are in the collection now: some may have been removed while the map was made."""
    slides = pa.array(sorted(collection.slides()), pa.string())
    return rows.filter(pc.is_in(rows["slide_id"], value_set=slides))


def _vectors_of(collection: Collection, tile_ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Unit vectors of tiles, and the position of each in `tile_ids`; those without a direction are left out."""
    order = np.argsort(tile_ids)
    known = tile_ids[order]
    vectors, positions = [], []
    step = batch_rows(collection.dim)
    for batch in collection.batches(columns=["tile_id", "vector"], batch_size=step):
        at = positions_in(known, batch.column("tile_id").to_numpy())
        rows = np.flatnonzero(at >= 0)
        found, valid = directions(matrix(batch.column("vector"), collection.dim)[rows])
        vectors.append(found)
        positions.append(order[at[rows]][valid])
    if not vectors:
        return np.empty((0, collection.dim), np.float32), np.empty(0, np.intp)
    return np.concatenate(vectors), np.concatenate(positions)
