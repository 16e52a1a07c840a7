"""A latent augmenter: a trained network, what it expects, and what it makes of vectors."""

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from embedstore.config import ViewConfig, as_record
from embedstore.errors import AugmenterMismatchError, AugmenterNotFoundError
from embedstore.store import Collection, Store, StoredAugmenter
from embedstore.views import PARAMETERS
from heads.config import AugmenterConfig
from heads.networks.augmenter_network import AugmenterArrays, apply_augmenter, augmenter_network
from heads.networks.models import Network, from_arrays, to_arrays

_PARAMETER = "parameter."
#: Rows that go through the network at once; the last ones are padded, so that one program serves all.
BLOCK_ROWS = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Augmenter:
    """What takes embeddings of one extractor to those of views of their tiles.

    Attributes:
        name, collection: As in the store.
        extractor_digest: Of the extractor of the vectors that it takes.
        network, latent: What a traced program takes: `apply_augmenter(network, latent, vectors, parameters)`.
        view_config: The views that it was trained on.
        config: How.
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
        """Of everything that its answers hang on."""
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
        record, arrays = stored.record, load(stored.parameters)
        if tuple(record["parameters"]) != PARAMETERS:
            raise AugmenterMismatchError(
                f"augmenter {stored.name!r}, made by embedstore {record['embedstore']}, takes the parameters of views "
                f"{', '.join(record['parameters'])}; expected {', '.join(PARAMETERS)}; make it anew with "
                "`embedstore fit-augmenter --replace`"
            )
        config = AugmenterConfig(**record["config"])
        state = {name.removeprefix(_PARAMETER): a for name, a in arrays.items() if name.startswith(_PARAMETER)}
        own = {name: jnp.asarray(arrays[name]) for name in ("mean", "std", "scale", "bank")}
        return cls(
            name=stored.name,
            collection=stored.collection,
            extractor_digest=record["extractor"]["digest"],
            network=augmenter_network(len(arrays["mean"]), config),
            arrays=AugmenterArrays(parameters=from_arrays(state), **own),
            view_config=ViewConfig(**record["views"]["config"]),
            config=config,
        )


def load_augmenter(store: Store, collection: Collection, name: str | None) -> Augmenter:
    """An augmenter for the vectors of a collection.

    Args:
        name: Which; the only one of the collection's extractor when None.
    Raises:
        AugmenterNotFoundError: there is none of that name, or without a name not exactly one of that extractor.
        AugmenterMismatchError: it was made for vectors of another extractor.
    """
    extractor = collection.record()["extractor"]
    if name is None:
        name = _only_one(store, collection, extractor)
    stored = store.augmenters.get(name)
    own = stored.record["extractor"]
    if own["digest"] != extractor["digest"]:
        raise AugmenterMismatchError(
            f"augmenter {name!r} is one of another extractor: it was made for vectors of {own['name']} "
            f"({own['digest']}), collection {collection.name!r} has those of {extractor['name']} "
            f"({extractor['digest']}); make one with `embedstore fit-augmenter --collection {collection.name}`"
        )
    return Augmenter.from_stored(stored)


def augmenters_for(store: Store, collection: Collection) -> list[StoredAugmenter]:
    """The augmenters of a collection's extractor, without their parameters."""
    digest = collection.record()["extractor"]["digest"]
    return [one for one in store.augmenters.summaries() if one.record["extractor"]["digest"] == digest]


def _only_one(store: Store, collection: Collection, extractor: dict[str, Any]) -> str:
    fitting = [one.name for one in augmenters_for(store, collection)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise AugmenterNotFoundError(
            f"{store.uri} has {len(fitting)} augmenters for {extractor['name']}: {', '.join(fitting)}; name one with "
            "--augmenter"
        )
    there = store.augmenters.summaries()
    others = ", ".join(f"{one.name} (of {one.record['extractor']['name']})" for one in there) or "none"
    raise AugmenterNotFoundError(
        f"no augmenter for vectors of {extractor['name']}, which collection {collection.name!r} has, in {store.uri}; "
        f"it has {others}; `embedstore fit-augmenter --collection {collection.name}` makes one"
    )


@partial(jax.jit, static_argnums=0)
def _apply(network, arrays: AugmenterArrays, vectors, parameters):
    return apply_augmenter(network, arrays, vectors, parameters)
