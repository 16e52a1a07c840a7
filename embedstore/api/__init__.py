"""The Python API: everything that the command line does, in a few documented calls."""

from embedstore.api.access_log import AccessLog
from embedstore.api.augmenter import Augmenter
from embedstore.api.collection import Collection
from embedstore.api.environment import check_environment
from embedstore.api.evaluations import Evaluations
from embedstore.api.extractor_selection import ExtractorSelection
from embedstore.api.extractors import list_extractors
from embedstore.api.head import Head
from embedstore.api.ingest import IngestResult
from embedstore.api.labels import Labels
from embedstore.api.search_result import SearchResult
from embedstore.api.slides import inspect_tissue, synthesize_slides
from embedstore.api.store import Store, create, open
from embedstore.api.tokens import Tokens
from embedstore.result_table import Table

__all__ = [
    "AccessLog",
    "Augmenter",
    "Collection",
    "Evaluations",
    "ExtractorSelection",
    "Head",
    "IngestResult",
    "Labels",
    "SearchResult",
    "Store",
    "Table",
    "Tokens",
    "check_environment",
    "create",
    "inspect_tissue",
    "list_extractors",
    "open",
    "synthesize_slides",
]
