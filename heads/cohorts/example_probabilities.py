"""What several heads say of examples of one collection, from one read of its vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from embedstore.progress import OnProgress, Progress
from embedstore.store import Collection, Store, read_vectors
from embedstore.store.vectors import finite_blocks
from heads.bags import Bags, Pooling
from heads.devices import prepare_jax
from heads.head import Head
from heads.predict import encoded_vectors


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A head, and what it is asked about.

    Attributes:
        bags: Rows of the table that each example consists of.
        slides: The slides of each, where examples are slides or patients.
    """

    head: Head
    bags: Bags
    slides: Sequence[Sequence[str]]


def example_probabilities(
    store: Store, collection: Collection, version: int, asked: Sequence[Asked], on_progress: OnProgress
) -> list[NDArray[np.float32]]:
    """Probabilities (n, classes) that each head gives to its examples.

    The vectors of tiles and of pooled bags are read once for all heads; memory holds a block of them. Bags for
    attention are read one by one, each once for all heads that look at it.

    Args:
        store, collection, version: Where the vectors are.
    Raises:
        EncodingNotFoundError, HeadMismatchError: as of `encoded_vectors`.
        VectorError: a vector holds NaN or infinity.
    """
    found: list[NDArray[np.float32] | None] = [None] * len(asked)
    attending, streams = [], {}
    for i, each in enumerate(asked):
        head = each.head
        if not len(each.bags):
            found[i] = np.zeros((0, len(head.classes)), np.float32)
        elif head.encoder is not None:
            vectors = encoded_vectors(store, head, head.encoder, collection, each.slides)
            found[i] = head.calibrate(head.ensemble.logits(vectors))
        elif head.model == "abmil":
            attending.append(i)
        else:
            streams[i] = _stream(head, each.bags, collection.dim)
    if streams:
        rows = np.unique(np.concatenate([stream.rows for stream in streams.values()]))
        for part, block in finite_blocks(collection, rows, version):
            for stream in streams.values():
                low, high = np.searchsorted(stream.rows, (rows[part][0], rows[part][-1] + 1))
                own = stream.rows[low:high]
                stream.add(
                    slice(low, high), block[np.searchsorted(rows[part], own)] if len(own) < len(block) else block
                )
            on_progress(Progress(stage="evaluate", done=part.stop, total=len(rows), unit="tiles"))
    for i, stream in streams.items():
        found[i] = stream.probabilities()
    if attending:
        prepare_jax()
        from heads.training.abmil import bag_outputs
    for bags, members in _same_bags(asked, attending):
        logits: dict[int, list[NDArray[np.float32]]] = {i: [] for i in members}
        for b in range(len(bags)):
            rows = bags.rows[bags.start[b] : bags.start[b + 1]]
            of_bag = read_vectors(collection, rows, version=version)
            for i in members:
                logits[i].append(bag_outputs(asked[i].head.ensemble, of_bag, Bags.of_rows([rows]), np.arange(1))[0])
            on_progress(Progress(stage="evaluate", done=b + 1, total=len(bags), unit="bags"))
        for i in members:
            found[i] = asked[i].head.calibrate(np.concatenate(logits[i], axis=1))
    return [probabilities for probabilities in found if probabilities is not None]


def _same_bags(asked: Sequence[Asked], chosen: Sequence[int]) -> list[tuple[Bags, list[int]]]:
    """The distinct bags of some heads, and which of the heads look at them."""
    groups: list[tuple[Bags, list[int]]] = []
    for i in chosen:
        bags = asked[i].bags
        for known, members in groups:
            if np.array_equal(known.rows, bags.rows) and np.array_equal(known.start, bags.start):
                members.append(i)
                break
        else:
            groups.append((bags, [i]))
    return groups


class _Stream(Protocol):
    """Takes in vectors block by block."""

    rows: NDArray[np.int64]

    def add(self, part: slice, vectors: NDArray[np.float16]) -> None: ...

    def probabilities(self) -> NDArray[np.float32]: ...


def _stream(head: Head, bags: Bags, dim: int) -> _Stream:
    return _Pooled(head, bags, dim) if head.model in ("mean", "max") else _Single(head, bags)


class _Single:
    """Examples of one row each."""

    def __init__(self, head: Head, bags: Bags):
        self._head, self.rows = head, bags.rows
        self._found = np.zeros((len(bags), len(head.classes)), np.float32)

    def add(self, part: slice, vectors: NDArray[np.float16]) -> None:
        self._found[part] = self._head.probabilities(vectors)

    def probabilities(self) -> NDArray[np.float32]:
        return self._found


class _Pooled:
    """Bags whose vectors are pooled."""

    def __init__(self, head: Head, bags: Bags, dim: int):
        self._head, self._pooling = head, Pooling(bags, dim, head.model)
        self.rows = self._pooling.rows

    def add(self, part: slice, vectors: NDArray[np.float16]) -> None:
        if len(vectors):
            self._pooling.add(part, vectors)

    def probabilities(self) -> NDArray[np.float32]:
        return self._head.calibrate(self._head.ensemble.logits(self._pooling.pooled()))
