"""Heads to evaluate, and the collections that they are evaluated on."""

from collections.abc import Sequence
from dataclasses import dataclass

from embedstore.errors import HeadMismatchError
from embedstore.store import Collection, Store, StoredHead
from heads.cohorts.seen import Seen
from heads.head import Head
from heads.record import HeadRecord


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A head to evaluate, and what it was fitted on.

    Attributes:
        digest: Of its parameters, as it is stored.
    """

    head: Head
    record: HeadRecord
    seen: Seen
    digest: str

    @classmethod
    def of(cls, store: Store, stored: StoredHead) -> "Subject":
        record = HeadRecord.from_record(stored.record)
        return cls(head=Head.from_stored(stored), record=record, seen=Seen.of(store, stored), digest=stored.digest)


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Where heads are evaluated.

    Attributes:
        store: The store whose slides and labels count.
        collection: Of that store, at one version.
        subjects: The heads.
    """

    store: Store
    collection: Collection
    subjects: Sequence[Subject]


def places_of(
    store: Store, subjects: Sequence[Subject], on: tuple[Store, str] | None, *, same_extractor: bool
) -> list[Place]:
    """The collections that heads are evaluated on, all of them checked before any work.

    Args:
        store: The store of the heads.
        on: The store and name of the collection; the one that each head was fitted on when None.
        same_extractor: As of `EvaluateConfig`.
    Raises:
        HeadMismatchError: the collection's vectors are of another extractor.
        CollectionNotFoundError: there is no such collection.
    """
    where, name = (store, None) if on is None else on
    by_name: dict[str, tuple[Collection, list[Subject]]] = {}
    for subject in subjects:
        collection = where.collection(name or subject.head.collection)
        _require_same_extractor(subject, collection, same_extractor)
        by_name.setdefault(collection.name, (collection.pinned(), []))[1].append(subject)
    return [Place(store=where, collection=collection, subjects=heads) for collection, heads in by_name.values()]


def _require_same_extractor(subject: Subject, collection: Collection, same_extractor: bool) -> None:
    theirs, ours = collection.extractor(), subject.record.extractor
    if theirs.digest == ours.digest:
        return
    if not same_extractor:
        raise HeadMismatchError(
            f"head {subject.head.name!r} was fitted on vectors of the extractor {ours}, collection {collection.name!r} "
            f"has those of {theirs}; expected the same, as vectors of two extractors have nothing in common; ingest "
            "these slides with that extractor, or pass --same-extractor if you know that weights and preprocessing "
            "are the same, such as of vectors that were imported"
        )
    if theirs.dim != ours.dim:
        raise HeadMismatchError(
            f"collection {collection.name!r} has vectors of {theirs.dim} dimensions, head {subject.head.name!r} takes "
            f"{ours.dim}: they are of two extractors"
        )
