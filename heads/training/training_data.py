"""What a head is fitted from: vectors, with stored views where they are asked for, and a latent augmenter."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ViewsNotFoundError
from embedstore.store import Collection, Store, read_vectors, read_views
from embedstore.store.vectors import room_for
from heads.augmentation.augmenter import Augmenter, augmenters_for, load_augmenter
from heads.augmentation.policies import default_policy
from heads.bags import pool
from heads.config import TILE_MODELS, AugmentConfig, FitConfig
from heads.devices import device_bytes
from heads.examples import Examples
from heads.record import AugmenterUsed, ViewsUsed

#: Rows that are laid beside their views at once.
_BLOCK_ROWS = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """What the examples of a fit are made of.

    Attributes:
        vectors: What the model sees: a vector for each example (n, dim), or with views (n, 1 + views, dim), the
            original first; or the vectors of all bags (tiles, dim), one bag after the other.
        augment: The augmentation that was asked for, or where that was left open what there are the means for.
        augmenter: What takes a vector to that of a view, where that is wanted.
        views: The stored views among the vectors.
        notes: What the user should know.
    """

    vectors: NDArray[Any]
    augment: tuple[AugmentConfig, ...]
    augmenter: Augmenter | None = None
    views: ViewsUsed | None = None
    notes: tuple[str, ...] = ()

    @property
    def augmenter_used(self) -> AugmenterUsed | None:
        """What a head keeps of the augmenter, to be fitted again."""
        if self.augmenter is None:
            return None
        return AugmenterUsed(name=self.augmenter.name, digest=self.augmenter.digest)


def gather_training_data(
    store: Store, collection: Collection, examples: Examples, config: FitConfig, scratch: Path
) -> TrainingData:
    """Read what a fit needs.

    Args:
        scratch: A folder for what does not fit into memory; it must outlive the training data.
    Raises:
        VectorError: a vector or view holds NaN or infinity.
        ViewsNotFoundError: views are asked for, and no example has any.
        AugmenterNotFoundError, AugmenterMismatchError: see `load_augmenter`.
    """
    vectors = _vectors(collection, examples, config, scratch)
    if config.augment is None and config.model in TILE_MODELS:
        return _with_default_policy(store, collection, examples, config, vectors, scratch)
    return _with_policies(store, collection, examples, config, vectors, scratch)


def _with_default_policy(
    store: Store, collection: Collection, examples: Examples, config: FitConfig, vectors: NDArray[Any], scratch: Path
) -> TrainingData:
    """With the augmentation that the store has the means for."""
    views = store.views(collection.name)
    augmenters = augmenters_for(store, collection)
    learned = len(augmenters) == 1 and all(record.beats_original for record in augmenters.values())
    for count in (views.config().count if views.exists() else 0, 0):
        policy = default_policy(len(examples), views=count, learned=learned)
        try:
            found = _with_policies(store, collection, examples, replace(config, augment=(policy,)), vectors, scratch)
        except ViewsNotFoundError:
            continue  # none of the labelled tiles has any
        break
    if not policy.is_on:
        return found
    note = f"augmented by {policy}, which the store has the means for; `--augment none` leaves it out"
    return replace(found, notes=(*found.notes, note))


def _with_policies(
    store: Store, collection: Collection, examples: Examples, config: FitConfig, vectors: NDArray[Any], scratch: Path
) -> TrainingData:
    """With the augmentation that a configuration names."""
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
    """Vectors with their views, what is recorded of these, and notes."""
    views = store.views(collection.name)
    if not views.exists():
        raise ViewsNotFoundError(
            f"collection {collection.name!r} has no stored views; expected some for augmentation by views; make them "
            "with `embedstore ingest … --views 4` over the same slides, or leave views out of --augment"
        )
    config = views.config()
    read = read_views(views, examples.ids, memory_map=_mapped(scratch / "views.npy", config.count * vectors.nbytes))
    found, n = int(read.found.sum()), len(examples)
    if not found:
        raise ViewsNotFoundError(
            f"not one of {n:,} labelled tiles of collection {collection.name!r} has stored views; make them with "
            "`embedstore ingest … --views` over their slides, or leave views out of --augment"
        )
    note = (
        f"{n - found:,} of {n:,} labelled tiles have no stored views, and are drawn as they are; "
        "`embedstore ingest … --views` over their slides makes them"
    )
    both = _beside(vectors, read.vectors, read.found, scratch / "with-views.npy")
    return both, ViewsUsed(config=config, tiles=found), (note,) if found < n else ()


def _vectors(collection: Collection, examples: Examples, config: FitConfig, scratch: Path) -> NDArray[Any]:
    bags = examples.bags
    if config.model in ("mean", "max"):
        return pool(collection, bags, version=examples.version, how=config.model)
    rows = bags.rows
    memory_map = _mapped(scratch / "vectors.npy", 2 * collection.dim * len(rows))
    if (np.diff(rows) > 0).all():
        return read_vectors(collection, rows, version=examples.version, memory_map=memory_map)
    order = np.argsort(rows, kind="stable")  # slides of a patient, or a table that was compacted since
    read = read_vectors(collection, rows[order], version=examples.version, memory_map=memory_map)
    back = np.empty(len(rows), np.int64)
    back[order] = np.arange(len(rows))
    return read[back]


def _beside(vectors: NDArray[Any], views: NDArray[Any], found: NDArray[np.bool_], path: Path) -> NDArray[Any]:
    """(n, 1 + views, dim): each vector and its views, or itself again where it has none."""
    n, count, dim = views.shape
    out = room_for((n, 1 + count, dim), _mapped(path, 2 * n * (1 + count) * dim))
    for start in range(0, n, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        out[block, 0] = vectors[block]
        out[block, 1:] = np.where(found[block, None, None], views[block], vectors[block, None])
    return out


def _mapped(path: Path, size: int) -> Path | None:
    """The path where so many bytes are too many for memory."""
    return path if size > 2 * device_bytes() else None
