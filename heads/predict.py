"""`predict`: stored vectors through a head, into the store's table of its predictions."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.encoding_record import EncoderRef
from embedstore.errors import HeadMismatchError, SlideNotInStoreError, VectorError
from embedstore.extractor_ref import why_unknown
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.search.filters import select_slides
from embedstore.store import (
    Collection,
    PredictionFacts,
    Store,
    TileLocations,
    attention_batch,
    read_tile_locations,
    read_vectors,
    slide_batch,
    tile_batch,
)
from embedstore.store.patients import patients_of_task
from embedstore.store.prediction_schema import require_joinable
from embedstore.store.vectors import matrix
from heads.bags import Bags, pool
from heads.devices import prepare_jax
from heads.encoded_bags import encoded_bags
from heads.head import Head
from heads.predicted import Predicted

_TILE_COLUMNS = ["tile_id", "slide_id", "x", "y", "edge_l0", "name"]


def predict(
    store: Store,
    name: str,
    *,
    slides: Sequence[str] = (),
    where: str | None = None,
    collection: str | None = None,
    replace: bool = False,
    on_progress: OnProgress = no_progress,
) -> Predicted:
    """Stream tiles, slides or patients of a collection through a head.

    Earlier predictions of the same slides are replaced; those of other slides are kept. A head has predictions of one
    collection at a time.

    Args:
        name: The head's name.
        slides: Only these; all of the collection when empty.
        where: SQL over the slides' columns; only slides that it holds for.
        collection: A collection of the same extractor; the one that the head was fitted on when None.
        replace: Replace all earlier predictions, of whatever collection and slides.
        on_progress: Called with how many tiles, or bags of tiles, are done.
    Raises:
        HeadNotFoundError: there is no such head.
        PredictionsExistError: the head has predictions of other slides from another collection.
        HeadMismatchError: the collection's vectors are of another extractor, or its slides' of another encoder.
        SlideNotInStoreError: a slide is not in the collection, or none fulfils `where`.
        ConfigError: `where` is not a valid condition on slides.
        EncodingNotFoundError: the head takes an encoding of slides, and the collection has none, or it lacks some.
        LabelError: the classes of the head cannot be written, see `require_joinable`.
        VectorError: a vector is not finite; nothing was written.
        StoreBusyError: another process is writing predictions of this head.
    """
    head = Head.from_stored(store.heads.get(name))
    if head.multi_label:
        require_joinable(head.task, head.classes)  # of a head of an older version
    source = store.collection(collection or head.collection)
    require_extractor(head, source)
    chosen = _choose_slides(store, source, slides, where)
    counts = np.zeros(len(head.classes), np.int64)  # decisions for each class
    table = store.predictions(name)
    facts = head.facts(source.name)
    if not replace:  # before the work
        table.require_one_collection(facts, chosen)
    if head.level == "tile":
        batches = _tile_batches(head, facts, source, chosen, counts, on_progress)
        rows = table.write(facts, batches, slides=chosen, replace=replace)
    else:
        rows = _write_slides(store, head, facts, source, chosen, counts, on_progress, replace=replace)
    shares = dict(zip(head.classes, (counts / max(rows, 1)).tolist(), strict=True))
    return Predicted(
        head=name, collection=source.name, slides=len(chosen), rows=rows, table=table.name, shares=shares
    )  # fmt: skip


def require_extractor(head: Head, collection: Collection) -> None:
    """Raise HeadMismatchError unless a collection's vectors are of the extractor that a head was fitted on."""
    extractor = collection.extractor()
    if extractor.digest != head.extractor_digest:
        unknown = why_unknown(head.extractor_digest, extractor.digest)
        raise HeadMismatchError(
            f"head {head.name!r} was fitted on vectors of the extractor {head.extractor_digest}, collection "
            f"{collection.name!r} has those of {extractor}; expected the same{unknown}; predict "
            f"on {head.collection!r}, or fit a head on this one: `embedstore fit-head --task {head.task} --collection "
            f"{collection.name}`"
        )


def _choose_slides(store: Store, collection: Collection, slides: Sequence[str], where: str | None) -> list[str]:
    stored = set(collection.slides())
    missing = [slide for slide in slides if slide not in stored]
    if missing:
        raise SlideNotInStoreError(
            f"collection {collection.name!r} has no slide {', '.join(map(repr, missing[:5]))}; it has {len(stored)} "
            "slides, which `embedstore status` lists"
        )
    chosen = set(slides) or stored
    if where is not None:
        chosen &= set(select_slides(store, collection, where))
        if not chosen:
            raise SlideNotInStoreError(
                f"no slide of collection {collection.name!r} is such that {where}; `embedstore status` lists the slides"
            )
    return sorted(chosen)


def _tile_batches(
    head: Head, facts: PredictionFacts, collection: Collection, slides: Sequence[str], counts: NDArray[np.int64],
    on_progress: OnProgress,
) -> Iterator[pa.RecordBatch]:  # fmt: skip
    """Predictions of the tiles of some slides; decisions are added to `counts`, (classes,)."""
    done = 0
    all_slides = len(slides) == len(collection.slides())
    total = len(collection) if all_slides else None
    for batch in collection.batches(slides=None if all_slides else slides, columns=[*_TILE_COLUMNS, "vector"]):
        if batch.num_rows == 0:
            continue
        probabilities = head.probabilities(matrix(batch.column("vector"), collection.dim))
        if not np.isfinite(probabilities).all():
            row = batch.slice(int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0]), 1).to_pylist()[0]
            place = row["name"] or f"{row['x']}, {row['y']}"
            raise VectorError(
                f"collection {collection.name!r}: the vector of slide {row['slide_id']!r} at {place} holds NaN or "
                "infinity; expected finite float16; ingest the slide again with --force; nothing was written"
            )
        decisions = head.decide(probabilities)
        counts += decisions.sum(axis=0)
        yield tile_batch(facts, batch, probabilities, decisions)
        done += batch.num_rows
        on_progress(Progress(stage="predict", done=done, total=total, unit="tiles"))


def _write_slides(
    store: Store, head: Head, facts: PredictionFacts, collection: Collection, slides: Sequence[str],
    counts: NDArray[np.int64], on_progress: OnProgress, *, replace: bool,
) -> int:  # fmt: skip
    """Write the predictions of slides, and of abmil the attention to their tiles; decisions are added to `counts`."""
    patients = patients_of_task(store, head.task)
    locations = read_tile_locations(collection)
    slides_of_bags = _slides_of_bags(head.level, locations.slides, patients, slides)
    bags = Bags.of_slides(locations, slides_of_bags)
    attention: list[NDArray[np.float32]] = []
    if head.encoder is not None:
        logits = head.ensemble.logits(encoded_vectors(store, head, head.encoder, collection, slides_of_bags))
    elif head.model == "abmil":
        logits, attention = _abmil_outputs(head, collection, bags, locations.version, on_progress)
    else:
        logits = head.ensemble.logits(pool(collection, bags, version=locations.version, how=head.model))
    bag_of = {slide: i for i, of_bag in enumerate(slides_of_bags) for slide in of_bag}
    probabilities = head.calibrate(logits)[[bag_of[slide] for slide in slides]]
    decisions = head.decide(probabilities)
    counts += decisions.sum(axis=0)
    batch = slide_batch(facts, slides, [patients.get(slide) for slide in slides], probabilities, decisions)
    rows = store.predictions(head.name).write(facts, [batch], slides=slides, replace=replace)
    if attention:
        batches = _attention_batches(facts, collection, locations, bags, attention, slides)
        store.predictions(head.name, "attention").write(facts, batches, slides=slides, replace=replace)
    return rows


def encoded_vectors(
    store: Store, head: Head, encoder: EncoderRef, collection: Collection, slides: Sequence[Sequence[str]]
) -> NDArray[np.float32]:
    """The vector of each bag, by the encoder that the head was fitted on.

    Raises:
        EncodingNotFoundError: the collection has no encoding of that name, or it lacks a slide.
        HeadMismatchError: it was made by another encoder.
    """
    found, vectors = encoded_bags(store, collection, encoder.name, slides)
    if found.digest != encoder.digest:
        raise HeadMismatchError(
            f"head {head.name!r} was fitted on slides encoded by {encoder}, collection {collection.name!r} has those "
            f"by {found}; expected the same; encode its slides with `embedstore encode-slides --rebuild` as those of "
            f"{head.collection!r} were, or fit a head on these"
        )
    return vectors


def _slides_of_bags(
    level: str, stored: Sequence[str], patients: Mapping[str, str | None], slides: Sequence[str]
) -> list[tuple[str, ...]]:
    """The slides of each bag: a slide alone, or all stored slides of its patient, chosen for prediction or not."""
    if level == "slide":
        return [(slide,) for slide in slides]
    chosen = dict.fromkeys(patients.get(slide) or slide for slide in slides)
    return [tuple(slide for slide in stored if (patients.get(slide) or slide) == patient) for patient in chosen]


def _abmil_outputs(
    head: Head, collection: Collection, bags: Bags, version: int, on_progress: OnProgress
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Logits (members, bags, columns), and the attention (tiles,) of each bag; memory holds the tiles of one bag."""
    prepare_jax()
    from heads.training.abmil import bag_outputs

    logits, attention = [], []
    for i in range(len(bags)):
        rows = bags.rows[bags.start[i] : bags.start[i + 1]]
        vectors = read_vectors(collection, rows, version=version)
        bag_logits, bag_attention = bag_outputs(head.ensemble, vectors, Bags.of_rows([rows]), np.arange(1))
        logits.append(bag_logits)
        attention.append(bag_attention[0])
        on_progress(Progress(stage="predict", done=i + 1, total=len(bags), unit="bags"))
    return np.concatenate(logits, axis=1), attention


def _attention_batches(
    facts: PredictionFacts,
    collection: Collection,
    locations: TileLocations,
    bags: Bags,
    attention: Sequence[NDArray[np.float32]],
    slides: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    of_tile = np.full(len(locations), np.nan, np.float32)
    of_tile[bags.rows] = np.concatenate(attention)
    chosen, start = set(slides), 0
    for batch in collection.dataset(locations.version).to_batches(columns=_TILE_COLUMNS):
        keep = np.array([slide in chosen for slide in batch.column("slide_id").to_pylist()])
        values = of_tile[start : start + batch.num_rows]
        start += batch.num_rows
        if keep.any():
            yield attention_batch(facts, batch.filter(pa.array(keep)), values[keep])
