"""The warm collections of an open store; every `Collection` that the store gives shares them."""

from pathlib import Path
from typing import TYPE_CHECKING

from embedstore.progress import OnProgress
from embedstore.store import Collection as CollectionTable

if TYPE_CHECKING:
    from embedstore.search.hot import WarmCollection, WarmCollections, WarmFacts


class Warm:
    """None until one is asked for, so that opening a store loads nothing for it."""

    def __init__(self) -> None:
        self._collections: WarmCollections | None = None

    def get(self, name: str) -> "WarmCollection | None":
        """A warm collection; None where it is not warm."""
        return None if self._collections is None else self._collections.get(name)

    def warm(
        self, collection: CollectionTable, *, folder: str | Path | None, wait: bool, on_progress: OnProgress
    ) -> "WarmFacts":
        """See `Collection.warm`."""
        from embedstore.cores import cores
        from embedstore.search.hot import WarmCollections

        if self._collections is None:
            self._collections = WarmCollections()
        root = None if folder is None else Path(folder).absolute()
        warm = self._collections.warm(collection, root=root, threads=cores() if wait else 1)
        if wait:
            warm.wait(on_progress)
        return warm.facts()

    def cool(self, name: str) -> None:
        """See `Collection.cool`."""
        if self._collections is not None:
            self._collections.cool(name)
