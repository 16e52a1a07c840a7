"""`fit_heads`: labels and stored vectors in, heads out; and fitting again from a head's record."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from embedstore.errors import ConfigError, HeadMismatchError, LabelError
from embedstore.extractor_ref import why_unknown
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.store import Collection, Store, StoredHead
from embedstore.temporary_folder import temporary_folder
from embedstore.version import __version__
from heads.augmentation.policies import DEFAULT_MARGIN, resolve_search
from heads.config import FitConfig, default_head_name
from heads.devices import jax_devices, prepare_jax
from heads.evaluate import EvaluatedHead, evaluate_head
from heads.examples import Examples, gather_examples
from heads.head import Head
from heads.record import HeadRecord
from heads.splitting.splits import UNUSED, count_parts
from heads.stored_examples import StoredExamples, restore_examples
from heads.training.training import train
from heads.training.training_data import TrainingData, gather_training_data


def fit_heads(
    store: Store,
    collection: Collection,
    tasks: Sequence[str],
    config: FitConfig,
    *,
    names: Sequence[str] | None = None,
    where: str | None = None,
    replace_heads: bool = False,
    on_progress: OnProgress = no_progress,
) -> list[StoredHead]:
    """Fit a head for each task, all in one pass over the vectors, and save them in the store.

    Args:
        collection: The collection whose vectors are fitted.
        tasks: Tasks that the store has labels of.
        names: Names of the heads; made from the tasks' names and the model when None.
        where: SQL over the slides' columns; only slides that it holds for.
        replace_heads: Replace heads of the same names.
        on_progress: Called with what is being done.
    Returns:
        The heads, in the order of the tasks. Notes on the data are in their records, under `notes`.
    Raises:
        TaskNotFoundError, LabelError: labels that a head cannot be fitted to.
        SplitError: patients that cannot be divided as the configuration asks.
        VectorError: a vector that is not finite.
        EncodingNotFoundError: slides are to be encoded, and some are not.
        HeadExistsError: a name is taken.
        ConfigError: names and tasks differ in number, a task comes twice, or a name is not valid.
        In all cases the store is unchanged.
    """
    if len(set(tasks)) < len(tasks) or not tasks:
        raise ConfigError(f"tasks are {', '.join(tasks) or '(none)'}; expected one or more, each once")
    names = [default_head_name(task, config) for task in tasks] if names is None else list(names)
    if len(names) != len(tasks):
        raise ConfigError(f"{len(names)} names for {len(tasks)} tasks; give one each, or none")
    for name in names:
        store.heads.require_free(name, replace=replace_heads)
    prepare_jax()
    config = resolve_search(store, collection, config)
    seconds: dict[str, float] = {}
    on_progress(Progress(stage="fit", message=f"join the labels of {', '.join(tasks)} with {collection.name}"))
    with _timed(seconds, "join"):
        examples = gather_examples(store, collection, tasks, config, where)
    config = replace(config, split=replace(config.split, group_by=examples.group_by))
    if config.positive is not None and any(config.positive not in classes for classes in examples.classes):
        raise LabelError(
            f"positive class {config.positive!r} is none of {', '.join(examples.classes[0])}; name one of them"
        )
    result = _fit(store, collection, examples, config, on_progress)
    result.seconds = {**seconds, **result.seconds}
    stored_examples = StoredExamples.of(examples).to_bytes()
    stored = []
    for task, name in enumerate(names):
        head = result.head(name, collection, task)
        stored.append(
            StoredHead(
                name=head.name,
                task=head.task,
                collection=head.collection,
                model=head.model,
                level=head.level,
                digest=head.digest,
                record=result.record(collection, where, task).as_record(),
                parameters=head.to_bytes(),
                examples=stored_examples,
            )
        )
    for row in stored:
        store.heads.save(row)
    return stored


def fit_again(store: Store, name: str, *, on_progress: OnProgress = no_progress) -> tuple[StoredHead, Head]:
    """Fit a head again from its record alone.

    Returns:
        The head as it is stored, and as it is fitted now: on the same kind of device their digests are equal.
    Raises:
        HeadNotFoundError: there is no such head.
        HeadMismatchError: tiles, views, the augmenter or the encoding in the store differ from those that it was
            fitted with.
        ViewsNotFoundError, AugmenterNotFoundError, EncodingNotFoundError: the store no longer holds them.
        ConfigError: it was made of words, and not fitted.
    """
    stored = store.heads.get(name)
    record = HeadRecord.from_record(stored.record)
    if record.words is not None:
        raise ConfigError(
            f"head {name!r} was made of words and not fitted; `embedstore zero-shot --replace` makes it again"
        )
    collection = store.collection(stored.collection)
    _require_extractor(stored, record, collection)
    config = record.config
    if record.augmenter is not None:
        config = replace(config, augmenter=record.augmenter.name)  # there may be others by now
    prepare_jax()
    examples = restore_examples(store, stored, record, collection)
    result = _fit(store, collection, examples, config, on_progress)
    for kind, recorded, current in (
        ("views", record.views, result.data.views), ("augmenter", record.augmenter, result.data.augmenter_used),
        ("vectors by", record.encoder, result.data.encoder),
    ):  # fmt: skip
        if recorded != current:
            raise HeadMismatchError(
                f"head {name!r} was fitted with {kind} {recorded}; the store has {current} now, so it cannot be "
                "fitted again to the same numbers; fit a new one with "
                f"`embedstore fit-head --task {stored.task} --replace`"
            )
    return stored, result.head(stored.name, collection, record.task_index)


@dataclass(kw_only=True, eq=False)
class _FitResult:
    """The heads of all tasks of a fit.

    Attributes:
        config: The configuration with its augmentation resolved.
        data: The vectors that the heads were fitted on.
        optimizer: Name of the optimiser.
        heads: The head of each task.
        seconds: Duration of each stage.
    """

    config: FitConfig
    examples: Examples
    data: TrainingData
    optimizer: str
    heads: list[EvaluatedHead]
    seconds: dict[str, float] = field(default_factory=dict)

    def head(self, name: str, collection: Collection, task: int) -> Head:
        evaluated = self.heads[task]
        return Head(
            name=name,
            task=self.examples.tasks[task],
            collection=collection.name,
            extractor_digest=collection.extractor().digest,
            model=self.config.model,
            level=self.config.level,
            classes=self.examples.classes[task],
            multi_label=self.config.multi_label,
            positive=evaluated.positive,
            thresholds=evaluated.thresholds,
            encoder=self.data.encoder,
            ensemble=evaluated.ensemble,
        )

    def record(self, collection: Collection, where: str | None, task: int) -> HeadRecord:
        examples, evaluated, classes = self.examples, self.heads[task], self.examples.classes[task]
        known, choice = examples.known[task], evaluated.augmentation
        split = replace(examples.split, parts=np.where(known, examples.split.parts, UNUSED).astype(np.int8))
        choice_notes = () if choice is None else (f"augmentation of {examples.tasks[task]!r}: {choice}",)
        return HeadRecord(
            embedstore=__version__,
            tasks=examples.tasks,
            task_index=task,
            task_classes=examples.classes,
            classes=classes,
            multi_label=self.config.multi_label,
            positive=evaluated.positive,
            thresholds=dict(zip(classes, map(float, evaluated.thresholds), strict=True)),
            collection_version=examples.version,
            extractor=collection.extractor(),
            config=self.config,
            views=self.data.views,
            augmenter=self.data.augmenter_used,
            encoder=self.data.encoder,
            where=where,
            optimizer=self.optimizer,
            device=jax_devices()[0],
            examples=int(known.sum()),
            tiles=int(examples.bags.sizes[known].sum()),
            groups=len(np.unique(examples.group[known])),
            fold_names=examples.split.names,
            fold_counts=count_parts(split, groups=examples.group, strata=examples.targets[task], classes=classes),
            selection=evaluated.selection,
            augmentation=evaluated.augmentation,
            members=evaluated.members,
            report=evaluated.report,
            notes=(*examples.notes, *self.data.notes, *choice_notes, *evaluated.report.notes),
            seconds=self.seconds,
        )


def _fit(
    store: Store, collection: Collection, examples: Examples, config: FitConfig, on_progress: OnProgress
) -> _FitResult:
    seconds: dict[str, float] = {}
    with temporary_folder("fit") as scratch:
        message = f"read {len(examples.bags.rows):,} vectors of {collection.dim} dimensions"
        on_progress(Progress(stage="fit", message=message))
        with _timed(seconds, "read"):
            data = gather_training_data(store, collection, examples, config, scratch)
        margin = config.augment_margin
        if margin is None and config.augment is None and len(data.augment) > 1:
            margin = DEFAULT_MARGIN
        config = replace(config, augment=data.augment, augment_margin=margin)
        on_progress(Progress(stage="fit", message=f"fit on {jax_devices()[0]}"))
        with _timed(seconds, "fit"):
            trained = train(config, examples, data.vectors, augmenter=data.augmenter)
        on_progress(Progress(stage="fit", message="calibrate, and evaluate on the test parts"))
        with _timed(seconds, "evaluate"):
            heads = [evaluate_head(config, examples, trained, task) for task in range(len(examples.tasks))]
    return _FitResult(
        config=config, examples=examples, data=data, optimizer=trained.optimizer, heads=heads, seconds=seconds
    )


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - began, 3)


def _require_extractor(stored: StoredHead, record: HeadRecord, collection: Collection) -> None:
    extractor = collection.extractor()
    if extractor.digest != record.extractor.digest:
        raise HeadMismatchError(
            f"head {stored.name!r} was fitted on vectors of {record.extractor}, collection {collection.name!r} has "
            f"those of {extractor}; expected the same extractor"
            f"{why_unknown(record.extractor.digest, extractor.digest)}; fit a head on this collection: "
            f"`embedstore fit-head --task {stored.task} --collection {collection.name}`"
        )
