"""What works only where the store's files are, in one place, and the sentence that says where to do it."""

from collections.abc import Callable
from typing import Any, NoReturn

from embedstore.errors import OnlyAtStoreError

#: {call of the face of a store: what to do instead}.
ONLY_AT_STORE = {
    "AccessLog.purge": "whoever asks a service does not delete what they did",
    "Store.ingest": "run `embedstore ingest` there; the service shows what it commits",
    "Store.import_features": "run `embedstore import` there; the service shows what it commits",
    "Store.estimate_ingest": "run `embedstore ingest --dry-run` there",
    "Store.remove_collection": "run `embedstore rm --collection NAME` there",
    "Store.remove_columns": "run `embedstore rm --column NAME` there",
    "Store.tokens": "run `embedstore token` there",
    "Store.export_layout": "it writes a folder of all vectors, as large as the collection; run `embedstore export "
    "--layout` there, or export Parquet over HTTP",
    "Labels.export_benchmark": "run `embedstore label export --format` there; it writes a folder of vectors",
    "Labels.of_slides": "the project of a token says whose labels it sees",
    "Collection.warm": "whoever serves the store decides whether its collections are kept warm",
    "Collection.warm_facts": "whoever serves the store decides whether its collections are kept warm",
    "Collection.cool": "whoever serves the store decides whether its collections are kept warm",
    "Collection.table": "a program that reads tables opens the store's folder itself",
}


def only_at_store(call: str) -> Callable[..., Any]:
    """A method that says that a call works only where the store's files are."""

    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise OnlyAtStoreError(
            f"{call} works on the machine that has the store's files, not over HTTP: {ONLY_AT_STORE[call]}"
        )

    refuse.__name__ = call.rpartition(".")[2]
    refuse.__doc__ = f"Works only where the store's files are: {ONLY_AT_STORE[call]}."
    return refuse
