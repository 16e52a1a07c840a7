"""Hits as GeoJSON for QuPath: an annotation for each tile, a file for each slide."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from embedstore.annotations import Origin, feature, write_collection
from embedstore.errors import ExportError
from embedstore.export.tile_squares import rounded, squares
from embedstore.labels.class_colours import PALETTE
from embedstore.labels.files.coordinate_frames import corner_l0
from embedstore.output_files import require_folder, slide_path
from embedstore.search.hits import Hits
from embedstore.store import SlideRow, Store

SUFFIX = ".geojson"
MATCH = "match"


@dataclass(frozen=True, kw_only=True)
class HitsGeojson:
    """What was written.

    Attributes:
        paths: {slide: its file}, in the order of the slides' nearest tiles.
        tiles: How many tiles the files hold.
        notes: What the user should know, such as folders that were left out.
    """

    paths: dict[str, Path]
    tiles: int
    notes: tuple[str, ...] = ()


def write_hits_geojson(hits: Hits, path: str | Path, *, origin: Origin = "bounds", label: str = MATCH) -> HitsGeojson:
    """Write hits for QuPath 0.4 or newer (File > Import objects, or drag and drop).

    A tile is a square annotation of class `label`, named by its rank, with the measurements "rank" and "distance"; it
    is locked, so that it is not dragged away by accident. Tiles of ready-made folders have no location on a slide and
    are left out with a note.

    Args:
        hits: The hits to write.
        path: A folder, which gets a file for each slide; or one .geojson file, where all tiles are of one slide.
        origin: Where coordinates begin: see `write_geojson`.
        label: Name of the class in QuPath.
    Raises:
        ExportError: no tile has a location, or `path` is one file and the tiles are of several slides.
    """
    out, table = Path(path), hits.table
    if not len(table):
        raise ExportError(f"nothing was found for {hits.query.title}, so there is nothing to write to {out}")
    located = table.filter(pc.greater(table["edge_l0"], 0))
    folders = pc.unique(table.filter(pc.equal(table["edge_l0"], 0))["slide_id"]).to_pylist()
    slide_ids = pc.unique(located["slide_id"]).to_pylist()
    if not slide_ids:
        raise ExportError(
            f"{folders[0]!r} is a folder of ready-made tiles, which have no place on a slide, and nothing else was "
            "found; write a table (.csv, .parquet, .json), a montage or a page instead"
        )
    if out.suffix.lower() == SUFFIX and len(slide_ids) > 1:
        raise ExportError(f"{out} is one file, and the tiles found are of {len(slide_ids)} slides; name a folder")
    if out.suffix.lower() != SUFFIX:
        require_folder(out, or_file=f"a {SUFFIX} file of tiles of one slide")
    slides = _slides(hits, slide_ids)
    paths = {}
    for slide_id in slide_ids:
        tiles = located.filter(pc.equal(located["slide_id"], slide_id))
        paths[slide_id] = slide_path(out, slide_id, SUFFIX, single=True)
        about = {"origin": origin, "slide_id": slide_id, "collection": hits.collection, "query": hits.query.title}
        corner = corner_l0(slides[slide_id], origin) if slide_id in slides else (0, 0)
        write_collection(paths[slide_id], about, _features(tiles, corner, label))
    notes = tuple(f"{name!r} is a folder of ready-made tiles, which have no place for QuPath" for name in folders)
    return HitsGeojson(paths=paths, tiles=len(located), notes=notes)


def _slides(hits: Hits, slide_ids: Sequence[str]) -> Mapping[str, SlideRow]:
    if isinstance(hits.store, Store):
        return {slide.slide_id: slide for slide in hits.store.ledger.slides()}
    return hits.store.slides(slide_ids)


def _features(rows: pa.Table, corner: tuple[int, int], label: str) -> Iterator[dict[str, Any]]:
    ids, ranks = rows["tile_id"].to_pylist(), rows["rank"].to_pylist()
    distances = rounded(rows["distance"].to_numpy())
    for tile_id, rank, distance, square in zip(ids, ranks, distances, squares(rows, corner), strict=True):
        properties = {
            "objectType": "annotation",
            "name": f"{label} {rank}",
            "classification": {"name": label, "color": list(PALETTE[0])},
            "isLocked": True,
            "measurements": {"rank": rank, "distance": distance},
        }
        yield feature(f"{label}/{tile_id}", square, properties)
