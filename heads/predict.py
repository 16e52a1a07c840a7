"""`predict`: stored vectors through a head, into the store's table of its predictions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import HeadMismatchError, SlideNotInStoreError, VectorError
from embedstore.progress import OnProgress, Progress, no_progress
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
from embedstore.store.vectors import matrix
from heads.bags import Bags, pool
from heads.head import Head
from heads.training.abmil import bag_outputs

_TILE_COLUMNS = ["tile_id", "slide_id", "x", "y", "edge_l0", "name"]


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a run of `predict` wrote.

    Attributes:
        head: The head.
        collection: Whose vectors it was given.
        slides: How many slides were predicted.
        rows: Rows written: tiles, or slides.
        table: The table that they are in.
        shares: Of each class: its share of the decisions.
    """

    head: str
    collection: str
    slides: int
    rows: int
    table: str
    shares: dict[str, float]


def predict(
    store: Store,
    name: str,
    *,
    slides: Sequence[str] = (),
    where: str | None = None,
    collection: str | None = None,
    on_progress: OnProgress = no_progress,
) -> Predicted:
    """Stream tiles, slides or patients of a collection through a head.

    Their predictions take the place of earlier ones of the same slides; other slides keep theirs.

    Args:
        name: The head's name.
        slides: Only these; all of the collection when empty.
        where: SQL over the slides' columns; only slides that it holds for.
        collection: Another one than the head was fitted on, of the same extractor.
        on_progress: Called with how many tiles, or bags of tiles, are done.
    Raises:
        HeadNotFoundError: there is no such head.
        HeadMismatchError: the collection's vectors are of another extractor.
        SlideNotInStoreError: a slide is not in the collection.
        VectorError: a vector is not finite; nothing was written.
        StoreBusyError: another process is writing predictions of this head.
    """
    head = Head.from_stored(store.heads.get(name))
    source = store.collection(collection or head.collection)
    require_extractor(head, source)
    chosen = _chosen(store, source, slides, where)
    facts = head.facts()
    counts = np.zeros(len(head.classes), np.int64)

    def counted(decisions: NDArray[np.bool_]) -> NDArray[np.bool_]:
        nonlocal counts
        counts = counts + decisions.sum(axis=0)
        return decisions

    table = store.predictions(name)
    if head.level == "tile":
        rows = table.write(facts, _tile_batches(head, facts, source, chosen, counted, on_progress), slides=chosen)
    else:
        rows = _write_slides(store, head, facts, source, chosen, counted, on_progress)
    shares = dict(zip(head.classes, (counts / max(rows, 1)).tolist(), strict=True))
    return Predicted(
        head=name, collection=source.name, slides=len(chosen), rows=rows, table=table.name, shares=shares
    )  # fmt: skip


def require_extractor(head: Head, collection: Collection) -> None:
    """Refuse vectors of another extractor.

    Raises:
        HeadMismatchError: they are; the message says which is which.
    """
    extractor = collection.extractor()
    if extractor.digest != head.extractor_digest:
        raise HeadMismatchError(
            f"head {head.name!r} was fitted on vectors of the extractor {head.extractor_digest}, collection "
            f"{collection.name!r} has those of {extractor}; expected the same; predict "
            f"on {head.collection!r}, or fit a head on this one: `embedstore fit-head --task {head.task} --collection "
            f"{collection.name}`"
        )


def _chosen(store: Store, collection: Collection, slides: Sequence[str], where: str | None) -> list[str]:
    there = set(collection.slides())
    missing = [slide for slide in slides if slide not in there]
    if missing:
        raise SlideNotInStoreError(
            f"collection {collection.name!r} has no slide {', '.join(map(repr, missing[:5]))}; it has {len(there)} "
            "slides, which `embedstore status` lists"
        )
    chosen = set(slides) or there
    if where is not None:
        chosen &= {slide.slide_id for slide in store.ledger.slides(where=where)}
        if not chosen:
            raise SlideNotInStoreError(
                f"no slide of collection {collection.name!r} is such that {where}; `embedstore status` lists the slides"
            )
    return sorted(chosen)


def _tile_batches(
    head: Head,
    facts: PredictionFacts,
    collection: Collection,
    slides: Sequence[str],
    counted: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
    on_progress: OnProgress,
) -> Iterator[pa.RecordBatch]:
    done = 0
    everything = len(slides) == len(collection.slides())
    wanted = None if everything else slides
    total = len(collection) if everything else None
    for batch in collection.batches(slides=wanted, columns=[*_TILE_COLUMNS, "vector"]):
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
        yield tile_batch(facts, batch, probabilities, counted(head.decide(probabilities)))
        done += batch.num_rows
        on_progress(Progress(stage="predict", done=done, total=total, unit="tiles"))


def _write_slides(
    store: Store,
    head: Head,
    facts: PredictionFacts,
    collection: Collection,
    slides: Sequence[str],
    counted: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
    on_progress: OnProgress,
) -> int:
    """Slides' predictions, and the attention of their tiles where the head has any."""
    patients = store.ledger.patients()
    places = read_tile_locations(collection)
    entries = _entries(head.level, places.slides, patients, slides)
    bags = Bags.of_slides(places, entries)
    attention: list[NDArray[np.float32]] = []
    if head.model == "abmil":
        logits, attention = _attend(head, collection, bags, places.version, on_progress)
    else:
        logits = head.ensemble.logits(pool(collection, bags, version=places.version, how=head.model))
    probabilities = head.calibrate(logits)
    decisions = head.decide(probabilities)
    of_entry = {slide: i for i, entry in enumerate(entries) for slide in entry}
    at = [of_entry[slide] for slide in slides]
    batch = slide_batch(
        facts, slides, [patients.get(slide) for slide in slides], probabilities[at], counted(decisions[at])
    )  # fmt: skip
    rows = store.predictions(head.name).write(facts, [batch], slides=slides)
    if attention:
        table = store.predictions(head.name, "attention")
        table.write(facts, _attention_batches(facts, collection, places, bags, attention, slides), slides=slides)
    return rows


def _entries(
    level: str, there: Sequence[str], patients: dict[str, Any], slides: Sequence[str]
) -> list[tuple[str, ...]]:
    """The slides of each bag: one, or all of a patient's whether they were asked for or not."""
    if level == "slide":
        return [(slide,) for slide in slides]
    wanted = dict.fromkeys(patients.get(slide) or slide for slide in slides)
    return [tuple(slide for slide in there if (patients.get(slide) or slide) == patient) for patient in wanted]


def _attend(
    head: Head, collection: Collection, bags: Bags, version: int, on_progress: OnProgress
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """A bag at a time, so that memory holds the tiles of one."""
    logits, attention = [], []
    for i in range(len(bags)):
        rows = bags.rows[bags.start[i] : bags.start[i + 1]]
        alone = Bags(rows=rows, start=np.array([0, len(rows)]))
        found, weights = bag_outputs(
            head.ensemble, read_vectors(collection, rows, version=version), alone, np.arange(1)
        )  # fmt: skip
        logits.append(found)
        attention.append(weights[0])
        on_progress(Progress(stage="predict", done=i + 1, total=len(bags), unit="bags"))
    return np.concatenate(logits, axis=1), attention


def _attention_batches(
    facts: PredictionFacts,
    collection: Collection,
    places: TileLocations,
    bags: Bags,
    attention: Sequence[Any],
    slides: Any,
) -> Iterator[pa.RecordBatch]:
    of_tile = np.full(len(places), np.nan, np.float32)
    of_tile[bags.rows] = np.concatenate(attention)
    at, chosen = 0, set(slides)
    for batch in collection.dataset(places.version).to_batches(columns=_TILE_COLUMNS):
        keep = np.array([slide in chosen for slide in batch.column("slide_id").to_pylist()])
        values = of_tile[at : at + batch.num_rows]
        at += batch.num_rows
        if keep.any():
            yield attention_batch(facts, batch.filter(pa.array(keep)), values[keep])
