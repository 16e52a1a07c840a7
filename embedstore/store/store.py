"""A store: the directory or URI with all tables of an embedding database."""

import copy
from collections.abc import Callable, Set
from pathlib import Path

from embedstore.errors import CollectionNotFoundError, StoreError, StoreNotFoundError, TileNotFoundError
from embedstore.store.access_log import AccessLog
from embedstore.store.collection import LARGEST_TILE_ID, PREFIX, Collection, collection_names
from embedstore.store.collection_map import CollectionMap, mapped_collections
from embedstore.store.derived_table import DerivedTable
from embedstore.store.encoding import Encoding, encoding_names
from embedstore.store.jobs import Jobs
from embedstore.store.labels import Labels
from embedstore.store.lease import Lease
from embedstore.store.lease_rows import holder_of
from embedstore.store.ledger import Ledger
from embedstore.store.location import local_path, require_put_if_absent, require_writable, table_names
from embedstore.store.migrations import bring_up_to_date
from embedstore.store.predictions import KINDS, PredictionKind, Predictions, predicted_heads
from embedstore.store.runs import Runs
from embedstore.store.secrets import Secrets
from embedstore.store.stored_models import Augmenters, Heads
from embedstore.store.table import Caches, new_caches
from embedstore.store.tile import StoredTile
from embedstore.store.tokens import Tokens
from embedstore.store.views import Views


class Store:
    """An embedstore database.

    Args:
        uri: A directory, or a URI of an object store that LanceDB opens.
        caches: What Lance keeps of its tables; its own when None.
    """

    def __init__(self, uri: str | Path, caches: Caches | None = None):
        local = local_path(str(uri))
        self.uri = str(local) if local is not None else str(uri).rstrip("/")
        self._caches = caches or new_caches()
        self.ledger = Ledger(self.uri, self._caches)
        self.labels = Labels(self.uri, self._caches)
        self.heads = Heads(self.uri, self._caches)
        self.augmenters = Augmenters(self.uri, self._caches)
        self.tokens = Tokens(self.uri, self._caches)
        self.secrets = Secrets(self.uri, self._caches)
        self.access_log = AccessLog(self.uri, self._caches)
        self.jobs = Jobs(self.uri, self._caches)
        self.runs = Runs(self.uri, self._caches)

    @classmethod
    def open(cls, uri: str | Path) -> "Store":
        """Open an existing store.

        Raises:
            StoreNotFoundError: nothing there was written by embedstore.
            StoreFormatError: a newer version wrote it.
        """
        store = cls(uri)
        if not store._made():
            raise StoreNotFoundError(
                f"no store at {store.uri}: expected the tables slides and outcomes; "
                "check the path, or make a store with `embedstore ingest SLIDES --store PATH`"
            )
        store.ledger.check_format()
        return store

    @classmethod
    def create(cls, uri: str | Path) -> "Store":
        """Open a store, or create it."""
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

    def again(self) -> "Store":
        """The store with tables that are opened anew, for other threads; what Lance keeps of them is shared."""
        return Store(self.uri, self._caches)

    def of_slides(self, slides: Set[str]) -> "Store":
        """The store as somebody sees it who sees only some slides: its ledger and its labels.

        Labels of other slides, and those of patients without such a slide, are not there, and no change is about them.
        Collections and all else are as they are.
        """
        store = copy.copy(self)
        store.ledger = self.ledger.of_slides(slides)
        patients = {patient for patient in store.ledger.patients().values() if patient is not None}
        store.labels = self.labels.of_slides(slides, patients)
        return store

    def require_writable(self) -> None:
        """Check that the store can be written, before long work that ends with a write.

        Raises:
            AccessError: it cannot; the message names what lacks the permission.
            StoreBusyError: it is of an older format, and another process writes to it.
        """
        require_writable(self.uri)
        bring_up_to_date(self.uri)

    def _made(self) -> bool:
        return {"slides", "outcomes"} <= set(self.tables())

    def tables(self) -> list[str]:
        """Names of all its tables."""
        return table_names(self.uri)

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
            if not names:
                raise StoreError(f"{self.uri} has no collection yet; `embedstore ingest SLIDES` makes one")
            if len(names) > 1:
                raise StoreError(
                    f"{self.uri} has {len(names)} collections ({', '.join(names)}); name one with --collection"
                )
            name = names[0]
        collection = Collection(self.uri, name, self._caches)
        try:
            collection.dataset()
        except CollectionNotFoundError as error:
            known = ", ".join(self.collection_names()) or "none yet"
            raise CollectionNotFoundError(
                f"no collection {name!r} in {self.uri}; it has {known}; `embedstore ls` shows what they hold"
            ) from error
        return collection

    def table_name(self, collection: str) -> str:
        """The name of a collection's LanceDB table, for opening it without embedstore."""
        return PREFIX + collection

    def lease(
        self, collection: str, *, wait_s: float | None = None, give_up: Callable[[], bool] = lambda: False
    ) -> Lease:
        """The lease that writing to a collection or its views needs; arguments as of `Lease`."""
        return Lease(self.uri, PREFIX + collection, wait_s=wait_s, give_up=give_up)

    def writer_of(self, collection: str, *, but: str | None = None) -> str | None:
        """The process that holds a collection's lease, for people; None if nobody does, or the process `but`."""
        return holder_of(self.uri, PREFIX + collection, but=but)

    def views(self, collection: str) -> Views:
        """The table of a collection's stored views; there may be none yet."""
        return Views(self.uri, collection)

    def map(self, collection: str) -> CollectionMap:
        """The table of a collection's map; it may not exist yet."""
        return CollectionMap(self.uri, collection)

    def maps(self) -> list[CollectionMap]:
        """The tables of the maps of all collections that have one."""
        return [self.map(name) for name in mapped_collections(self.tables())]

    def encoding(self, collection: str, name: str) -> Encoding:
        """The table of vectors of a collection's slides, of that name; it may not exist yet."""
        return Encoding(self.uri, collection, name)

    def encodings(self, collection: str | None = None) -> list[Encoding]:
        """The tables of vectors of slides, of one collection or of all."""
        named = encoding_names(self.tables())
        return [self.encoding(of, name) for of, name in named if collection in (None, of)]

    # -- predictions ------------------------------------------------------------------------

    def predictions(self, head: str, kind: PredictionKind = "predictions") -> Predictions:
        """The table of a head's predictions, or of its attention; it may not exist yet."""
        return Predictions(self.uri, head, kind=kind)

    def prediction_names(self) -> list[str]:
        """The heads that have predictions, as they are now."""
        return [head for head in predicted_heads(self.tables()) if self.predictions(head).is_there()]

    def prediction_tables(self) -> list[Predictions]:
        """The tables of predictions and of attention, of every head."""
        names = self.tables()
        return [self.predictions(head, kind) for kind in KINDS for head in predicted_heads(names, kind)]

    def derived_tables(self) -> list[DerivedTable]:
        """The tables that have rows beside those of the collections: of predictions, attention, maps and encodings."""
        return [*self.prediction_tables(), *self.maps(), *self.encodings()]

    # -- one tile ---------------------------------------------------------------------------

    def tile(self, tile_id: int, *, collection: str | None = None) -> StoredTile:
        """A tile by its id, in one collection or in any.

        Raises:
            TileNotFoundError: no collection has it.
        """
        names = [collection] if collection else self.collection_names()
        for name in names:
            tile = self.collection(name).tile(tile_id)
            if tile is not None:
                return tile
        hint = ": ids of tiles have 64 bits" if abs(tile_id) >= LARGEST_TILE_ID else ""
        raise TileNotFoundError(
            f"no tile {tile_id} in {', '.join(names) or 'a store without collections'}{hint}; "
            "`embedstore ls --tiles` and every export show tile ids"
        )

    def tile_at(self, slide_id: str, xy_l0: tuple[int, int] | None, *, collection: str | None = None) -> StoredTile:
        """The tile of a slide that holds a level-0 pixel, as in `Collection.tile_at`; without a pixel, the first tile.

        Raises:
            TileNotFoundError: the slide has no tile there.
        """
        names = [collection] if collection else self.collection_names()
        for name in names:
            tiles = self.collection(name)
            tile = tiles.first_tile(slide_id) if xy_l0 is None else tiles.tile_at(slide_id, xy_l0)
            if tile is not None:
                return tile
        place = "" if xy_l0 is None else f" at {xy_l0[0]}, {xy_l0[1]}"
        raise TileNotFoundError(
            f"slide {slide_id!r} has no tile{place} in {', '.join(names) or 'a store without collections'}; "
            "`embedstore status` lists the slides, `embedstore ls --tiles N --slide ID` their tiles"
        )
