"""A map, and what its tiles are coloured by, as safetensors: for viewers, which draw it themselves, and for Python."""

import dataclasses
import json
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import load, save

from embedstore.map_record import MapFacts
from embedstore.maps.colours import MapColours
from embedstore.maps.reading import TileMap
from embedstore.store.collection_map import MAP

_ARRAYS = ("values",)


def map_to_bytes(tiles: TileMap) -> bytes:
    """As safetensors: `tile_id` (n,) int64, `xy` (n, 2) float32, `slide` (n,) uint32, an index into `slide_ids`, and
    `placed` (n,) uint8; in the header's metadata as JSON under `map` the facts and `slide_ids`."""
    arrays: dict[str, np.ndarray] = {
        "tile_id": np.ascontiguousarray(tiles.tile_ids),
        "xy": tiles.places,
        "slide": tiles.slide_codes,
        "placed": tiles.rows["placed"].to_numpy().astype(np.uint8),
    }
    about = {**tiles.facts.as_record(), "note": tiles.facts.note, "slide_ids": list(tiles.slide_names)}
    return save(arrays, metadata={"map": json.dumps(about, ensure_ascii=False)})


def map_from_bytes(data: bytes) -> TileMap:
    """A map from what `map_to_bytes` gave."""
    about, arrays = _parsed(data, "map")
    slides = pa.DictionaryArray.from_arrays(
        pa.array(arrays["slide"].astype(np.int32)), pa.array(about["slide_ids"], pa.string())
    )
    rows = {
        "tile_id": arrays["tile_id"],
        "slide_id": slides.cast(pa.string()),
        "map_x": arrays["xy"][:, 0],
        "map_y": arrays["xy"][:, 1],
        "placed": arrays["placed"].astype(bool),
    }
    return TileMap(pa.table(rows).cast(MAP), MapFacts.from_record(about))


def colours_to_bytes(colours: MapColours, version: str) -> bytes:
    """As safetensors: `values` (n,) int32 or float32; in the header's metadata as JSON under `colours` the other fields
    of `MapColours`, and the version of the map that they are of."""
    about = {each.name: getattr(colours, each.name) for each in dataclasses.fields(colours) if each.name not in _ARRAYS}
    return save(
        {"values": np.ascontiguousarray(colours.values)},
        metadata={"colours": json.dumps({**about, "version": version}, ensure_ascii=False)},
    )


def colours_from_bytes(data: bytes) -> MapColours:
    """What `colours_to_bytes` was given."""
    about, arrays = _parsed(data, "colours")
    del about["version"]
    for name in ("classes", "counts", "range"):
        about[name] = tuple(about[name])
    return MapColours(**about, values=arrays["values"])


def _parsed(data: bytes, key: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"][key]), load(data)
