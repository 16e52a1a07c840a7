"""`encode_slides`: the tiles of each slide through a slide encoder, into the store, a few slides at a time."""

import logging
import time
from collections.abc import Collection as AnyOf
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.encoders.encoder import Bag, SlideEncoder
from embedstore.encoding_record import Encoded, EncoderRef, EncodingRecord
from embedstore.errors import EncoderMismatchError, SlideNotInStoreError, StoreBusyError
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.store import Collection, Encoding, SlideState, Store, slide_states
from embedstore.store.schema import batch_rows
from embedstore.store.table import now
from embedstore.store.vectors import bad_rows, matrix
from embedstore.version import __version__

log = logging.getLogger(__name__)

#: Slides are committed when so many are encoded, or after so many seconds: what a killed run loses.
COMMIT_SLIDES, COMMIT_S = 200, 20.0
#: Removing a slide and other runs hold the lease only while they write, seconds.
WAIT_S = 20.0
#: From this share of a collection's slides on, all of it is read: a filter that keeps an eighth is slower than that.
SCAN_SHARE = 0.1
_COLUMNS = ["slide_id", "x", "y", "edge_l0", "name", "vector"]


def encode_slides(
    store: Store,
    collection: Collection,
    encoder: SlideEncoder,
    *,
    name: str,
    slides: Sequence[str] = (),
    rebuild: bool = False,
    codebook_of: Encoding | None = None,
    on_progress: OnProgress = no_progress,
) -> Encoded:
    """Encode the slides of a collection that are not encoded yet, or whose tiles changed since.

    A slide is encoded as a whole. What is finished is committed every few seconds, so the same call finishes an
    interrupted one.

    Args:
        name: Of the encoding.
        slides: Only these; all of the collection when empty.
        rebuild: Make it anew where there is one.
        codebook_of: Another encoding, whose codebook is used where none is fitted yet.
    Raises:
        SlideNotInStoreError: a slide is not in the collection.
        EncoderMismatchError: the encoding that there is was made with another encoder or codebook; or the encoder takes
            the vectors of another extractor, or of other tiles.
        StoreBusyError: another process is writing to the encoding, or made it anew meanwhile.
    """
    held = store.encoding(collection.name, name)
    made = held.exists() and not rebuild
    if made and held.record().source != encoder.source:  # what another one fitted is not read
        raise _made_otherwise(held, encoder.source)
    fitted = held.parameters() if made else b""
    if codebook_of is not None:
        given = _codebook(codebook_of, collection)
        if made and given != fitted:
            raise EncoderMismatchError(
                f"encoding {name!r} of collection {collection.name!r} has a codebook, and it is not that of "
                f"{codebook_of.collection!r}; make all anew with --rebuild, or choose another --name"
            )
        fitted = given
    notes = encoder.prepare(collection, fitted)
    dim = _dim_of_same(held, encoder) if made else None
    states = slide_states(store.ledger, collection)
    if missing := sorted(set(slides) - states.keys()):
        raise SlideNotInStoreError(
            f"collection {collection.name!r} has no slide {', '.join(map(repr, missing[:5]))}; it has {len(states)} "
            "slides, which `embedstore status` lists"
        )
    chosen = {slide: states[slide] for slide in slides} if slides else states
    stored = {} if rebuild else held.states()
    wanted = {slide: state for slide, state in chosen.items() if stored.get(slide) != state}
    details = encoder.details() or ({} if codebook_of is None else codebook_of.record().details)
    run = _Run(
        collection=collection, held=held, encoder=encoder, states=wanted, details=details, new=not made, dim=dim
    )  # fmt: skip
    if gone := stored.keys() - states.keys():  # their last tile went with another ingest of the slide
        with held.lease(wait_s=WAIT_S):
            held.forget(gone - collection.slides().keys())
    try:
        for done, (slide, outcome) in enumerate(_encoded(collection.pinned(), encoder, wanted), start=1):
            run.take(slide, outcome)
            on_progress(Progress(stage="encode", done=done, total=len(wanted), unit="slides"))
    except (KeyboardInterrupt, SystemExit):
        run.commit()
        raise
    run.commit()
    return Encoded(
        record=held.record() if held.exists() else None,
        encoded=tuple(run.encoded),
        already=len(chosen) - len(wanted),
        failed=run.failed,
        notes=notes,
    )


def _codebook(other: Encoding, collection: Collection) -> bytes:
    """What was fitted for another encoding, whose collection has vectors of the same extractor."""
    record, extractor = other.record(), collection.extractor()
    if record.extractor.digest != extractor.digest:
        raise EncoderMismatchError(
            f"the codebook of collection {other.collection!r} is of vectors of {record.extractor}, collection "
            f"{collection.name!r} has those of {extractor}; expected the same extractor"
        )
    return other.parameters()


def _dim_of_same(held: Encoding, encoder: SlideEncoder) -> int:
    """Length of the vectors of an encoding that was made with this encoder."""
    record = held.record()
    if record.ref.digest != encoder.digest:
        raise _made_otherwise(held, f"{encoder.source} ({encoder.digest})")
    return record.ref.dim


def _made_otherwise(held: Encoding, encoder: str) -> EncoderMismatchError:
    record = held.record()
    return EncoderMismatchError(
        f"encoding {held.encoder!r} of collection {held.collection!r} was made with {record.source} "
        f"({record.ref.digest}), not with {encoder}; expected the same encoder; give the new vectors a --name of their "
        "own, or make all anew with --rebuild"
    )


@dataclass(kw_only=True)
class _Run:
    """What is encoded and not committed yet, and what became of the slides so far.

    Attributes:
        states: What each slide is encoded from.
        details: What is recorded of the encoder.
        new: Whether the table is still to be made.
        dim: Length of a slide's vector, once it is known.
    """

    collection: Collection
    held: Encoding
    encoder: SlideEncoder
    states: Mapping[str, SlideState]
    details: Mapping[str, Any]
    new: bool
    dim: int | None
    encoded: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    _waiting: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    _committed_at: float = field(default_factory=time.monotonic)

    def take(self, slide: str, outcome: NDArray[np.float32] | str) -> None:
        """Note the vector of a slide, or why it has none."""
        if isinstance(outcome, str):
            self.failed[slide] = outcome
            return
        self.dim = self.dim or len(outcome)
        if len(outcome) != self.dim:
            self.failed[slide] = f"the encoder gave {len(outcome)} values; expected {self.dim}, as of other slides"
            return
        self._waiting[slide] = outcome
        if len(self._waiting) >= COMMIT_SLIDES or time.monotonic() > self._committed_at + COMMIT_S:
            self.commit()

    def commit(self) -> None:
        """Write what waits, except of slides that were removed meanwhile."""
        if not self._waiting:
            return
        with self.held.lease(wait_s=WAIT_S) as lease:  # a slide that is being removed has the lease, or is gone already
            present = self.collection.slides()
            slides = [slide for slide in self._waiting if slide in present]
            self._begin()
            lease.check()
            if slides:
                self.held.put(slides, [self.states[s] for s in slides], np.stack([self._waiting[s] for s in slides]))
        self.encoded += slides
        self._waiting.clear()
        self._committed_at = time.monotonic()

    def _begin(self) -> None:
        """Make the table where that is still to be done; else check that it is the one that this run adds to."""
        assert self.dim is not None, "a slide is encoded"
        if not self.new:
            record = self.held.record()
            if (record.ref.digest, record.ref.dim) != (self.encoder.digest, self.dim):
                raise StoreBusyError(
                    f"encoding {self.held.encoder!r} of collection {self.collection.name!r} was made anew meanwhile by "
                    "another encoder; nothing more was written; run this again"
                )
            return
        record = EncodingRecord(
            ref=EncoderRef(name=self.held.encoder, digest=self.encoder.digest, dim=self.dim),
            source=self.encoder.source,
            collection=self.collection.name,
            extractor=self.collection.extractor(),
            collection_version=self.collection.dataset().version,
            embedstore=__version__,
            created_at=now().isoformat(timespec="seconds"),
            details=self.details,
        )
        self.held.begin(record, self.encoder.parameters())
        self.new = False


def _encoded(
    collection: Collection, encoder: SlideEncoder, wanted: Mapping[str, SlideState]
) -> Iterator[tuple[str, NDArray[np.float32] | str]]:
    """Each slide with its vector, or with why it has none."""
    for slide, bag in _bags(collection, encoder, wanted):
        if isinstance(bag, str):
            yield slide, bag
            continue
        try:
            vector = np.asarray(bag.finish())
        except Exception as error:  # a user's own function may raise anything; the slide fails, the run goes on
            log.info("slide %s cannot be encoded", slide, exc_info=True)
            yield slide, f"the encoder failed: {type(error).__name__}: {error}"
            continue
        yield slide, _wrong(vector) or vector.astype(np.float32)


def _wrong(vector: NDArray[np.generic]) -> str | None:
    """What is wrong with the result of an encoder, if anything."""
    if vector.ndim != 1 or not len(vector):
        return f"the encoder gave an array of shape {vector.shape}; expected one vector, (E,)"
    if vector.dtype.kind not in "fiu":
        return f"the encoder gave values of type {vector.dtype}; expected numbers"
    if not np.isfinite(vector.astype(np.float32)).all():
        return "the encoder gave NaN or infinity; expected finite numbers in float32"
    return None


def _bags(
    collection: Collection, encoder: SlideEncoder, wanted: Mapping[str, SlideState]
) -> Iterator[tuple[str, Bag | str]]:
    """Bags of whole slides as their last tile is read, or why a slide cannot be one.

    A slide's rows come one after the other, so one bag is open at a time.
    """
    open_bags: dict[str, Bag | str] = {}
    left = {slide: state.tiles for slide, state in wanted.items()}
    few = len(wanted) < SCAN_SHARE * len(collection.slides())
    columns = _COLUMNS if encoder.needs_places else [name for name in _COLUMNS if name != "name"]
    batches = collection.batches(
        slides=list(wanted) if few else None, columns=columns, batch_size=batch_rows(collection.dim)
    )
    for batch in batches if wanted else ():
        for slide, rows in _slides_in(batch, wanted.keys()):
            if slide not in left:
                continue  # it has more tiles now than when the run began: it is encoded by the next one
            bag = open_bags[slide] if slide in open_bags else encoder.open_bag(wanted[slide].tiles)
            open_bags[slide] = bag
            if not isinstance(bag, str):
                open_bags[slide] = _add(bag, rows, collection.dim, needs_places=encoder.needs_places)
            left[slide] -= len(rows)
            if left[slide] == 0:
                del left[slide]
                yield slide, open_bags.pop(slide)
    for slide in left:
        yield slide, "its tiles changed while they were read; run this again"


def _slides_in(batch: pa.RecordBatch, wanted: AnyOf[str]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows of each wanted slide in a batch."""
    encoded = batch.column("slide_id").dictionary_encode()
    names, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(codes)], strict=True):
        if (name := names[codes[start]]) in wanted:
            yield name, batch.slice(start, stop - start)


def _add(bag: Bag, rows: pa.RecordBatch, dim: int, *, needs_places: bool) -> Bag | str:
    """The bag with some more tiles, or why it cannot take them."""
    if needs_places and rows.column("name").null_count < len(rows):
        return "its tiles are ready-made and have no place on a slide, which the encoder needs"
    vectors = matrix(rows.column("vector"), dim)
    if bad := len(bad_rows(vectors)):
        return f"{bad:,} of its tile vectors hold NaN or infinity; ingest it again with --force in another precision"
    xy_l0 = np.stack([rows.column("x").to_numpy(), rows.column("y").to_numpy()], axis=1)
    bag.add(vectors, xy_l0, int(rows.column("edge_l0")[0].as_py()))
    return bag
