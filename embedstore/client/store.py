"""A store that a service serves; as `embedstore.Store`."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embedstore.arguments import checks_arguments
from embedstore.client.access_log import RemoteAccessLog
from embedstore.client.augmenter import RemoteAugmenter
from embedstore.client.collection import RemoteCollection
from embedstore.client.connection import Connection, path
from embedstore.client.evaluating import evaluate_over
from embedstore.client.exports import export_over
from embedstore.client.head import RemoteHead, head_facts
from embedstore.client.jobs import plain_settings, run_job
from embedstore.client.labels import RemoteLabels
from embedstore.client.not_remote import only_at_store
from embedstore.client.tile_pictures import tile_picture
from embedstore.errors import AugmenterNotFoundError, ConfigError, StoreError
from embedstore.progress import OnProgress
from embedstore.result_table import Table, card
from embedstore.settings import as_names, build_config
from embedstore.tile_rows import check_tile_rows
from embedstore.version import __version__

if TYPE_CHECKING:
    from PIL import Image

    from embedstore.api import Evaluations, ExtractorSelection
    from embedstore.export import ExportResult
    from embedstore.export_format import ExportFormat
    from embedstore.extractors import ExtractorConfig
    from heads.config import AugmenterConfig, EvaluateConfig, FitConfig, SelectConfig


@checks_arguments
class RemoteStore:
    """A database of tile embeddings that a service serves.

    Methods, arguments and errors are those of `embedstore.Store`. It may be used by many threads at once. `close`, or
    the end of a `with`, closes its connections.

    Attributes:
        labels: Its labels.
    """

    def __init__(self, connection: Connection):
        self._connection = connection
        self.labels = RemoteLabels(connection)

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

    @property
    def runs(self) -> Table:
        """Every ingest that runs or ran, as of `embedstore.Store.runs`; only for an administrator of all slides."""
        return Table(self._connection.table("/api/runs"), title="runs")

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
        check_tile_rows([row], ("collection", "tile_id"))
        return tile_picture(self._connection, row["collection"], row["tile_id"])

    @property
    def heads(self) -> list[RemoteHead]:
        """Its heads, by name."""
        return [RemoteHead(self._connection, facts) for facts in self._connection.get("/api/heads")]

    def head(self, name: str) -> RemoteHead:
        """A head by name.

        Raises:
            HeadNotFoundError: there is none of that name.
        """
        return RemoteHead(self._connection, head_facts(self._connection, name))

    @property
    def augmenters(self) -> list[RemoteAugmenter]:
        """Its latent augmenters, by name."""
        return [RemoteAugmenter(self._connection, facts) for facts in self._connection.get("/api/augmenters")]

    def augmenter(self, name: str) -> RemoteAugmenter:
        """A latent augmenter by name.

        Raises:
            AugmenterNotFoundError: there is none of that name.
        """
        for augmenter in self.augmenters:
            if augmenter.name == name:
                return augmenter
        self._connection.get(path("augmenters", name))  # its error suggests similar names
        raise AugmenterNotFoundError(f"the store has no augmenter {name!r} any more")

    def slide(self, slide_id: str) -> dict[str, Any]:
        """A slide's row, with the columns that the service shows.

        Raises:
            SlideNotInStoreError: there is no such slide.
        """
        return self._connection.table(path("slides", slide_id)).to_pylist()[0]

    # -- heads ------------------------------------------------------------------------------

    def fit_head(
        self,
        task: str,
        config: "FitConfig | None" = None,
        *,
        name: str | None = None,
        collection: str | None = None,
        where: str | None = None,
        replace: bool = False,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> RemoteHead:
        """Fit a head for a task from stored vectors; no pixel is read.

        Arguments and errors as of `embedstore.Store.fit_head`. The service does it as a job; Ctrl-C cancels that.
        """
        names = None if name is None else [name]
        return self.fit_heads(
            [task], config, names=names, collection=collection, where=where, replace=replace,
            on_progress=on_progress, **settings,
        )[0]  # fmt: skip

    def fit_heads(
        self,
        tasks: Sequence[str],
        config: "FitConfig | None" = None,
        *,
        names: Sequence[str] | None = None,
        collection: str | None = None,
        where: str | None = None,
        replace: bool = False,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> list[RemoteHead]:
        """Fit a head for each of several tasks in one pass over the vectors. Arguments as in `fit_head`."""
        result = self._job(
            "/api/heads", on_progress, tasks=list(tasks), names=list(names or ()), collection=collection, where=where,
            replace=replace, settings=plain_settings(config, settings),
        )  # fmt: skip
        return [self.head(head["name"]) for head in result["heads"]]

    def zero_shot_head(
        self,
        task: str,
        classes: "Mapping[str, str | Sequence[str]] | str | Path",
        *,
        name: str | None = None,
        collection: str | None = None,
        replace: bool = False,
        trust_extractor: bool = False,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> RemoteHead:
        """Make a head for tiles of words alone, where the collection's extractor has a text tower.

        Arguments and errors as of `embedstore.Store.zero_shot_head`; a file is read on this machine. Whether the
        function of a user is run, the service decides. It does it as a job; Ctrl-C cancels that.
        """
        from heads.prompts import ZeroShotConfig, read_prompts

        given = read_prompts(classes) if isinstance(classes, str | Path) else {"classes": classes}
        config = build_config(ZeroShotConfig, None, **{**given, **settings})
        result = self._job(
            "/api/heads/zero-shot", on_progress, task=task, name=name, collection=collection, replace=replace,
            settings=plain_settings(config, {}),
        )  # fmt: skip
        return self.head(result["name"])

    def fit_augmenter(
        self,
        config: "AugmenterConfig | None" = None,
        *,
        collection: str | None = None,
        name: str | None = None,
        where: str | None = None,
        force: bool = False,
        replace: bool = False,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> RemoteAugmenter:
        """Train a small network that predicts the vector of an augmented tile from the vector of the tile.

        Arguments and errors as of `embedstore.Store.fit_augmenter`. The service does it as a job; Ctrl-C cancels that.
        """
        result = self._job(
            "/api/augmenters", on_progress, collection=collection, name=name, where=where, force=force,
            replace=replace, settings=plain_settings(config, settings),
        )  # fmt: skip
        return self.augmenter(result["name"])

    def select_extractor(
        self,
        task: str,
        candidates: "Sequence[str | ExtractorConfig]",
        config: "SelectConfig | None" = None,
        *,
        collection: str | None = None,
        rank_check: Sequence[str] = (),
        where: str | None = None,
        tile_px: int | None = None,
        mpp: float | None = None,
        device: str = "auto",
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> "ExtractorSelection":
        """Compare candidates for an extractor on a sample of a task's labelled tiles.

        Arguments and errors as of `embedstore.Store.select_extractor`, but for `device`, which the service chooses, and
        for candidates, which are names of its catalogue. The service does it as a job; Ctrl-C cancels that.
        """
        if device != "auto" or not all(isinstance(candidate, str) for candidate in candidates):
            raise ConfigError(
                "over HTTP, candidates are names of the catalogue, and the service chooses the device; run "
                "`embedstore select-extractor` where the store is for others"
            )
        from embedstore.api import ExtractorSelection
        from heads.select import SelectionReport

        result = self._job(
            "/api/select-extractor", on_progress, task=task, candidates=list(candidates), collection=collection,
            rank_check=list(rank_check), where=where, tile_px=tile_px, mpp=mpp,
            settings=plain_settings(config, settings),
        )  # fmt: skip
        return ExtractorSelection(SelectionReport.from_record(result))

    def evaluate(
        self,
        heads: Sequence[str],
        config: "EvaluateConfig | None" = None,
        *,
        collection: RemoteCollection | str | None = None,
        where: str | None = None,
        predictions: str | Path | None = None,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> "Evaluations":
        """Evaluate heads on labelled slides that they were not fitted on.

        Arguments and errors as of `embedstore.Store.evaluate`, but for collections, which are of the same service, and
        predictions, which `RemoteHead.predict` makes. The service does it as a job; Ctrl-C cancels that.
        """
        return evaluate_over(
            self._connection, as_names(heads), config, collection=collection, where=where, predictions=predictions,
            on_progress=on_progress, **settings,
        )  # fmt: skip

    # -- export -----------------------------------------------------------------------------

    def export(
        self,
        path: str | Path,
        *,
        format: "ExportFormat | None" = None,
        head: str | None = None,
        collection: str | None = None,
        slides: Sequence[str] = (),
        where: str | None = None,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> "ExportResult":
        """Write the predictions of a head, or the embeddings of a collection, on this machine.

        Arguments and errors as of `embedstore.Store.export`. The service does it as a job; Ctrl-C cancels that.
        """
        return export_over(
            self._connection, path, format=format, head=head, collection=collection, slides=slides, where=where,
            on_progress=on_progress, **settings,
        )  # fmt: skip

    # -- upkeep -----------------------------------------------------------------------------

    @property
    def access_log(self) -> RemoteAccessLog:
        """What was asked of it through the service, and by whom; only for an administrator."""
        return RemoteAccessLog(self._connection)

    def find_slides(self, *, slides: Sequence[str] = (), patients: Sequence[str] = ()) -> list[str]:
        """Ids of the given slides and of all slides of the given patients.

        Raises:
            SlideNotInStoreError: one of them is not in the store.
        """
        return self._connection.get("/api/find-slides", slide=list(as_names(slides)), patient=list(as_names(patients)))

    def count_views(self, collection: str) -> int:
        """Number of stored views of a collection.

        Raises:
            CollectionNotFoundError, ViewsNotFoundError: there is no such collection, or it has no views.
        """
        return self._connection.get(path("collections", collection, "views"))["views"]

    def remove(self, *, slides: Sequence[str] = (), patients: Sequence[str] = ()) -> dict[str, int]:
        """Remove slides, or all slides of patients, from every table; {collection: tiles removed}.

        Raises:
            SlideNotInStoreError: one of them is not in the store; nothing is removed.
        """
        body = {"slides": list(as_names(slides)), "patients": list(as_names(patients))}
        tiles: dict[str, int] = self._connection.post("/api/remove", body)["tiles"]
        return tiles

    def remove_views(self, collection: str) -> int:
        """Remove the stored views of a collection; returns their number.

        Raises:
            ViewsNotFoundError: there are none.
        """
        return self._connection.delete(path("collections", collection, "views"))["views"]

    def compact(self, *, keep_hours: float = 1.0, on_progress: OnProgress | None = None) -> dict[str, dict[str, int]]:
        """Merge small files, purge removed rows and forget old versions.

        Arguments as of `embedstore.Store.compact`. The service does it as a job; Ctrl-C cancels that.
        """
        return self._job("/api/compact", on_progress, keep_hours=keep_hours)["collections"]

    def _job(self, route: str, on_progress: OnProgress | None, **body: Any) -> dict[str, Any]:
        job = self._connection.post(route, {name: value for name, value in body.items() if value not in (None, [], {})})
        return run_job(self._connection, job, on_progress)

    # -- what works only where its files are ------------------------------------------------

    export_layout = only_at_store("Store.export_layout")
    ingest = only_at_store("Store.ingest")
    estimate_ingest = only_at_store("Store.estimate_ingest")
    import_features = only_at_store("Store.import_features")
    remove_collection = only_at_store("Store.remove_collection")
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
