"""A head: an ensemble of networks with calibrated probabilities, thresholds and decisions."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from embedstore.encoding_record import EncoderRef
from embedstore.store import PredictionFacts, StoredHead
from heads.evaluation.calibration import decide
from heads.networks.ensemble import Ensemble
from heads.record import HeadRecord

_PARAMETER = "parameter."
_ENSEMBLE_ARRAYS = ("mean", "std", "shift", "scale", "offset", "temperature")


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """A classifier of one task on the vectors of one collection.

    Attributes:
        name, task, collection: As in the store.
        extractor_digest: Digest of the extractor of the vectors that it takes.
        encoder: What makes the vectors of slides that it takes; None where it takes those of tiles.
        model, level: Kind of network, and what it classifies: tiles, slides or patients.
        classes: In the order of its probabilities.
        multi_label: An example may be of several classes.
        positive: Of two classes, the one whose probability is thresholded.
        thresholds: (classes,): see `heads.evaluation.calibration.decide`.
        ensemble: The fitted networks.
        stored_digest: Its digest as the store keeps it, by which its predictions are told from those of others; None of
            a head that is not stored.
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
    ensemble: Ensemble
    encoder: EncoderRef | None = None
    stored_digest: str | None = None

    def probabilities(self, vectors: NDArray[Any], members: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """(n, classes) of vectors (n, dim) as they are stored; by those `members` (M, n) that count, or by all."""
        return self.calibrate(self.ensemble.logits(vectors), members)

    def calibrate(self, logits: NDArray[np.float32], members: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """Probabilities (n, classes) from the members' logits (M, n, columns)."""
        return self.ensemble.probabilities(logits, len(self.classes), self.multi_label, members)

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which classes (n, classes) are decided on, from probabilities (n, classes)."""
        return decide(probabilities, self.thresholds, self.classes, self.multi_label, self.positive)

    @property
    def digest(self) -> str:
        """Digest of everything that its outputs depend on."""
        text = repr((self.task, self.extractor_digest, self.model, self.classes, self.multi_label, self.positive))
        if self.encoder is not None:
            text += self.encoder.digest
        return hashlib.blake2b(self.to_bytes() + text.encode(), digest_size=16).hexdigest()

    def facts(self, collection: str | None = None) -> PredictionFacts:
        """What a table of its predictions records of the head.

        Args:
            collection: Whose vectors it is given; those of the collection that it was fitted on when None.
        """
        return PredictionFacts(
            head=self.name,
            head_digest=self.stored_digest or self.digest,
            task=self.task,
            collection=collection or self.collection,
            extractor_digest=self.extractor_digest,
            classes=self.classes,
            level=self.level,  # type: ignore[arg-type]
            positive=self.positive,
            thresholds=dict(zip(self.classes, map(float, self.thresholds), strict=True)),
            multi_label=self.multi_label,
        )

    def to_bytes(self) -> bytes:
        """Its arrays as safetensors."""
        arrays = {_PARAMETER + name: a for name, a in self.ensemble.parameters.items()}
        for name in _ENSEMBLE_ARRAYS:
            arrays[name] = np.asarray(getattr(self.ensemble, name), np.float32)
        arrays["thresholds"] = np.asarray(self.thresholds, np.float32)
        return save({name: np.ascontiguousarray(a) for name, a in sorted(arrays.items())})

    @classmethod
    def from_stored(cls, stored: StoredHead) -> "Head":
        """A head as the store keeps it."""
        record, arrays = HeadRecord.from_record(stored.record), load(stored.parameters)
        parameters = {name.removeprefix(_PARAMETER): a for name, a in arrays.items() if name.startswith(_PARAMETER)}
        ensemble_arrays = {name: arrays[name] for name in _ENSEMBLE_ARRAYS}
        return cls(
            name=stored.name,
            task=stored.task,
            collection=stored.collection,
            extractor_digest=record.extractor.digest,
            model=stored.model,
            level=stored.level,
            classes=record.classes,
            multi_label=record.multi_label,
            positive=record.positive,
            thresholds=arrays["thresholds"],
            encoder=record.encoder,
            stored_digest=stored.digest,
            ensemble=Ensemble(model=stored.model, parameters=parameters, **ensemble_arrays),
        )
