"""What the routes share: the store, its collections, limits and counts. One object an application."""

import contextlib
import logging
import threading

from fastapi import Request

from embedstore.api import Collection, Store
from embedstore.errors import ConfigError, EmbedStoreError
from embedstore.progress import no_progress
from embedstore.service.extractors import OwnExtractors
from embedstore.service.jobs import JobManager
from embedstore.service.jobs.spool import spool_folder
from embedstore.service.known_tiles import KnownTiles
from embedstore.service.limits import Limits
from embedstore.service.metrics import Metrics
from embedstore.service.pictures import OpenSlides, Pictures, SlideFiles
from embedstore.service.pictures.byte_cache import ByteCache
from embedstore.service.security import Authenticator
from embedstore.service.security.access_recorder import AccessRecorder
from embedstore.service.security.projects import Projects
from embedstore.service.security.pseudonyms import Pseudonyms, read_key
from embedstore.service_config import ServiceConfig
from embedstore.slides import limit_slide_cache
from embedstore.store import Store as StoreTables

log = logging.getLogger(__name__)
#: Of rasters and pictures of curves that are kept, bytes.
DRAWN_BYTES = 64 << 20


class Service:
    """A store that is being served.

    Attributes:
        tables: Its tables.
        store: The store as Python sees it.
        config: The settings.
        slide_files: Where its slides lie.
        pictures: Pictures of its slides.
        known_tiles: Where tiles lie that were found lately.
        extractors: The extractors of its collections.
        authenticator: Finds out who asks.
        projects: Knows which slides a project has.
        access_log: Writes who looks at slides, and who changes what.
        pseudonyms: Of slides and patients; None where their names are shown.
        jobs: What is done in the background.
        drawn: Rasters and pictures of curves.
    """

    def __init__(self, store_uri: str, config: ServiceConfig):
        self.tables = StoreTables.open(store_uri)
        self.store = Store(self.tables)
        self.config = config
        self.authenticator = Authenticator(self.store, config.access, host=config.host)
        self.access_log = AccessRecorder(
            self.tables, looks=config.access.access_log, every=self.authenticator.record_use
        )
        self.projects = Projects(self.tables)
        self.pseudonyms: Pseudonyms | None = None
        if config.access.pseudonyms:
            self.pseudonyms = Pseudonyms(self.tables, read_key(self.tables, config.access.pseudonym_key))
        self.limits = Limits(config)
        limit_slide_cache(config.slide_cache_gb)
        self.pictures = Pictures(open_slides=OpenSlides(config.open_slides), cache_bytes=config.picture_cache_bytes)
        self.slide_files = SlideFiles(self.tables, on_change=self.pictures.forget_others)
        self.known_tiles = KnownTiles()
        self._joined = contextlib.ExitStack()
        if config.cluster is not None:
            from actors.cluster import cluster

            self._joined.enter_context(cluster(config.cluster))
        self.extractors = OwnExtractors(trusted=config.trust_extractor, on_cluster=config.cluster is not None)
        self.jobs = JobManager(
            self.tables,
            spool=spool_folder(config.spool, self.tables.uri),
            workers=config.jobs,
            cluster=config.cluster,
        )
        self.metrics = Metrics(self.limits, self.jobs)
        self.drawn = ByteCache(DRAWN_BYTES)
        self._collections: dict[str, Collection] = {}
        self._lock = threading.Lock()

    def collection(self, name: str) -> Collection:
        """A collection by name, the same object each time: it keeps what it has read.

        Raises:
            CollectionNotFoundError: there is none of that name.
        """
        with self._lock:
            if name not in self._collections:
                self._collections[name] = self._keep_warm(self.store.collection(name))
            return self._collections[name]

    def _keep_warm(self, collection: Collection) -> Collection:
        """Begin to keep a large collection warm, in the background; without faiss, searches go on as they are."""
        if 0 < self.config.warm_tiles <= len(collection):
            try:
                collection.warm(wait=False, on_progress=no_progress)
            except ConfigError as error:
                log.warning("collection %s is searched without vectors in memory: %s", collection.name, error)
        return collection

    def start(self) -> None:
        """Begin what runs beside the requests."""
        for name in self.tables.collection_names():
            self.collection(name)
        self.access_log.start()
        self.jobs.start()

    def close(self) -> None:
        """End what runs beside the requests."""
        for collection in self._collections.values():
            collection.cool()
        self.access_log.close()
        with contextlib.suppress(EmbedStoreError, OSError):  # it only tells when tokens were last used
            self.authenticator.record_use(now=True)
        self.pictures.close()
        self.jobs.close()
        self._joined.close()


def service_of(request: Request) -> Service:
    """The service that a request was sent to."""
    service: Service = request.app.state.service
    return service
