"""The store: tables, collections, the ledger and their upkeep. The only home of Lance and LanceDB."""

from embedstore.store.collection import Collection, CollectionWriter
from embedstore.store.fragments import Delivery, SlideWriter
from embedstore.store.labels import Label, Labels
from embedstore.store.lease import Lease
from embedstore.store.ledger import Ledger, Outcome, SlideFacts
from embedstore.store.prediction_schema import (
    PredictionFacts,
    attention_batch,
    predictions_schema,
    slide_batch,
    tile_batch,
)
from embedstore.store.predictions import Predictions
from embedstore.store.store import Store

__all__ = [
    "Collection",
    "CollectionWriter",
    "Delivery",
    "Label",
    "Labels",
    "Ledger",
    "Lease",
    "Outcome",
    "PredictionFacts",
    "Predictions",
    "SlideFacts",
    "SlideWriter",
    "Store",
    "attention_batch",
    "predictions_schema",
    "slide_batch",
    "tile_batch",
]
