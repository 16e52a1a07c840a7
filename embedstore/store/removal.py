"""Taking slides, heads and views out of a store, without leaving their names behind."""

import contextlib
from collections.abc import Sequence

from embedstore.store.store import Store
from embedstore.store.writer import CollectionWriter, ViewsWriter


def remove_slides(store: Store, slide_ids: Sequence[str]) -> dict[str, int]:
    """Take slides out of every collection, the predictions, the labels and the ledger.

    They are gone from reads and searches at once; `compact` takes them out of the files.

    Returns:
        {collection: rows removed}.
    Raises:
        StoreBusyError: another process is writing to one of the tables; nothing was removed.
    """
    removed = {}
    with contextlib.ExitStack() as leases:
        names = store.collection_names()
        for name in names:
            leases.enter_context(store.lease(name, wait_s=0))
        predictions = store.prediction_tables()
        for table in predictions:
            leases.enter_context(table.lease())
        for name in names:
            collection = store.collection(name)
            before = len(collection)
            if (views := store.views(name)).exists():  # first: views never outlive their tiles
                ViewsWriter(views).remove(slide_ids)
            CollectionWriter(collection).remove(slide_ids)
            removed[name] = before - len(collection)
        for table in predictions:
            table.forget(list(slide_ids))
        store.labels.forget(list(slide_ids), patients=_patients_only_of(store, slide_ids))
        store.ledger.forget(list(slide_ids))
    return removed


def _patients_only_of(store: Store, slide_ids: Sequence[str]) -> list[str]:
    """Patients that have no other slide, by the ledger or by their labels."""
    if not slide_ids:
        return []
    pairs = {(slide_id, patient) for slide_id, patient in store.ledger.patients().items() if patient is not None}
    pairs |= store.labels.patients()
    others = {patient for slide_id, patient in pairs if slide_id not in set(slide_ids)}
    return sorted({patient for _, patient in pairs} - others)


def remove_head(store: Store, name: str) -> None:
    """Take a head out, with its predictions.

    Raises:
        HeadNotFoundError: there is no head of that name.
    """
    store.heads.remove(name)
    for table in store.prediction_tables():
        if table.head == name:
            table.drop()


def remove_views(store: Store, collection: str) -> int:
    """Take all views of a collection out, with their table.

    Returns:
        Rows removed.
    Raises:
        ViewsNotFoundError: there are none.
        StoreBusyError: another process is writing to the collection.
    """
    views = store.views(collection)
    rows = len(views)
    with store.lease(collection, wait_s=0):
        views.table.drop()
    return rows
