"""The store: tables, collections, the ledger and their upkeep. The only home of Lance and LanceDB."""

from embedstore.process_identity import this_process
from embedstore.search_config import IndexConfig, IndexSearchConfig
from embedstore.store.access_log import AccessLog, AccessRow
from embedstore.store.collection import Collection
from embedstore.store.collection_map import CollectionMap
from embedstore.store.collection_record import CollectionRecord
from embedstore.store.encoding import Encoding, SlideState, slide_states
from embedstore.store.fragments import FragmentWriter, SlideFragments, ViewRows
from embedstore.store.index import (
    IndexFacts,
    build_index,
    choose_index,
    drop_index,
    index_choice,
    index_facts,
    keep_index,
)
from embedstore.store.jobs import Job, Jobs, JobState
from embedstore.store.label import Label
from embedstore.store.label_changes import LabelChange
from embedstore.store.labels import Labels
from embedstore.store.lease import Lease
from embedstore.store.lease_rows import is_held
from embedstore.store.ledger import Ledger
from embedstore.store.ledger_rows import Outcome, SlideRow
from embedstore.store.liveness import Observer
from embedstore.store.nearest import nearest_tiles
from embedstore.store.patients import Patients
from embedstore.store.prediction_schema import (
    PredictionFacts,
    attention_batch,
    predictions_schema,
    slide_batch,
    tile_batch,
)
from embedstore.store.predictions import Predictions
from embedstore.store.runs import Run, Runs, RunState
from embedstore.store.slide_rows import SlideRows
from embedstore.store.store import Store
from embedstore.store.stored_models import Augmenters, Heads, StoredAugmenter, StoredHead
from embedstore.store.tile import StoredTile, TileLocation
from embedstore.store.tile_locations import TileLocations, read_tile_locations
from embedstore.store.tokens import Token, Tokens, matching
from embedstore.store.vectors import read_vectors
from embedstore.store.views import StoredViews, Views, read_views
from embedstore.store.writer import CollectionWriter, TableWriter, ViewsWriter

__all__ = [
    "AccessLog",
    "AccessRow",
    "Augmenters",
    "Collection",
    "CollectionMap",
    "CollectionRecord",
    "CollectionWriter",
    "SlideFragments",
    "SlideRows",
    "IndexSearchConfig",
    "Encoding",
    "SlideState",
    "Heads",
    "IndexConfig",
    "IndexFacts",
    "Job",
    "JobState",
    "Jobs",
    "Label",
    "LabelChange",
    "Labels",
    "Ledger",
    "Lease",
    "Observer",
    "Outcome",
    "TileLocation",
    "TileLocations",
    "Patients",
    "Run",
    "Runs",
    "RunState",
    "Token",
    "Tokens",
    "PredictionFacts",
    "Predictions",
    "SlideRow",
    "FragmentWriter",
    "TableWriter",
    "Store",
    "StoredAugmenter",
    "StoredHead",
    "StoredTile",
    "StoredViews",
    "ViewRows",
    "Views",
    "ViewsWriter",
    "attention_batch",
    "build_index",
    "choose_index",
    "drop_index",
    "index_choice",
    "index_facts",
    "is_held",
    "keep_index",
    "matching",
    "nearest_tiles",
    "predictions_schema",
    "read_tile_locations",
    "read_vectors",
    "read_views",
    "slide_states",
    "this_process",
    "slide_batch",
    "tile_batch",
]
