"""`zero_shot`: a head for tiles that is made of words, by an extractor's text tower, and of no label.

It is the head of a collection like any other: its logits are the cosines between a tile and the classes' texts, by the
scale that picture and words were trained with (Radford et al. 2021, arXiv 2103.00020).
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedstore.config import require
from embedstore.errors import ConfigError, TaskNotFoundError
from embedstore.labels.task_labels import JOINED
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.search.queries.query import mean_direction, unit_rows
from embedstore.search.queries.text_query import load_text_tower
from embedstore.store import Collection, Store, StoredHead, read_tile_locations
from embedstore.store.vectors import vector_blocks
from embedstore.version import __version__
from heads.bags import Bags
from heads.config import ZERO_SHOT, FitConfig, zero_shot_name
from heads.evaluation.metrics import evaluate
from heads.evaluation.report import Report
from heads.head import Head
from heads.labelled import gather_labelled, join_notes
from heads.networks.ensemble import Ensemble
from heads.prompts import ZeroShotConfig
from heads.record import CellScore, HeadRecord, MemberRecord, WordsUsed
from heads.splitting.splits import TEST, Split, count_parts
from heads.stored_examples import StoredExamples
from heads.tasks import is_binary

if TYPE_CHECKING:
    from embedstore.extractors import TextTower

#: Name of the only part of the only fold: nothing is fitted, so every labelled tile is one to test on.
FOLD = "words"


def zero_shot(
    store: Store,
    collection: Collection,
    task: str,
    config: ZeroShotConfig,
    *,
    name: str | None = None,
    replace: bool = False,
    trust_extractor: bool = False,
    tower: "TextTower | None" = None,
    on_progress: OnProgress = no_progress,
) -> StoredHead:
    """Make a head of words and save it; where labels of its task are there, it is measured on them.

    The texts of a class are its prompts in all templates. Its vector is the mean of theirs, each at length 1, brought
    to length 1.

    Args:
        name: Name of the head; TASK-zero-shot when None.
        replace: Replace a head of the same name.
        trust_extractor: Run the function that the collection names, if its extractor is one.
        tower: The collection's own, from `own_text_tower`; loaded here when None.
    Raises:
        ExtractorError, CollectionMismatchError, WeightsError: as of `text_query`.
        HeadExistsError: the name is taken.
        ConfigError: the name is not valid, or the tower's logit scale is not known and none is given.
        QueryError: a text is longer than the tower takes.
        VectorError: the texts of a class cancel out.
        LabelError: labels of the task that no head can be measured on.
        In all cases the store is unchanged.
    """
    began = time.perf_counter()
    name = store.heads.require_free(name or zero_shot_name(task), replace=replace)
    require(bool(task.strip()), "the task has no name; expected what the head tells apart, such as tumour")
    if tower is None:
        tower = load_text_tower(collection.name, collection.record(), trusted=trust_extractor)
    scale = config.logit_scale or tower.logit_scale
    if scale is None:
        raise ConfigError(
            "the text tower does not say by what its cosines are multiplied to be logits; pass --logit-scale as its "
            "authors state it, such as 100 of CLIP"
        )
    on_progress(Progress(stage="fit", message=f"embed the texts of {len(config.classes)} classes"))
    head = _head(name, task, collection, config, _class_vectors(config, tower), scale)
    on_progress(Progress(stage="fit", message=f"measure it on the labels of {task}, if there are any"))
    measured = _measure(store, collection, head, config)
    members = (MemberRecord(fold=FOLD, seed=0, best_step=0, score=0.0, temperature=1 / scale),)
    record = HeadRecord(
        embedstore=__version__,
        tasks=(task,),
        task_index=0,
        task_classes=(head.classes,),
        classes=head.classes,
        multi_label=False,
        positive=head.positive,
        thresholds=dict(zip(head.classes, map(float, head.thresholds), strict=True)),
        collection_version=measured.version,
        extractor=collection.extractor(),
        config=FitConfig(
            classes=head.classes, positive=config.positive, join=config.join, bootstrap=config.bootstrap
        ),
        views=None,
        augmenter=None,
        where=None,
        optimizer="none",
        device="cpu",
        examples=len(measured.examples),
        tiles=len(measured.examples),
        groups=len(np.unique(measured.examples.group)),
        fold_names=(FOLD,),
        fold_counts=count_parts(
            Split(parts=measured.examples.parts, names=(FOLD,)),
            groups=measured.examples.group, strata=measured.examples.targets[0], classes=head.classes,
        ),
        selection=(CellScore(parameters={"logit_scale": scale}, score=0.0, chosen=True),),
        members=members,
        report=measured.report,
        notes=measured.notes,
        seconds={"words": round(time.perf_counter() - began, 3)},
        words=WordsUsed(
            classes=config.classes, templates=config.templates, text_digest=tower.digest, logit_scale=scale
        ),
    )  # fmt: skip
    stored = StoredHead(
        name=head.name,
        task=head.task,
        collection=head.collection,
        model=head.model,
        level=head.level,
        digest=head.digest,
        record=record.as_record(),
        parameters=head.to_bytes(),
        examples=measured.examples.to_bytes(),
    )
    store.heads.save(stored)
    return stored


def _class_vectors(config: ZeroShotConfig, tower: "TextTower") -> NDArray[np.float32]:
    """(classes, dim), each of length 1."""
    texts = {name: config.texts(name) for name in config.classes}
    rows = unit_rows(tower.embed_text([text for of_class in texts.values() for text in of_class]))
    vectors, start = [], 0
    for name, of_class in texts.items():
        part = rows[start : start + len(of_class)]
        what = f"class {name!r}: its {len(of_class)} texts"
        vectors.append(mean_direction(part.sum(axis=0, dtype=np.float64), len(part), what=what))
        start += len(of_class)
    return np.stack(vectors)


def _head(
    name: str, task: str, collection: Collection, config: ZeroShotConfig, vectors: NDArray[np.float32], scale: float
) -> Head:
    classes, dim = tuple(config.classes), collection.dim
    binary = is_binary(len(classes), False)
    kernel = (vectors[1:] - vectors[:1]).T if binary else vectors.T  # of two classes the log-odds of the second
    columns = kernel.shape[1]
    ensemble = Ensemble(
        model=ZERO_SHOT,
        parameters={"kernel": kernel[None].astype(np.float32)},
        mean=np.zeros(dim, np.float32),
        std=np.ones(dim, np.float32),
        shift=np.zeros((1, dim), np.float32),
        scale=np.ones((1, dim), np.float32),
        offset=np.zeros((1, columns), np.float32),
        temperature=np.full(1, 1 / scale, np.float32),
    )
    return Head(
        name=name,
        task=task,
        collection=collection.name,
        extractor_digest=collection.extractor().digest,
        model=ZERO_SHOT,
        level="tile",
        classes=classes,
        multi_label=False,
        positive=(config.positive or classes[1]) if binary else None,
        thresholds=np.full(len(classes), 0.5 if binary else 1.0, np.float32),
        ensemble=ensemble,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Measured:
    """A head on the labelled tiles of its task; on none, where there is no label.

    Attributes:
        version: Version of the collection's table.
        examples: The labelled tiles, all of them to be tested on.
        report: Its metrics.
        notes: What the user should know.
    """

    version: int
    examples: StoredExamples
    report: Report
    notes: tuple[str, ...]


def _measure(store: Store, collection: Collection, head: Head, config: ZeroShotConfig) -> _Measured:
    try:
        labels = store.labels.of_task(head.task, columns=JOINED)
    except TaskNotFoundError:
        return _unmeasured(collection, head, f"task {head.task!r} has no labels, so nothing is known of how good it is")
    named = set(labels["label"].unique().to_pylist()) - {None}
    classes = [name for name in head.classes if name in named]
    if len(classes) < 2:
        has = ", ".join(sorted(named)) or "no class"
        note = f"labels of task {head.task!r} name {has}, and fewer than two of the classes; it is measured on none"
        return _unmeasured(collection, head, note)
    labelled = gather_labelled(
        store, store.ledger.slides(), read_tile_locations(collection), labels, [head.task], level="tile",
        join=config.join, classes=classes, multi_label=False, min_classes=0,
    )  # fmt: skip
    if not len(labelled.rows):
        note = f"no tile of collection {collection.name!r} has a label of task {head.task!r}; it is measured on none"
        return _unmeasured(collection, head, note)
    of_task = labelled.tasks[0]
    targets = np.zeros((len(labelled.rows), len(head.classes)), bool)
    for k, label in enumerate(of_task.classes):
        targets[:, head.classes.index(label)] = of_task.targets[labelled.rows, k]
    group, _, group_notes = labelled.groups("patient")
    version = labelled.locations.version
    blocks = vector_blocks(collection, labelled.bags.rows, version)
    probabilities = np.concatenate([head.probabilities(block) for block in blocks])
    report = evaluate(
        probabilities, targets, head.decide(probabilities), group,
        classes=head.classes, positive=head.positive, resamples=config.bootstrap,
    )  # fmt: skip
    others = sorted(named - set(head.classes))
    left = [f"labels of {', '.join(others)} are left out: no class has that name"] if others else []
    return _Measured(
        version=version,
        examples=_examples(labelled.ids, labelled.bags, group, targets),
        report=report,
        notes=(*join_notes(of_task), *group_notes, *left, *report.notes),
    )


def _unmeasured(collection: Collection, head: Head, note: str) -> _Measured:
    nothing = np.empty(0, np.int64)
    targets = np.empty((0, len(head.classes)), bool)
    return _Measured(
        version=collection.dataset().version,
        examples=_examples(nothing, Bags.single(nothing), nothing.astype(np.int32), targets),
        report=Report.of_no_rows(head.classes, positive=head.positive, notes=(note,)),
        notes=(note,),
    )


def _examples(
    ids: NDArray[np.int64], bags: Bags, group: NDArray[np.int32], targets: NDArray[np.bool_]
) -> StoredExamples:
    return StoredExamples(
        ids=ids,
        tiles=bags.sizes,
        group=group,
        parts=np.full((1, len(ids)), TEST, np.int8),
        targets=(targets,),
        known=(np.ones(len(ids), bool),),
    )
