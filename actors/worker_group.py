"""Worker groups: an extractor with its readers, what makes their objects, and where their number follows a cluster."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from actors.committer import Committer
from actors.dispatch import WorkerHandle
from actors.extractor_worker import ExtractorWorker
from actors.reader import Reader
from actors.request import IngestRequest, TilingGroup
from embedstore.uris import is_uri, split_uri

if TYPE_CHECKING:  # of imports, whose layouts load h5py
    from actors.feature_reader import FeatureReader
    from actors.vector_writer import VectorWriter

#: Readers beside one extractor, at most: 16 read 4,000 tiles a second.
MAX_READERS = 16


def readers_beside(cores: int) -> int:
    """Number of readers beside one extractor that share its cores."""
    return min(MAX_READERS, max(1, cores - 1))


@dataclass(kw_only=True, eq=False)
class WorkerGroup:
    """An extractor and the readers that feed it, on one node.

    Attributes:
        records: The records of its extractors, once they have loaded their weights.
    """

    extractor: WorkerHandle
    readers: list[WorkerHandle]
    records: list[dict[str, Any]] | None = None

    @property
    def handles(self) -> list[WorkerHandle]:
        return [self.extractor, *self.readers]


class Fleet(Protocol):
    """Adds worker groups to a run as its cluster grows, and takes them away (`fleet.py`)."""

    #: So many groups are kept, also where little is left to do.
    fewest: int

    def lives(self, group: WorkerGroup) -> bool:
        """Whether the node of a group is there."""
        ...

    def grow(self, slides: int) -> list[WorkerGroup]:
        """New groups, where the cluster has room for some; it is asked for more room if the slides want it.

        Args:
            slides: Number of slides that have not ended.
        """
        ...

    def release(self, group: WorkerGroup, *, refuse: bool = False) -> None:
        """Stop a group's workers; with `refuse`, its node gets no other for some minutes."""
        ...

    def stop(self) -> None:
        """Ask the cluster for no more room."""
        ...


class MakeExtractor(Protocol):
    """Makes an extractor worker; `threads` is torch's number of threads on the CPU, its default when None."""

    def __call__(self, *, threads: int | None = None) -> "ExtractorWorker | VectorWriter": ...


@dataclass(frozen=True, kw_only=True)
class WorkerFactories:
    """Functions that make the objects behind the workers of one tiling group, in whichever process runs them.

    Attributes:
        tile_bytes: What a reader sends of a tile, bytes.
    """

    reader: "Callable[[], Reader | FeatureReader]"
    extractor: MakeExtractor
    committer: Callable[[], Committer]
    store_uri: str
    tile_bytes: int
    files: tuple[str, ...] = ()  # of slides and weights: absolute paths, and an address of each bucket

    @classmethod
    def of(cls, request: IngestRequest, group: TilingGroup, store_uri: str) -> "WorkerFactories":
        """The factories for a request; `store_uri` is absolute, as Ray's workers run in another directory."""
        config, run, execution = request.config_for(group), request.run, request.execution
        # Ray shows an actor its own GPU only, as the first one.
        device = "cuda" if execution.device.startswith("cuda") and not execution.in_process else execution.device
        slides = [source.path for source in request.sources]
        buckets = {split_uri(path)[0]: path for path in slides if is_uri(path)}
        return cls(
            reader=functools.partial(Reader, config, slide_cache_gb=run.slide_cache_gb),
            extractor=functools.partial(
                ExtractorWorker,
                store_uri,
                group.targets,
                device=device,
                batch_tiles=run.batch_tiles,
                views=config.views,
            ),
            committer=functools.partial(
                Committer, store_uri, sorted(group.collections), compact_every=run.compact_every
            ),
            store_uri=store_uri,
            tile_bytes=(1 + (config.views.count if config.views is not None else 0)) * 3 * config.tiling.tile_px**2,
            files=(*buckets.values(), *(path for path in (*_weights(group), *slides) if Path(path).is_absolute())),
        )


def _weights(group: TilingGroup) -> list[str]:
    """Files of the extractors: weights, and functions of the user's own."""
    refs = [(target.extractor.ref.rpartition(":")[0], target.extractor.weights) for target in group.targets]
    return [path for pair in refs for path in pair if path and Path(path).is_absolute() and Path(path).exists()]
