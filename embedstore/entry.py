"""The first thing that a notebook calls."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from embedstore.store import Store


def open(uri: "str | Path") -> "Store":
    """Open a store: a directory, or the URI of an object store.

    Raises:
        StoreNotFoundError: nothing there was written by embedstore.
    """
    from embedstore.store import Store  # Lance takes half a second to import

    return Store.open(uri)
