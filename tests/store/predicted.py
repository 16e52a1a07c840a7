"""Predictions made by hand, as a head would make them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from embedstore.store import PredictionFacts, Store, attention_batch, slide_batch, tile_batch

TILES = ["tile_id", "slide_id", "x", "y", "edge_l0", "name"]


def facts(**changes: Any) -> PredictionFacts:
    """A tile head of two classes."""
    values: dict[str, Any] = {
        "head": "lesion",
        "head_digest": "sha256:head-1",
        "task": "lesion",
        "collection": "toy",
        "extractor_digest": "sha256:1",
        "classes": ("normal", "tumour"),
        "positive": "tumour",
        "thresholds": {"tumour": 0.5},
    }
    return PredictionFacts(**{**values, **changes})


def decide(made: PredictionFacts, probabilities: np.ndarray) -> np.ndarray:
    """(n, classes) bool: the likeliest class, or of a multi-label task those of at least one half."""
    if made.multi_label:
        return probabilities >= 0.5
    return np.arange(len(made.classes)) == probabilities.argmax(axis=1)[:, None]


def two(tumour: Sequence[float] | np.ndarray) -> np.ndarray:
    """Probabilities of normal and tumour, (n, 2)."""
    p = np.asarray(tumour, np.float32)
    return np.stack([1 - p, p], axis=1)


def tiles_of(store: Store, slide_id: str, collection: str = "toy") -> pa.Table:
    return store.collection(collection).tiles(where=f"slide_id = '{slide_id}'", columns=TILES)


def predict(store: Store, made: PredictionFacts, probabilities: dict[str, np.ndarray]) -> int:
    """Write predictions of a tile head: {slide: (its tiles, classes)}."""
    rows = [tile_batch(made, tiles_of(store, s, made.collection), p, decide(made, p)) for s, p in probabilities.items()]
    return store.predictions(made.head).write(made, rows, slides=list(probabilities))


def predict_slides(
    store: Store, made: PredictionFacts, probabilities: dict[str, np.ndarray], attention: dict[str, np.ndarray]
) -> None:
    """Write predictions of a head for slides, {slide: (classes,)}, and the attention to their tiles, {slide: (n,)}."""
    stacked = np.stack(list(probabilities.values()))
    patients = [f"P-{slide}" for slide in probabilities]
    batch = slide_batch(made, list(probabilities), patients, stacked, decide(made, stacked))
    store.predictions(made.head).write(made, [batch], slides=list(probabilities))
    looked = [attention_batch(made, tiles_of(store, s, made.collection), a) for s, a in attention.items()]
    store.predictions(made.head, "attention").write(made, looked, slides=list(attention))
