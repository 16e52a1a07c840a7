"""A head and its record without a fit."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.extractor_ref import ExtractorRef
from heads.config import FitConfig
from heads.evaluation.metrics import evaluate
from heads.head import Head
from heads.networks.ensemble import Ensemble
from heads.record import AugmenterUsed, CellScore, HeadRecord, MemberRecord
from heads.splitting.splits import FoldCounts, PartCounts


def head_record(folds: int = 1, **changes: Any) -> HeadRecord:
    """The record of a head of two classes."""
    eye = np.eye(2, dtype=bool)
    counts = PartCounts(rows=2, groups=2, classes={"a": 1, "b": 1})
    record = HeadRecord(
        embedstore="1.0", tasks=("t",), task_index=0, task_classes=(("a", "b"),), classes=("a", "b"),
        multi_label=False, positive="b", thresholds={"a": 0.5, "b": 0.5}, collection_version=3,
        extractor=ExtractorRef(name="toy", digest="sha256:1", dim=12), config=FitConfig(), views=None,
        augmenter=AugmenterUsed(name="mine", digest="d"), where=None, optimizer="lbfgs", device="cpu:0", examples=6,
        tiles=6, groups=6, fold_names=tuple(f"fold {f + 1}" for f in range(folds)),
        fold_counts=(FoldCounts(fold="fold 1", train=counts, valid=counts, test=counts),) * folds,
        selection=(CellScore(parameters={"c": 0.1, "augment": "none"}, score=0.2, chosen=True),),
        members=(MemberRecord(fold="fold 1", seed=0, best_step=7, score=0.2, temperature=1.5),),
        report=evaluate(eye * 1.0, eye, eye, np.arange(2), classes=("a", "b"), resamples=0), notes=("a note",),
        seconds={"fit": 1.0},
    )  # fmt: skip
    return replace(record, **changes)


def linear_head(
    name: str, task: str, kernels: NDArray[np.floating], biases: NDArray[np.floating], **changes: Any
) -> Head:
    """A linear head of two classes on the collection `toy`.

    Args:
        kernels: (M, dim) of its networks: logits of the second class.
        biases: (M,).
        changes: Other fields of `Head`.
    """
    ones = np.ones(kernels.shape, np.float32)
    ensemble = Ensemble(
        model="linear",
        parameters={"kernel": kernels[:, :, None].astype(np.float32), "bias": biases[:, None].astype(np.float32)},
        mean=0 * ones[0], std=ones[0], shift=0 * ones, scale=ones, offset=0 * ones[:, :1], temperature=ones[:, 0],
    )  # fmt: skip
    fields: dict[str, Any] = {"extractor_digest": "sha256:1", "model": "linear", "level": "tile", "classes": ("a", "b")}
    fields |= {"multi_label": False, "positive": "b", "thresholds": np.full(2, 0.5, np.float32), **changes}
    return Head(name=name, task=task, collection="toy", ensemble=ensemble, **fields)
