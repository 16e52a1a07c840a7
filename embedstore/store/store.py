"""A store: the directory or URI that holds everything, and nothing outside it is needed to use it."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embedstore.errors import SlideNotInStoreError, StoreError, StoreNotFoundError, TileNotFoundError
from embedstore.store.augmenters import Augmenters
from embedstore.store.collection import PREFIX, Collection, collection_names
from embedstore.store.heads import Heads
from embedstore.store.labels import Labels
from embedstore.store.lease import Lease
from embedstore.store.ledger import Ledger
from embedstore.store.object_store import require_put_if_absent
from embedstore.store.predictions import KINDS, PredictionKind, Predictions, predicted_heads
from embedstore.store.table import local_path, sql_string
from embedstore.store.views import Views
from embedstore.store.writer import CollectionWriter, ViewsWriter


class Store:
    """An embedstore database.

    Args:
        uri: A directory, or a URI of an object store that LanceDB opens.
    """

    def __init__(self, uri: str | Path):
        local = local_path(str(uri))
        self.uri = str(local) if local is not None else str(uri).rstrip("/")
        self.ledger = Ledger(self.uri)
        self.labels = Labels(self.uri)
        self.heads = Heads(self.uri)
        self.augmenters = Augmenters(self.uri)

    @classmethod
    def open(cls, uri: str | Path) -> "Store":
        """Open an existing store.

        Raises:
            StoreNotFoundError: nothing there was written by embedstore.
        """
        store = cls(uri)
        if not store._made():
            raise StoreNotFoundError(
                f"no store at {store.uri}: expected the tables slides and outcomes; "
                "check the path, or make a store with `embedstore ingest SLIDES --store PATH`"
            )
        return store

    @classmethod
    def create(cls, uri: str | Path) -> "Store":
        """Open a store, making it where there is none."""
        store = cls(uri)
        local = local_path(store.uri)
        if local is not None:
            if local.exists() and not local.is_dir():
                raise StoreError(f"{local} is a file; expected a directory for the store; give another --store")
            local.mkdir(parents=True, exist_ok=True)
        else:
            if not store._made():
                require_put_if_absent(store.uri)
        store.ledger.create()
        return store

    def _made(self) -> bool:
        return {"slides", "outcomes"} <= set(self.tables())

    def tables(self) -> list[str]:
        local = local_path(self.uri)
        if local is not None:
            return sorted(path.stem for path in local.glob("*.lance"))
        import lancedb  # takes 2 s to import, which no command on a local store should wait for

        try:
            return list(lancedb.connect(self.uri).list_tables().tables)
        except (ValueError, OSError, RuntimeError) as error:
            raise StoreError(
                f"the object store at {self.uri} cannot be listed; expected a bucket that exists, and its credentials "
                f"in the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT, …); it said: {str(error)[:400]}"
            ) from error

    # -- collections ------------------------------------------------------------------------

    def collection_names(self) -> list[str]:
        return collection_names(self.tables())

    def collection(self, name: str | None = None) -> Collection:
        """A collection by name; without a name, the only one.

        Raises:
            CollectionNotFoundError: there is none of that name.
            StoreError: no name was given, and there are several or none.
        """
        if name is None:
            names = self.collection_names()
            if len(names) != 1:
                raise StoreError(
                    f"{self.uri} has {len(names)} collections ({', '.join(names) or 'none'}); "
                    "name one with --collection"
                )
            name = names[0]
        collection = Collection(self.uri, name)
        collection.dataset()
        return collection

    def table_name(self, collection: str) -> str:
        """The LanceDB table of a collection, for those who want to open it themselves."""
        return PREFIX + collection

    def lease(self, collection: str, *, wait_s: float = 20.0) -> Lease:
        return Lease(self.uri, PREFIX + collection, wait_s=wait_s)

    def views(self, collection: str) -> Views:
        """The table of a collection's stored views; there may be none yet."""
        return Views(self.uri, collection)

    # -- predictions ------------------------------------------------------------------------

    def predictions(self, head: str, kind: PredictionKind = "predictions") -> Predictions:
        """The table of what a head said, or with 'attention' of where it looked; there may be none yet."""
        return Predictions(self.uri, head, kind=kind)

    def prediction_names(self) -> list[str]:
        """The heads that have predictions."""
        return [head for head in predicted_heads(self.tables()) if self.predictions(head).exists()]

    def _prediction_tables(self) -> list[Predictions]:
        names = self.tables()
        return [self.predictions(head, kind) for kind in KINDS for head in predicted_heads(names, kind)]

    # -- one tile ---------------------------------------------------------------------------

    def tile(self, tile_id: int, *, collection: str | None = None) -> dict[str, Any]:
        """A tile's row, with the collection that it was found in under 'collection'.

        Raises:
            TileNotFoundError: no collection has it.
        """
        names = [collection] if collection else self.collection_names()
        for name in names:
            found = self.collection(name).tiles(where=f"tile_id = {int(tile_id)}").to_pylist()
            if found:
                return {"collection": name, **found[0]}
        raise TileNotFoundError(
            f"no tile {tile_id} in {', '.join(names) or 'a store without collections'}; "
            "tile ids stand in `embedstore ls --tiles` and in every export"
        )

    def tile_at(self, slide_id: str, xy_l0: tuple[int, int] | None, *, collection: str | None = None) -> dict[str, Any]:
        """The tile of a slide that holds a level-0 pixel, as `Collection.tile_at` says, or its first; as `tile`.

        Raises:
            TileNotFoundError: the slide has no tile there.
        """
        names = [collection] if collection else self.collection_names()
        for name in names:
            tiles = self.collection(name)
            if xy_l0 is None:
                first = tiles.tiles(where=f"slide_id = {sql_string(slide_id)}", limit=1).to_pylist()
                row = first[0] if first else None
            else:
                row = tiles.tile_at(slide_id, xy_l0)
            if row is not None:
                return {"collection": name, **row}
        place = "" if xy_l0 is None else f" at {xy_l0[0]}, {xy_l0[1]}"
        raise TileNotFoundError(
            f"slide {slide_id!r} has no tile{place} in {', '.join(names) or 'a store without collections'}; "
            "`embedstore status` lists the slides, `embedstore ls --tiles N --slide ID` their tiles"
        )

    # -- taking out -------------------------------------------------------------------------

    def resolve_slides(self, *, slides: Sequence[str] = (), patients: Sequence[str] = ()) -> list[str]:
        """Slide ids of the given slides and patients.

        Raises:
            SlideNotInStoreError: one of them is not in the store; nothing is done to the others.
        """
        known = {row["slide_id"] for row in self.ledger.slides()}
        chosen = []
        for slide_id in slides:
            if slide_id not in known:
                close = [s for s in sorted(known) if slide_id.lower() in s.lower()][:5]
                hint = f"; close names: {', '.join(close)}" if close else ""
                raise SlideNotInStoreError(f"no slide {slide_id!r} in {self.uri}{hint}; `embedstore status` lists them")
            chosen.append(slide_id)
        for patient in patients:
            theirs = self.ledger.slides_of_patient(patient)
            if not theirs:
                raise SlideNotInStoreError(
                    f"no slide of patient {patient!r} in {self.uri}; `embedstore status` lists slides"
                )
            chosen += theirs
        return sorted(set(chosen))

    def remove(self, slide_ids: Sequence[str]) -> dict[str, int]:
        """Take slides out of every collection, the predictions, the labels and the ledger.

        Gone from reads and searches at once; `compact` takes them out of the files.

        Returns:
            Rows removed, by collection.
        """
        removed = {}
        with contextlib.ExitStack() as leases:
            names = self.collection_names()
            for name in names:
                leases.enter_context(self.lease(name, wait_s=0))
            predictions = self._prediction_tables()
            for table in predictions:
                leases.enter_context(table.lease())
            for name in names:
                collection = self.collection(name)
                before = len(collection)
                if (views := self.views(name)).exists():  # first: views never outlive their tiles
                    ViewsWriter(views).remove(slide_ids)
                CollectionWriter(collection).remove(slide_ids)
                removed[name] = before - len(collection)
            for table in predictions:
                table.forget(list(slide_ids))
            self.labels.forget(list(slide_ids), patients=self._patients_only_of(slide_ids))
            self.ledger.forget(list(slide_ids))
        return removed

    def _patients_only_of(self, slide_ids: Sequence[str]) -> list[str]:
        """Patients that have no slide but these, by the ledger or by their labels."""
        if not slide_ids:
            return []
        known = {(row["slide_id"], row["patient"]) for row in self.ledger.slides() if row["patient"] is not None}
        known |= self.labels.patients()
        stay = {patient for slide_id, patient in known if slide_id not in set(slide_ids)}
        return sorted({patient for _, patient in known} - stay)

    def remove_head(self, name: str) -> None:
        """Take a head out, with its predictions.

        Raises:
            HeadNotFoundError: there is none.
        """
        self.heads.remove(name)
        for table in self._prediction_tables():
            if table.head == name:
                table.drop()

    def remove_views(self, collection: str) -> int:
        """Take all views of a collection out, with their table.

        Returns:
            Rows removed.
        Raises:
            ViewsNotFoundError: there are none.
        """
        views = self.views(collection)
        rows = len(views)
        with self.lease(collection, wait_s=0):
            views.table.drop()
        return rows

    def compact(self, *, keep_s: float = 3600.0) -> dict[str, dict[str, int]]:
        """Merge small files, purge removed rows and forget versions older than `keep_s` seconds.

        Returns:
            Rows, fragments, versions and bytes of each collection, before and after.
        """
        report = {}
        for name in self.collection_names():
            with self.lease(name, wait_s=0):
                collection = self.collection(name)
                before = _size(collection)
                CollectionWriter(collection).compact(keep_s=keep_s, purge=True)
                if (views := self.views(name)).exists():
                    ViewsWriter(views).compact(keep_s=keep_s, purge=True)
                report[name] = {f"{k}_before": v for k, v in before.items()} | _size(collection)
        for table in self._prediction_tables():
            table.tidy(keep_s=keep_s)
        self.ledger.tidy(keep_s=keep_s)
        self.labels.tidy(keep_s=keep_s)
        self.heads.tidy(keep_s=keep_s)
        self.augmenters.tidy(keep_s=keep_s)
        return report


def _size(collection: Collection) -> dict[str, int]:
    dataset = collection.dataset()
    sizes = {
        "rows": dataset.count_rows(),
        "fragments": len(dataset.get_fragments()),
        "versions": len(dataset.versions()),
    }
    local = local_path(collection.table.uri)
    if local is not None:
        sizes["bytes"] = sum(path.stat().st_size for path in local.rglob("*") if path.is_file())
    return sizes
