"""A store half of whose tiles are labelled, some wrongly, with heads that are made by hand: no program is compiled."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from embedstore.store import Label, Store, StoredHead
from heads.config import FitConfig
from heads.examples import Examples, gather_examples
from heads.record import MemberRecord
from heads.splitting.splits import TEST, TRAIN, Split
from heads.stored_examples import StoredExamples
from tests.heads.records import head_record, linear_head
from tests.heads.scene import COLLECTION, EDGE, make_store

SLIDES, TILES, COLUMNS = 8, 24, 8
#: Whose wrong label each slide's first tile has.
CARELESS = "ann"


def make_active_store(folder: Path) -> Store:
    """The first half of each slide's tiles are labelled for `tissue`; the heads are `folds` and `holdout`."""
    store = make_store(folder, slides=SLIDES, tiles=TILES, signal=1.5)
    labels = Label.from_table(store.labels.of_task("tissue"))
    store.labels.remove("tissue")
    wrong = {"tumour": "normal", "normal": "tumour"}
    kept = [label for label in labels if number(label.x, label.y) < TILES // 2]
    store.labels.record(
        replace(label, label=wrong[label.label], author=CARELESS) if number(label.x, label.y) == 0 else label
        for label in kept
    )
    examples = gather_examples(store, store.collection(COLLECTION), ["tissue"], FitConfig())
    fold = examples.group % 4
    save_head(store, "folds", examples, np.where(fold == np.arange(4)[:, None], TEST, TRAIN).astype(np.int8))
    save_head(store, "holdout", examples, np.where(fold == 0, TEST, TRAIN).astype(np.int8)[None])
    return store


def number(x: float | None, y: float | None) -> int:
    """The number of a tile on its slide."""
    return int(y or 0) // EDGE * COLUMNS + int(x or 0) // EDGE


def save_head(store: Store, name: str, examples: Examples, parts: np.ndarray) -> None:
    """A linear head of one network a fold, along the difference of the means of its training tiles."""
    collection = store.collection(COLLECTION)
    vectors = np.stack([collection.tile(int(tile_id)).vector for tile_id in examples.ids]).astype(np.float32)  # type: ignore[union-attr]
    tumour = examples.targets[0][:, 1]
    means = np.stack(
        [[vectors[(part == TRAIN) & (tumour == of)].mean(axis=0) for of in (False, True)] for part in parts]
    )
    kernels = means[:, 1] - means[:, 0]
    biases = -(kernels * means.mean(axis=1)).sum(axis=1)
    names = tuple(f"fold {fold + 1}" for fold in range(len(parts)))
    members = tuple(MemberRecord(fold=each, seed=0, best_step=0, score=0.1, temperature=1.0) for each in names)
    of_task: dict[str, Any] = {"classes": examples.classes[0], "positive": "tumour"}
    head = linear_head(name, "tissue", kernels, biases, **of_task)
    record = head_record(
        len(parts), tasks=("tissue",), task_classes=examples.classes, members=members,
        extractor=collection.extractor(), augmenter=None, **of_task,
    )  # fmt: skip
    stored = StoredExamples.of(replace(examples, split=Split(parts=parts, names=names)))
    store.heads.save(
        StoredHead(
            name=name, task="tissue", collection=COLLECTION, model="linear", level="tile", digest=head.digest,
            record=record.as_record(), parameters=head.to_bytes(), examples=stored.to_bytes(),
        )
    )  # fmt: skip
