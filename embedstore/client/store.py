"""A store that a service serves; as `embedstore.Store`."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from embedstore.client.access_log import RemoteAccessLog
from embedstore.client.collection import RemoteCollection
from embedstore.client.connection import Connection, path
from embedstore.client.not_remote import only_at_store
from embedstore.client.tile_pictures import tile_picture
from embedstore.errors import StoreError
from embedstore.result_table import Table, card
from embedstore.settings import as_names
from embedstore.version import __version__

if TYPE_CHECKING:
    from PIL import Image


class RemoteStore:
    """A database of tile embeddings that a service serves.

    Methods, arguments and errors are those of `embedstore.Store`. It may be used by many threads at once. `close`, or
    the end of a `with`, closes its connections.
    """

    def __init__(self, connection: Connection):
        self._connection = connection

    @property
    def uri(self) -> str:
        """The URL of the service."""
        return self._connection.url

    def close(self) -> None:
        """Close the connections to the service."""
        self._connection.close()

    def __enter__(self) -> "RemoteStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what it holds ----------------------------------------------------------------------

    @property
    def collections(self) -> list[RemoteCollection]:
        """Its collections, by name."""
        return [RemoteCollection(self._connection, facts["name"]) for facts in self._connection.get("/api/collections")]

    def collection(self, name: str | None = None) -> RemoteCollection:
        """A collection by name; without a name, the only one. Errors as of `embedstore.Store.collection`."""
        if name is None:
            names = [collection.name for collection in self.collections]
            if not names:
                raise StoreError(f"{self.uri} has no collection yet; `embedstore ingest SLIDES` makes one")
            if len(names) > 1:
                raise StoreError(
                    f"{self.uri} has {len(names)} collections ({', '.join(names)}); name one with --collection"
                )
            name = names[0]
        collection = RemoteCollection(self._connection, name)
        collection.summary()
        return collection

    @property
    def slides(self) -> Table:
        """Every slide that the token shows, a row each, with the columns of the user's list that are shown."""
        return Table(self._connection.table("/api/slides"), title="slides")

    @property
    def status(self) -> Table:
        """The outcome for each slide in each collection: state, tiles, reader, seconds, and the reason of a failure."""
        return self.outcomes()

    def outcomes(
        self,
        *,
        collection: str | None = None,
        states: Sequence[Literal["done", "empty", "failed"]] = (),
        slide_id: str | None = None,
    ) -> Table:
        """The rows of `status` for one collection, some states, or one slide; first what became of each."""
        rows = self._connection.table("/api/outcomes", collection=collection, state=list(states), slide_id=slide_id)
        return Table(rows, title="outcomes")

    def tile(self, tile_id: int, *, collection: str | None = None) -> dict[str, Any]:
        """A tile's row, with its vector; errors as of `embedstore.Store.tile`."""
        return _tile_row(self._connection.get(path("tiles", tile_id), collection=collection, vector=True))

    def tile_at(
        self, slide_id: str, xy_l0: tuple[int, int] | None = None, *, collection: str | None = None
    ) -> dict[str, Any]:
        """The row, as of `tile`, of the tile at a level-0 pixel of a slide; without a pixel, of its first tile."""
        x, y = xy_l0 or (None, None)
        row = self._connection.get("/api/tile-at", slide_id=slide_id, x=x, y=y, collection=collection, vector=True)
        return _tile_row(row)

    def tile_picture(self, row: dict[str, Any]) -> "Image.Image":
        """The picture of a tile as its extractor saw it, as JPEG; `row` is from `tile` or `tile_at`."""
        return tile_picture(self._connection, row["collection"], row["tile_id"])

    def slide(self, slide_id: str) -> dict[str, Any]:
        """A slide's row, with the columns that the service shows.

        Raises:
            SlideNotInStoreError: there is no such slide.
        """
        return self._connection.table(path("slides", slide_id)).to_pylist()[0]

    # -- upkeep -----------------------------------------------------------------------------

    @property
    def access_log(self) -> RemoteAccessLog:
        """What was asked of it through the service, and by whom; only for an administrator."""
        return RemoteAccessLog(self._connection)

    def remove(self, *, slides: Sequence[str] = (), patients: Sequence[str] = ()) -> dict[str, int]:
        """Remove slides, or all slides of patients, from every table; {collection: tiles removed}.

        Raises:
            SlideNotInStoreError: one of them is not in the store; nothing is removed.
        """
        body = {"slides": list(as_names(slides)), "patients": list(as_names(patients))}
        tiles: dict[str, int] = self._connection.post("/api/remove", body)["tiles"]
        return tiles

    # -- what works only where its files are ------------------------------------------------

    ingest = only_at_store("Store.ingest")
    estimate_ingest = only_at_store("Store.estimate_ingest")
    remove_columns = only_at_store("Store.remove_columns")
    tokens = property(only_at_store("Store.tokens"))

    def __repr__(self) -> str:
        names = ", ".join(collection.name for collection in self.collections)
        return f"<Store {self.uri!r}: {names or 'no collection yet'}>"

    def _repr_html_(self) -> str:
        store = self._connection.get("/api")
        facts: dict[str, object] = {"slides": f"{store['slides']:,}"}
        for collection in self._connection.get("/api/collections"):
            facts[collection["name"]] = f"{collection['tiles']:,} tiles of {collection['slides']:,} slides"
        facts["tasks with labels"] = ", ".join(store["tasks"]) or "none"
        facts["heads"] = ", ".join(store["heads"]) or "none"
        return card(f"Store {self.uri}", facts)


def connect(url: str, *, token: str | None = None) -> RemoteStore:
    """A store that `embedstore serve` serves: the same calls as of `embedstore.open`, over HTTP.

    Args:
        url: Of the service, such as http://127.0.0.1:8765.
        token: From `embedstore token create`; None where the service asks for none.
    Raises:
        ServiceNotReachableError: nothing answers there, or no service of embedstore.
        NotAuthenticatedError: the service wants a token, or another one.
        ConfigError: the URL is none of a service.
    """
    return connected(Connection(url, token=token))


def connected(connection: Connection) -> RemoteStore:
    """The store behind a connection, once its service has answered; a warning where that is of another version."""
    try:
        version = connection.get("/api").get("version", "")
    except BaseException:
        connection.close()
        raise
    if _series(version) != _series(__version__):
        warnings.warn(
            f"{connection.url} is served by embedstore {version}, and this is {__version__}: some calls may fail; "
            "install the same version on both sides",
            UserWarning,
            stacklevel=3,
        )
    return RemoteStore(connection)


def _series(version: str) -> list[str]:
    """The part of a version that has to be the same: its first two numbers."""
    return version.split(".")[:2]


def _tile_row(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "tile_id": int(row["tile_id"])}
