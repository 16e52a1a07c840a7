"""Removes slides, heads, views and collections from a store, with every trace of their names."""

import contextlib
from collections.abc import Collection as AnyOf
from collections.abc import Sequence

from embedstore.errors import PredictionsNotFoundError, StoreError
from embedstore.store.collection import Collection
from embedstore.store.hot_folder import forget_copies
from embedstore.store.patients import patients_of_task
from embedstore.store.store import Store
from embedstore.store.writer import CollectionWriter, ViewsWriter


def remove_slides(store: Store, slide_ids: Sequence[str]) -> dict[str, int]:
    """Remove slides from every collection, the maps, the predictions, the labels and the ledger.

    Reads and searches no longer find them; files keep their rows until `compact`.

    Returns:
        {collection: number of rows removed}.
    Raises:
        StoreBusyError: another process is writing to one of the tables; nothing was removed.
    """
    removed = {}
    with contextlib.ExitStack() as leases:
        names = store.collection_names()
        for name in names:
            leases.enter_context(store.lease(name, wait_s=0))
        store.runs.require_none(names)
        derived = store.derived_tables()
        for table in derived:
            leases.enter_context(table.lease())
        for name in names:
            collection = store.collection(name)
            before = len(collection)
            if (views := store.views(name)).exists():  # first: views never outlive their tiles
                ViewsWriter(views).remove(slide_ids)
            CollectionWriter(collection).remove(slide_ids)
            removed[name] = before - len(collection)
            forget_copies(store.uri, name)
        for table in derived:
            table.forget(list(slide_ids))
        patients = _patients_only_of(store, slide_ids)
        store.labels.forget(list(slide_ids), patients=patients)
        store.jobs.forget([*slide_ids, *patients])
        store.runs.forget([*slide_ids, *patients])
        store.access_log.forget([*slide_ids, *patients])
        store.ledger.forget(list(slide_ids))
        store.labels.forget(list(slide_ids), patients=patients)  # of who labelled them meanwhile
        store.access_log.forget([*slide_ids, *patients])  # of who looked at them meanwhile
    return removed


def _patients_only_of(store: Store, slide_ids: Sequence[str]) -> list[str]:
    """Patients of these slides that have no other slide in the ledger or in labels."""
    if not slide_ids:
        return []
    pairs = {(slide_id, patient) for slide_id, patient in store.ledger.patients().items() if patient is not None}
    pairs |= store.labels.patients()
    others = {patient for slide_id, patient in pairs if slide_id not in set(slide_ids)}
    return sorted({patient for _, patient in pairs} - others)


def forget_derived(store: Store, collection: Collection, slide_ids: AnyOf[str]) -> None:
    """Remove what was made from the vectors of slides that others replace: places on maps, encodings, and predictions.

    A tile at the same place has the same id, so that predictions from the old vectors would count for the new ones. Of
    a head for patients, those of the patients' other slides go too, as they were made from all of them.
    """
    if not slide_ids:
        return
    store.map(collection.name).forget(slide_ids)
    for encoding in store.encodings(collection.name):
        encoding.forget(slide_ids)
    digest = collection.extractor().digest
    for table in store.prediction_tables():
        try:
            facts = table.facts()
        except PredictionsNotFoundError:  # its head was removed meanwhile
            continue
        if facts.extractor_digest != digest:
            continue
        also: set[str] = set()
        if facts.level == "patient":
            patient_of = patients_of_task(store, facts.task)
            patients = {patient_of.get(slide) for slide in slide_ids} - {None}
            also = {slide for slide, patient in patient_of.items() if patient in patients}
        table.forget({*slide_ids, *also})


def remove_head(store: Store, name: str) -> None:
    """Remove a head and its predictions.

    Raises:
        HeadNotFoundError: there is no head of that name.
    """
    store.heads.remove(name)
    for table in store.prediction_tables():
        if table.head == name:
            table.drop()


def remove_views(store: Store, collection: str) -> int:
    """Remove all views of a collection, with their table.

    Returns:
        Number of rows removed.
    Raises:
        ViewsNotFoundError: the collection has no views.
        StoreBusyError: another process is writing to the collection.
    """
    views = store.views(collection)
    rows = len(views)
    with store.lease(collection, wait_s=0):
        store.runs.require_none([collection])
        views.table.drop()
    return rows


def remove_collection(store: Store, name: str) -> int:
    """Remove a collection: its tiles, views, map, slide vectors and predictions, and what the ledger knows of it.

    Slides stay, with their labels. Whoever is interrupted calls it again: the tiles go last.

    Returns:
        Number of tiles removed.
    Raises:
        CollectionNotFoundError: there is none of that name.
        StoreError: heads or augmenters were fitted on it.
        StoreBusyError: another process is writing to it, or to its map, slide vectors or predictions.
    """
    collection = store.collection(name)
    fitted = {
        "heads": [head.name for head in store.heads.summaries() if head.collection == name],
        "augmenters": [augmenter.name for augmenter in store.augmenters.summaries() if augmenter.collection == name],
    }
    if any(fitted.values()):
        first = "; ".join(
            f"{kind} {', '.join(names)}, which `embedstore {kind} rm NAME` removes"
            for kind, names in fitted.items()
            if names
        )
        raise StoreError(f"collection {name!r} cannot be removed while there are what was fitted on it: {first}")
    with store.lease(name, wait_s=0):
        store.runs.require_none([name])
        rows = len(collection)
        predicted = [table for table in store.prediction_tables() if table.is_of(name)]  # by heads of other collections
        for table in (store.map(name), *store.encodings(name), *predicted):
            table.drop()
        if (views := store.views(name)).exists():
            views.table.drop()
        store.ledger.forget([row.slide_id for row in store.ledger.outcomes(collection=name)], collection=name)
        collection.table.drop()
        forget_copies(store.uri, name)
    return rows
