"""A latent augmenter: a trained network that predicts the embedding of a view from that of the tile."""

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray
from safetensors.numpy import load, save

from embedstore.config import ViewConfig, as_record
from embedstore.errors import AugmenterMismatchError, AugmenterNotFoundError
from embedstore.extractor_ref import ExtractorRef, why_unknown
from embedstore.store import Collection, Store, StoredAugmenter
from embedstore.views import PARAMETERS
from heads.augmentation.augmenter_record import AugmenterRecord
from heads.config import AugmenterConfig
from heads.networks.augmenter_network import AugmenterArrays, apply_augmenter, augmenter_network
from heads.networks.models import Network, from_arrays, to_arrays

_PARAMETER = "parameter."
#: Rows that go through the network at once; the last ones are padded, so that one program serves all.
BLOCK_ROWS = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Augmenter:
    """Predicts embeddings of views from those of their tiles, for one extractor.

    Attributes:
        name, collection: As in the store.
        extractor_digest: Digest of the extractor of the vectors that it takes.
        network, arrays: For `apply_augmenter(network, arrays, vectors, parameters)`.
        view_config: The views that it was trained on.
        config: How it was trained.
    """

    name: str
    collection: str
    extractor_digest: str
    network: Network
    arrays: AugmenterArrays
    view_config: ViewConfig
    config: AugmenterConfig

    @property
    def dim(self) -> int:
        return len(self.arrays.mean)

    def augment(self, vectors: NDArray[Any], parameters: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, dim) of views of tiles, from the tiles' vectors (n, dim) as they are stored.

        Args:
            parameters: (n, P) what is done to each tile, as `draw_parameters` gives it.
        Raises:
            AugmenterMismatchError: vectors of another size.
        """
        if vectors.shape[1] != self.dim:
            raise AugmenterMismatchError(
                f"augmenter {self.name!r} takes vectors of {self.dim} dimensions; found {vectors.shape[1]}; give it "
                f"those of collection {self.collection!r}"
            )
        out = np.empty((len(vectors), self.dim), np.float32)
        for start in range(0, len(vectors), BLOCK_ROWS):
            blocks = [np.asarray(a[start : start + BLOCK_ROWS]) for a in (vectors, parameters)]
            n = len(blocks[0])
            padded = (jnp.asarray(np.pad(block, ((0, BLOCK_ROWS - n), (0, 0)))) for block in blocks)
            out[start : start + n] = np.asarray(_apply(self.network, self.arrays, *padded))[:n]
        return out

    @property
    def digest(self) -> str:
        """Digest of everything that its outputs depend on."""
        text = repr((self.extractor_digest, as_record(self.view_config), self.config.heads))
        return hashlib.blake2b(self.to_bytes() + text.encode(), digest_size=16).hexdigest()

    def to_bytes(self) -> bytes:
        """Its arrays as safetensors."""
        arrays = {_PARAMETER + name: np.asarray(a) for name, a in to_arrays(self.arrays.parameters).items()}
        arrays |= {name: np.asarray(getattr(self.arrays, name)) for name in ("mean", "std", "scale", "bank")}
        return save({name: np.ascontiguousarray(a, np.float32) for name, a in sorted(arrays.items())})

    @classmethod
    def from_stored(cls, stored: StoredAugmenter) -> "Augmenter":
        """An augmenter as the store keeps it.

        Raises:
            AugmenterMismatchError: it was made for other parameters of views than this version has.
        """
        record, arrays = AugmenterRecord.from_record(stored.record), load(stored.parameters)
        if record.parameters != PARAMETERS:
            raise AugmenterMismatchError(
                f"augmenter {stored.name!r}, made by embedstore {record.embedstore}, takes the parameters of views "
                f"{', '.join(record.parameters)}; expected {', '.join(PARAMETERS)}; train it again with "
                "`embedstore fit-augmenter --replace`"
            )
        state = {name.removeprefix(_PARAMETER): a for name, a in arrays.items() if name.startswith(_PARAMETER)}
        others = {name: jnp.asarray(arrays[name]) for name in ("mean", "std", "scale", "bank")}
        return cls(
            name=stored.name,
            collection=stored.collection,
            extractor_digest=record.extractor.digest,
            network=augmenter_network(len(arrays["mean"]), record.config),
            arrays=AugmenterArrays(parameters=from_arrays(state), **others),
            view_config=record.view_config,
            config=record.config,
        )


def load_augmenter(store: Store, collection: Collection, name: str | None) -> Augmenter:
    """An augmenter for the vectors of a collection.

    Args:
        name: Which; the only one of the collection's extractor when None.
    Raises:
        AugmenterNotFoundError: there is none of that name, or without a name not exactly one of that extractor.
        AugmenterMismatchError: it was made for vectors of another extractor.
    """
    extractor = collection.extractor()
    stored = store.augmenters.get(_only_name(store, collection, extractor) if name is None else name)
    trained_on = ExtractorRef.from_record(stored.record["extractor"])
    if trained_on.digest != extractor.digest:
        raise AugmenterMismatchError(
            f"augmenter {stored.name!r} is one of another extractor: it was trained on vectors of {trained_on}, "
            f"collection {collection.name!r} has those of {extractor}"
            f"{why_unknown(trained_on.digest, extractor.digest)}; train one with "
            f"`embedstore fit-augmenter --collection {collection.name}`"
        )
    return Augmenter.from_stored(stored)


def augmenters_for(store: Store, collection: Collection) -> dict[str, AugmenterRecord]:
    """The augmenters of a collection's extractor: their records, by name."""
    digest = collection.extractor().digest
    return {
        stored.name: AugmenterRecord.from_record(stored.record)
        for stored in store.augmenters.summaries()
        if stored.record["extractor"]["digest"] == digest
    }


def _only_name(store: Store, collection: Collection, extractor: ExtractorRef) -> str:
    names = list(augmenters_for(store, collection))
    if len(names) == 1:
        return names[0]
    if names:
        raise AugmenterNotFoundError(
            f"{store.uri} has {len(names)} augmenters for {extractor.name}: {', '.join(names)}; name one with "
            "--augmenter"
        )
    others = [(row.name, ExtractorRef.from_record(row.record["extractor"])) for row in store.augmenters.summaries()]
    listing = ", ".join(f"{name} (of {other.name})" for name, other in others) or "none"
    raise AugmenterNotFoundError(
        f"no augmenter for vectors of {extractor.name}, which collection {collection.name!r} has, in {store.uri}; "
        f"it has {listing}; `embedstore fit-augmenter --collection {collection.name}` trains one"
    )


@partial(jax.jit, static_argnums=0)
def _apply(
    network: Network, arrays: AugmenterArrays, vectors: Float[Array, "n dim"], parameters: Float[Array, "n p"]
) -> Float[Array, "n dim"]:
    return apply_augmenter(network, arrays, vectors, parameters)
