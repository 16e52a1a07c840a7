"""An extractor with a text tower whose answers are known: tiles are their mean colour, and so are words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.config import as_record
from embedstore.errors import QueryError
from embedstore.extractors import Extractor, ExtractorConfig, load_extractor
from embedstore.store import Collection, Store
from tests.collection_records import collection_record
from tests.search.queries.query_scene import add_slide, new_collection

TILE_PX = 32
COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "orange": (255, 140, 0),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
#: What the slides of the scene show, tile by tile.
SLIDES = {"a.svs": ("red", "green", "blue"), "b.svs": ("orange", "red", "white"), "c.svs": ("black", "blue", "green")}


class Colours(Extractor):
    """A tile is its mean colour, from -1 to 1; a text is the sum of the colours that it names."""

    name, dim, tile_px, mpp, digest = "colours", 3, TILE_PX, 0.5, "sha256:colours"
    logit_scale = 10.0

    def __init__(self, text_digest: str = "sha256:words") -> None:
        self.text_digest = text_digest

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        self.check_pixels(pixels)
        return (pixels.mean(axis=(1, 2)) / 127.5 - 1).astype(np.float16)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float64]:
        rows = []
        for text in texts:
            named = [np.array(COLOURS[word]) / 127.5 - 1 for word in text.split() if word in COLOURS]
            if not named:
                raise QueryError(f"the text {text!r} names no colour")
            rows.append(np.sum(named, axis=0))
        return np.array(rows)


def make(text_digest: str = "sha256:words") -> Extractor:
    return Colours(text_digest)


REF = f"{__name__}:make"


def tiles(*colours: str) -> NDArray[np.uint8]:
    """(n, TILE_PX, TILE_PX, 3) of one colour each."""
    return np.stack([np.full((TILE_PX, TILE_PX, 3), COLOURS[colour], np.uint8) for colour in colours])


def colour_store(folder: Path, config: ExtractorConfig | None = None) -> tuple[Store, Collection]:
    """The slides of SLIDES in a collection of this extractor, as ingest would write them."""
    config = config or ExtractorConfig(ref=REF)
    extractor = load_extractor(config, device="cpu")
    record = collection_record(
        tiling={"tile_px": TILE_PX}, request={"extractor": as_record(config)}, **extractor.record()
    )
    store, collection = new_collection(folder, record=record)
    for slide, colours in SLIDES.items():
        add_slide(store, collection, slide, extractor.embed(tiles(*colours)))
    return store, collection
