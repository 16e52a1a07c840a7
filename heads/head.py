"""A head: members that were fitted on different folds or from different seeds, and what is made of their answers."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray
from safetensors.numpy import load, save
from scipy.special import expit
from scipy.special import softmax as softmax_of

from embedstore.store import PredictionFacts, StoredHead
from heads.models import Network, Parameters, apply, from_arrays, network_of, to_arrays
from heads.problem import is_softmax, standardise

_PARAMETER = "parameter."
#: Rows that go through a head at once; the last ones are padded, so that one program serves all.
BLOCK_ROWS = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Members:
    """Fitted networks, M of them, and how each reads vectors and gives probabilities.

    Attributes:
        network: Their network.
        parameters: (M, …) each.
        mean, std: (dim,) that vectors are standardised by.
        shift, scale: (M, dim), on top of that: each by its own training data.
        offset: (M, columns) that is added to logits: it takes out the weights that classes had in fitting, so that
            probabilities are those of the classes as they come (Elkan 2001).
        temperature: (M,) that logits are divided by (Guo et al. 2017).
    """

    network: Network
    parameters: Parameters
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    shift: NDArray[np.float32]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    temperature: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.temperature)

    def logits(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """(M, n, columns) of tiles (n, dim), as the networks give them, without offset and temperature."""
        n = len(vectors)
        parts = []
        for start in range(0, n, BLOCK_ROWS):
            block = np.asarray(vectors[start : start + BLOCK_ROWS])
            block = np.pad(block, ((0, BLOCK_ROWS - len(block)), (0, 0)))
            standard = self.mean, self.std, self.shift, self.scale
            parts.append(np.asarray(_logits(self.network, self.parameters, *standard, jnp.asarray(block))))
        empty = np.zeros((len(self), 0, self.offset.shape[1]), np.float32)
        return np.concatenate([empty, *parts], axis=1)[:, :n]

    def probabilities(self, logits: NDArray[np.float32], *, softmax: bool, binary: bool) -> NDArray[np.float32]:
        """(n, classes): the mean over members of their calibrated probabilities."""
        settled = (logits + self.offset[:, None]) / self.temperature[:, None, None]
        found = (softmax_of(settled, axis=-1) if softmax else expit(settled)).mean(axis=0)
        return np.concatenate([1 - found, found], axis=1) if binary else found


@partial(jax.jit, static_argnums=0)
def _logits(network, parameters, mean, std, shift, scale, block) -> Float[Array, "members n k"]:
    x = standardise(block, mean, std)
    return jax.vmap(lambda p, by, per: apply(network, p, x, by, per, None))(parameters, shift, scale)


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """A classifier of one task on the vectors of one collection.

    Attributes:
        name, task, collection: As in the store.
        extractor_digest: Of the extractor of the vectors that it takes.
        model, level: What it is, and what it looks at.
        classes: In the order of its probabilities.
        multi_label: A place may be of several classes.
        positive: Of two classes, the one that is thresholded.
        thresholds: (classes,): see `decide`.
        members: The fitted networks.
    """

    name: str
    task: str
    collection: str
    extractor_digest: str
    model: str
    level: str
    classes: tuple[str, ...]
    multi_label: bool
    positive: str | None
    thresholds: NDArray[np.float32]
    members: Members

    @property
    def binary(self) -> bool:
        return is_binary(self.classes, self.multi_label)

    def probabilities(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """(n, classes) of tiles (n, dim) as they are stored."""
        return self.settle(self.members.logits(vectors))

    def settle(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (n, classes) from the members' logits (M, n, columns)."""
        softmax = is_softmax(len(self.classes), self.multi_label)
        return self.members.probabilities(logits, softmax=softmax, binary=self.binary)

    def decide(self, found: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which classes (n, classes) are decided on; see `decide`."""
        return decide(found, self.thresholds, self.classes, self.multi_label, self.positive)

    @property
    def digest(self) -> str:
        """Of everything that its answers hang on."""
        text = repr((self.task, self.extractor_digest, self.model, self.classes, self.multi_label, self.positive))
        return hashlib.blake2b(self.to_bytes() + text.encode(), digest_size=16).hexdigest()

    def facts(self) -> PredictionFacts:
        """What a table of its predictions says of it."""
        return PredictionFacts(
            head=self.name,
            head_digest=self.digest,
            task=self.task,
            collection=self.collection,
            extractor_digest=self.extractor_digest,
            classes=self.classes,
            level=self.level,  # type: ignore[arg-type]
            positive=self.positive,
            thresholds=dict(zip(self.classes, map(float, self.thresholds), strict=True)),
            multi_label=self.multi_label,
        )

    def to_bytes(self) -> bytes:
        """Its arrays as safetensors."""
        arrays = {_PARAMETER + name: np.asarray(a) for name, a in to_arrays(self.members.parameters).items()}
        for name in ("mean", "std", "shift", "scale", "offset", "temperature"):
            arrays[name] = np.asarray(getattr(self.members, name), np.float32)
        arrays["thresholds"] = np.asarray(self.thresholds, np.float32)
        return save({name: np.ascontiguousarray(a) for name, a in sorted(arrays.items())})

    @classmethod
    def from_stored(cls, stored: StoredHead) -> "Head":
        """A head as the store keeps it."""
        record = stored.record
        arrays = load(stored.parameters)
        config = record["config"]
        network = network_of(
            stored.model, dim=len(arrays["mean"]), classes=arrays["offset"].shape[1],
            hidden=config["hidden"], dropout=config["dropout"],
        )  # fmt: skip
        state = from_arrays(
            {name.removeprefix(_PARAMETER): a for name, a in arrays.items() if name.startswith(_PARAMETER)}
        )
        own = {name: arrays[name] for name in ("mean", "std", "shift", "scale", "offset", "temperature")}
        return cls(
            name=stored.name,
            task=stored.task,
            collection=stored.collection,
            extractor_digest=record["extractor"]["digest"],
            model=stored.model,
            level=stored.level,
            classes=tuple(record["classes"]),
            multi_label=record["multi_label"],
            positive=record["positive"],
            thresholds=arrays["thresholds"],
            members=Members(network=network, parameters=state, **own),
        )


def is_binary(classes: Sequence[str], multi_label: bool) -> bool:
    """Whether a task has two classes, of which a place is one."""
    return len(classes) == 2 and not multi_label


def decide(
    found: NDArray[np.floating],
    thresholds: NDArray[np.floating],
    classes: Sequence[str],
    multi_label: bool,
    positive: str | None,
) -> NDArray[np.bool_]:
    """Which classes are decided on, (n, classes).

    Of two classes the positive one, where its probability reaches its threshold. Of several a place may be of: each
    that reaches its own. Of three or more: the one whose probability is the highest multiple of its threshold.
    """
    if multi_label:
        return found >= thresholds
    if is_binary(classes, multi_label):
        at = list(classes).index(positive or classes[1])
        yes = found[:, at] >= thresholds[at]
        decisions = np.zeros(found.shape, bool)
        decisions[:, at], decisions[:, 1 - at] = yes, ~yes
        return decisions
    return np.arange(found.shape[1]) == (found / thresholds).argmax(axis=1)[:, None]
