"""`fit_heads`: labels and stored vectors in, heads out; and fitting again from a head's record."""

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import as_record
from embedstore.errors import ConfigError, HeadMismatchError, LabelError
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.sorted_ids import positions_in
from embedstore.store import Collection, Store, StoredHead, read_tile_locations
from embedstore.store.schema import FORMAT_VERSION
from embedstore.tile_id import tile_ids
from embedstore.version import __version__
from heads.augmentation.policies import resolve_search
from heads.bags import Bags
from heads.config import FitConfig
from heads.devices import jax_devices
from heads.evaluate import EvaluatedHead, evaluate_head
from heads.examples import Examples, gather_examples
from heads.head import Head
from heads.splitting.splits import Split, count_parts
from heads.training.grid import TrainedGrid
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
        collection: Whose vectors are fitted.
        tasks: Tasks that labels of the store answer.
        names: Of the heads; the tasks' names and the model when None.
        where: SQL over the slides' columns; only slides that it holds for.
        replace_heads: A head of the same name gives way.
        on_progress: Called with what is being done.
    Returns:
        The heads, in the order of the tasks. What the user should know of the data stands in their records, under
        `notes`.
    Raises:
        TaskNotFoundError, LabelError: labels that cannot answer the task.
        SplitError: patients that cannot be parted as asked.
        VectorError: a vector that is not finite.
        HeadExistsError: a head has a name already.
        ConfigError: names and tasks differ in number, a task comes twice, or a name cannot be one.
        In all cases the store is as it was.
    """
    if len(set(tasks)) < len(tasks) or not tasks:
        raise ConfigError(f"tasks are {', '.join(tasks) or '(none)'}; expected one or more, each once")
    names = [default_name(task, config) for task in tasks] if names is None else list(names)
    if len(names) != len(tasks):
        raise ConfigError(f"{len(names)} names for {len(tasks)} tasks; give one each, or none")
    for name in names:
        store.heads.require_free(name, replace=replace_heads)
    config = resolve_search(store, collection, config)
    seconds: dict[str, float] = {}
    on_progress(Progress(stage="fit", message=f"join the labels of {', '.join(tasks)} with {collection.name}"))
    with _timed(seconds, "join"):
        examples = gather_examples(store, collection, tasks, config, where)
    if config.positive is not None and any(config.positive not in classes for classes in examples.classes):
        raise LabelError(
            f"positive class {config.positive!r} is none of {', '.join(examples.classes[0])}; name one of them"
        )
    config, material, trained, finished = _fit(store, collection, examples, config, seconds, on_progress)
    heads = []
    for t, name in enumerate(names):
        head = _head(name, collection, examples, config, finished[t], t)
        record = _record(collection, examples, config, where, material, trained, finished[t], t, seconds)
        heads.append(_stored(head, examples, record))
    for made in heads:
        store.heads.save(made)
    return heads


def default_name(task: str, config: FitConfig) -> str:
    """The name of a task's head where none was given: letters, digits, '.', '_' and '-' of the task, and the model."""
    letters = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in task)
    return f"{letters.lstrip('._-') or 'task'}-{config.model}"


def fit_again(store: Store, name: str, *, on_progress: OnProgress = no_progress) -> tuple[StoredHead, Head]:
    """Fit a head again from its record alone.

    Returns:
        The head as it is stored, and as it came out now: on the same kind of device their digests are equal.
    Raises:
        HeadNotFoundError: there is no such head.
        HeadMismatchError: the store holds other tiles, views or another augmenter than it was fitted with.
        ViewsNotFoundError, AugmenterNotFoundError: it holds none any more.
    """
    stored = store.heads.get(name)
    record = stored.record
    collection = store.collection(stored.collection)
    _require_extractor(stored, collection)
    config = FitConfig.from_record(record["config"])
    if "augmenter" in record:
        config = replace(config, augmenter=record["augmenter"]["name"])  # there may be others by now
    examples = _examples_again(store, stored, collection)
    _, material, _, finished = _fit(store, collection, examples, config, {}, on_progress)
    for kind in ("views", "augmenter"):
        if record.get(kind) != (made_with := material.record.get(kind)):
            raise HeadMismatchError(
                f"head {name!r} was fitted with {kind} {record.get(kind)}; the store has {made_with} now, so it cannot "
                "be fitted again to the same numbers; fit a new one with "
                f"`embedstore fit-head --task {stored.task} --replace`"
            )
    t = record["task_index"]
    return stored, _head(stored.name, collection, examples, config, finished[t], t)


def _fit(
    store: Store,
    collection: Collection,
    examples: Examples,
    config: FitConfig,
    seconds: dict[str, float],
    on_progress: OnProgress,
) -> tuple[FitConfig, TrainingData, TrainedGrid, list[EvaluatedHead]]:
    """The configuration with what it left open, what was fitted from, the grid, and the heads that were kept."""
    with TemporaryDirectory(prefix="embedstore-") as scratch:
        read = f"read {len(examples.bags.rows):,} vectors of {collection.dim} dimensions"
        on_progress(Progress(stage="fit", message=read))
        with _timed(seconds, "read"):
            material = gather_training_data(store, collection, examples, config, Path(scratch))
        config = replace(config, augment=material.augment)
        on_progress(Progress(stage="fit", message=f"fit on {jax_devices()[0]}"))
        with _timed(seconds, "fit"):
            if config.model == "abmil":
                from heads.training.abmil import train_bags

                trained = train_bags(config, examples, material.vectors)
            else:
                trained = train(config, examples, material.vectors, augmenter=material.augmenter)
        with _timed(seconds, "evaluate"):
            finished = [evaluate_head(config, examples, trained, t) for t in range(len(examples.tasks))]
    return config, material, trained, finished


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - began, 3)


# -- what is stored -------------------------------------------------------------------------


def _head(
    name: str, collection: Collection, examples: Examples, config: FitConfig, finished: EvaluatedHead, task: int
) -> Head:
    return Head(
        name=name,
        task=examples.tasks[task],
        collection=collection.name,
        extractor_digest=collection.record()["extractor"]["digest"],
        model=config.model,
        level=config.level,
        classes=examples.classes[task],
        multi_label=config.multi_label,
        positive=finished.positive,
        thresholds=finished.thresholds,
        ensemble=finished.ensemble,
    )


def _record(
    collection: Collection, examples: Examples, config: FitConfig, where: str | None, material: TrainingData,
    trained: TrainedGrid, finished: EvaluatedHead, task: int, seconds: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    classes = examples.classes[task]
    extractor = collection.record()["extractor"]
    strata = examples.targets[task]
    return {
        "format": FORMAT_VERSION,
        "embedstore": __version__,
        "tasks": list(examples.tasks),
        "task_index": task,
        "task_classes": [list(names) for names in examples.classes],
        "classes": list(classes),
        "multi_label": config.multi_label,
        "positive": finished.positive,
        "thresholds": dict(zip(classes, map(float, finished.thresholds), strict=True)),
        "collection_version": examples.version,
        "extractor": {name: extractor[name] for name in ("name", "digest", "dim")},
        "config": as_record(config),
        **material.record,
        "where": where,
        "optimizer": trained.optimizer,
        "device": jax_devices()[0],
        "examples": len(examples),
        "tiles": len(examples.bags.rows),
        "groups": len(np.unique(examples.group)),
        "split": {
            "names": list(examples.split.names),
            "counts": count_parts(examples.split, groups=examples.group, strata=strata, classes=classes),
        },
        "selection": finished.selection,
        "members": finished.member_records,
        "report": finished.report.as_record(),
        "notes": [*examples.notes, *material.notes, *finished.report.notes],
        "seconds": dict(seconds),
    }


def _stored(head: Head, examples: Examples, record: dict[str, Any]) -> StoredHead:
    return StoredHead(
        name=head.name,
        task=head.task,
        collection=head.collection,
        model=head.model,
        level=head.level,
        digest=head.digest,
        record=record,
        parameters=head.to_bytes(),
        examples=_pack(examples),
    )


def _pack(examples: Examples) -> bytes:
    """Examples as compressed Arrow: ids, sizes of bags, parts, groups and answers; no name of anyone."""
    columns: dict[str, Any] = {"id": examples.ids, "tiles": examples.bags.sizes, "group": examples.group}
    columns |= {f"part_{f}": part for f, part in enumerate(examples.split.parts)}
    for t, (targets, known) in enumerate(zip(examples.targets, examples.known, strict=True)):
        columns[f"known_{t}"] = known
        columns |= {f"is_{t}_{k}": of_class for k, of_class in enumerate(targets.T)}
    batch = pa.record_batch({name: pa.array(np.ascontiguousarray(values)) for name, values in columns.items()})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(batch)
    return out.getvalue()


def _require_extractor(stored: StoredHead, collection: Collection) -> None:
    own, theirs = stored.record["extractor"], collection.record()["extractor"]
    if own["digest"] != theirs["digest"]:
        raise HeadMismatchError(
            f"head {stored.name!r} was fitted on vectors of {own['name']} ({own['digest']}), collection "
            f"{collection.name!r} has those of {theirs['name']} ({theirs['digest']}); expected the same extractor; "
            f"fit a head on this collection: `embedstore fit-head --task {stored.task} --collection {collection.name}`"
        )


def _examples_again(store: Store, stored: StoredHead, collection: Collection) -> Examples:
    """Examples as they were, from what a head keeps of them and the collection as it is now."""
    packed = pa.ipc.open_stream(stored.examples).read_all()
    column = {name: packed.column(name).to_numpy() for name in packed.column_names}
    record = stored.record
    places = read_tile_locations(collection)
    if stored.level == "tile":
        found = positions_in(places.tile_id, column["id"], order=np.argsort(places.tile_id))
        missing = found < 0
        bags = Bags.single(places.row[found[~missing]])
    else:
        rows_of = _rows_of_entries(store, stored.level, places)
        bags_found = [rows_of.get(key, np.empty(0, np.int64)) for key in column["id"].tolist()]
        missing = np.array([len(b) for b in bags_found]) != column["tiles"]
        start = np.concatenate([[0], np.cumsum([len(b) for b in bags_found])])
        bags = Bags(rows=np.concatenate(bags_found), start=start)
    if missing.any():
        raise HeadMismatchError(
            f"head {stored.name!r} was fitted on {len(missing):,} {stored.level}s of collection {collection.name!r} at "
            f"version {record['collection_version']}, of which {int(missing.sum()):,} are no longer there as they were "
            "(removed, or ingested again in another way); it cannot be fitted again to the same numbers; fit a new one "
            f"with `embedstore fit-head --task {stored.task} --replace`"
        )
    folds = len(record["split"]["names"])
    return Examples(
        version=places.version,
        ids=column["id"],
        bags=bags,
        tasks=tuple(record["tasks"]),
        classes=tuple(tuple(names) for names in record["task_classes"]),
        targets=tuple(
            np.stack([column[f"is_{t}_{k}"] for k in range(len(names))], axis=1)
            for t, names in enumerate(record["task_classes"])
        ),
        known=tuple(column[f"known_{t}"] for t in range(len(record["tasks"]))),
        group=column["group"],
        group_names=tuple(map(str, range(int(column["group"].max()) + 1))),
        split=Split(parts=np.stack([column[f"part_{f}"] for f in range(folds)]), names=tuple(record["split"]["names"])),
    )


def _rows_of_entries(store: Store, level: str, places: Any) -> dict[int, NDArray[np.int64]]:
    """Rows of the table by the id of a slide or patient."""
    entry: dict[str, list[str]] = {}
    for slide, patient in sorted(store.ledger.patients().items()):
        name = slide if level == "slide" else patient
        if name is not None:
            entry.setdefault(name, []).append(slide)
    code = {slide: i for i, slide in enumerate(places.slides)}
    found = {}
    for name, key in zip(entry, tile_ids(level, list(entry)).tolist(), strict=True):
        codes = [code[slide] for slide in entry[name] if slide in code]
        found[key] = places.row[np.isin(places.slide, codes)]
    return found
