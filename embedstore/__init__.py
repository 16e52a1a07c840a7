"""embedstore: an embedding database for whole-slide pathology."""

from typing import TYPE_CHECKING

from embedstore.version import __version__

if TYPE_CHECKING:
    from embedstore import errors, progress
    from embedstore.api import (
        AccessLog,
        Augmenter,
        Collection,
        Evaluations,
        ExtractorSelection,
        Head,
        IngestResult,
        Labels,
        SearchResult,
        Store,
        Table,
        Tokens,
        check_environment,
        create,
        inspect_tissue,
        list_extractors,
        open,
        synthesize_slides,
    )
    from embedstore.client import RemoteStore, connect
    from embedstore.config import (
        ExecutionConfig,
        JoinConfig,
        ReadingConfig,
        RunConfig,
        TilingConfig,
        TissueConfig,
        ViewConfig,
    )
    from embedstore.extractors import ExtractorConfig
    from embedstore.search_config import SearchConfig
    from heads.config import (
        AugmentConfig,
        AugmenterConfig,
        EvaluateConfig,
        FitConfig,
        MistakesConfig,
        SelectConfig,
        SplitConfig,
        SuggestConfig,
    )

__all__ = [
    "AccessLog",
    "AugmentConfig",
    "Augmenter",
    "AugmenterConfig",
    "Collection",
    "EvaluateConfig",
    "Evaluations",
    "ExecutionConfig",
    "ExtractorConfig",
    "ExtractorSelection",
    "FitConfig",
    "Head",
    "IngestResult",
    "JoinConfig",
    "Labels",
    "MistakesConfig",
    "ReadingConfig",
    "RemoteStore",
    "RunConfig",
    "SearchConfig",
    "SearchResult",
    "SelectConfig",
    "SplitConfig",
    "Store",
    "SuggestConfig",
    "Table",
    "TilingConfig",
    "TissueConfig",
    "Tokens",
    "ViewConfig",
    "__version__",
    "check_environment",
    "connect",
    "create",
    "errors",
    "inspect_tissue",
    "list_extractors",
    "open",
    "progress",
    "synthesize_slides",
]

#: {name: its module} of those that the API does not have: the client, and classes of settings.
_ELSEWHERE = {
    "RemoteStore": "embedstore.client",
    "connect": "embedstore.client",
    "AugmentConfig": "heads.config",
    "AugmenterConfig": "heads.config",
    "EvaluateConfig": "heads.config",
    "ExecutionConfig": "embedstore.config",
    "ExtractorConfig": "embedstore.extractors",
    "FitConfig": "heads.config",
    "JoinConfig": "embedstore.config",
    "MistakesConfig": "heads.config",
    "ReadingConfig": "embedstore.config",
    "RunConfig": "embedstore.config",
    "SearchConfig": "embedstore.search_config",
    "SelectConfig": "heads.config",
    "SplitConfig": "heads.config",
    "SuggestConfig": "heads.config",
    "TilingConfig": "embedstore.config",
    "TissueConfig": "embedstore.config",
    "ViewConfig": "embedstore.config",
}


def __getattr__(name: str) -> object:
    """Import a name when it is first used (PEP 562): Lance and Arrow, which the API loads, take half a second."""
    if name not in __all__:
        raise AttributeError(f"module 'embedstore' has no attribute {name!r}")
    import importlib

    if name in ("errors", "progress"):
        return importlib.import_module(f"embedstore.{name}")
    return getattr(importlib.import_module(_ELSEWHERE.get(name, "embedstore.api")), name)


def __dir__() -> list[str]:
    return __all__
