"""embedstore: an embedding database for whole-slide pathology."""

from typing import TYPE_CHECKING

from embedstore.version import __version__

if TYPE_CHECKING:
    from embedstore.api import (
        Augmenter,
        Collection,
        ExtractorSelection,
        Head,
        IngestResult,
        Labels,
        SearchResult,
        Store,
        Table,
        check_environment,
        create,
        inspect_tissue,
        list_extractors,
        open,
        synthesize_slides,
    )

__all__ = [
    "Augmenter",
    "Collection",
    "ExtractorSelection",
    "Head",
    "IngestResult",
    "Labels",
    "SearchResult",
    "Store",
    "Table",
    "__version__",
    "check_environment",
    "create",
    "inspect_tissue",
    "list_extractors",
    "open",
    "synthesize_slides",
]


def __getattr__(name: str) -> object:
    """Import the Python API when one of its names is first used (PEP 562): Lance and Arrow take half a second."""
    if name not in __all__:
        raise AttributeError(f"module 'embedstore' has no attribute {name!r}")
    from embedstore import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return __all__
