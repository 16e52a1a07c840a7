"""What heads are fitted on: stored vectors, and where they are augmented stored views and a latent augmenter."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.encoding_record import EncoderRef
from embedstore.errors import ViewsNotFoundError
from embedstore.store import Collection, Store, read_vectors, read_views
from embedstore.store.vectors import room_for
from heads.augmentation.augmenter import Augmenter, augmenters_for, load_augmenter
from heads.augmentation.policies import default_policies
from heads.bags import pool
from heads.config import AugmentConfig, FitConfig
from heads.devices import device_bytes
from heads.encoded_bags import encoded_bags, slides_of_bags
from heads.examples import Examples
from heads.record import AugmenterUsed, ViewsUsed

#: Rows that are joined with their views at once.
_BLOCK_ROWS = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """The vectors of the examples of a fit, and how they are augmented.

    Attributes:
        vectors: A vector for each example (n, dim), or with views (n, 1 + views, dim), the original first; or the
            vectors of all bags (tiles, dim), one bag after the other.
        augment: The policies of the configuration, or the default ones where it names none.
        augmenter: The latent augmenter, where a policy uses one.
        views: The stored views among the vectors, if any.
        encoder: What made the vectors, if they are of slides.
        notes: What the user should know.
    """

    vectors: NDArray[Any]
    augment: tuple[AugmentConfig, ...]
    augmenter: Augmenter | None = None
    views: ViewsUsed | None = None
    encoder: EncoderRef | None = None
    notes: tuple[str, ...] = ()

    @property
    def augmenter_used(self) -> AugmenterUsed | None:
        """What a head's record says of the augmenter."""
        if self.augmenter is None:
            return None
        return AugmenterUsed(name=self.augmenter.name, digest=self.augmenter.digest)


def gather_training_data(
    store: Store, collection: Collection, examples: Examples, config: FitConfig, scratch: Path
) -> TrainingData:
    """Read the vectors of the examples, with what their augmentation needs.

    Args:
        scratch: A folder for what does not fit into memory; it must outlive the training data.
    Raises:
        VectorError: a vector or view holds NaN or infinity.
        ViewsNotFoundError: a policy uses stored views, and no example has any.
        AugmenterNotFoundError, AugmenterMismatchError: see `load_augmenter`.
        EncodingNotFoundError: slides are to be encoded, and some are not.
    """
    if config.encoder is not None:
        slides = slides_of_bags(collection, examples.bags, version=examples.version)
        ref, encoded = encoded_bags(store, collection, config.encoder, slides)
        return TrainingData(vectors=encoded, augment=config.policies, encoder=ref)
    vectors = _vectors(collection, examples, config, scratch)
    if config.augment is None and config.fits_tiles:
        return _with_default_policies(store, collection, examples, config, vectors, scratch)
    return _with_policies(store, collection, examples, config, vectors, scratch)


def _with_default_policies(
    store: Store, collection: Collection, examples: Examples, config: FitConfig, vectors: NDArray[Any], scratch: Path
) -> TrainingData:
    """None, and what the store holds: stored views, or a latent augmenter that is good enough."""
    views = store.views(collection.name)
    augmenters = augmenters_for(store, collection)
    learned = len(augmenters) == 1 and all(record.beats_original for record in augmenters.values())

    def try_with(views: int) -> TrainingData:
        policies = default_policies(len(examples), views=views, learned=learned)
        return _with_policies(store, collection, examples, replace(config, augment=policies), vectors, scratch)

    try:
        return try_with(views.config().count if views.exists() else 0)
    except ViewsNotFoundError:  # none of the labelled tiles has any
        return try_with(0)


def _with_policies(
    store: Store, collection: Collection, examples: Examples, config: FitConfig, vectors: NDArray[Any], scratch: Path
) -> TrainingData:
    """Augmented by the policies of the configuration."""
    data = TrainingData(vectors=vectors, augment=config.policies)
    if config.uses("learned"):
        data = replace(data, augmenter=load_augmenter(store, collection, config.augmenter))
    if config.uses("views"):
        vectors, views, notes = _with_views(store, collection, examples, vectors, scratch)
        data = replace(data, vectors=vectors, views=views, notes=notes)
    return data


def _with_views(
    store: Store, collection: Collection, examples: Examples, vectors: NDArray[Any], scratch: Path
) -> tuple[NDArray[Any], ViewsUsed, tuple[str, ...]]:
    """The vectors (n, 1 + views, dim) with their views, the record of these, and notes."""
    views = store.views(collection.name)
    if not views.exists():
        raise ViewsNotFoundError(
            f"collection {collection.name!r} has no stored views; expected some for augmentation by views; make them "
            "with `embedstore ingest … --views 4` over the same slides, or leave views out of --augment"
        )
    config = views.config()
    read = read_views(views, examples.ids, memory_map=_mapped(scratch / "views.npy", config.count * vectors.nbytes))
    with_views, n = int(read.found.sum()), len(examples)
    if not with_views:
        raise ViewsNotFoundError(
            f"not one of {n:,} labelled tiles of collection {collection.name!r} has stored views; make them with "
            "`embedstore ingest … --views` over their slides, or leave views out of --augment"
        )
    note = (
        f"{n - with_views:,} of {n:,} labelled tiles have no stored views, and are drawn as they are; "
        "`embedstore ingest … --views` over their slides makes them"
    )
    joined = _join_views(vectors, read.vectors, read.found, scratch / "with-views.npy")
    return joined, ViewsUsed(config=config, tiles=with_views), (note,) if with_views < n else ()


def _vectors(collection: Collection, examples: Examples, config: FitConfig, scratch: Path) -> NDArray[Any]:
    bags = examples.bags
    if config.model in ("mean", "max"):
        return pool(collection, bags, version=examples.version, how=config.model)
    rows = bags.rows
    memory_map = _mapped(scratch / "vectors.npy", 2 * collection.dim * len(rows))
    if (np.diff(rows) > 0).all():
        return read_vectors(collection, rows, version=examples.version, memory_map=memory_map)
    order = np.argsort(rows, kind="stable")  # slides of a patient, or a table that was compacted since
    in_table_order = read_vectors(collection, rows[order], version=examples.version, memory_map=memory_map)
    return in_table_order[np.argsort(order)]


def _join_views(vectors: NDArray[Any], views: NDArray[Any], found: NDArray[np.bool_], path: Path) -> NDArray[Any]:
    """(n, 1 + views, dim): each vector and its views, or itself again where it has none."""
    n, count, dim = views.shape
    out = room_for((n, 1 + count, dim), _mapped(path, 2 * n * (1 + count) * dim))
    for start in range(0, n, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        out[block, 0] = vectors[block]
        out[block, 1:] = np.where(found[block, None, None], views[block], vectors[block, None])
    return out


def _mapped(path: Path, size: int) -> Path | None:
    """The path if an array of so many bytes has to be a memory map; None if it fits into memory."""
    return path if size > 2 * device_bytes() else None
