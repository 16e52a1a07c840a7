"""A query by words, embedded by the text tower that belongs to the collection's extractor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from embedstore.errors import CollectionMismatchError, ExtractorError
from embedstore.query_text import given_texts, text_title
from embedstore.search.queries.image_query import load_own_extractor
from embedstore.search.queries.query import Query, mean_direction, unit_rows
from embedstore.store import Collection, CollectionRecord

if TYPE_CHECKING:
    from embedstore.extractors import Extractor, TextTower


def text_query(
    collection: Collection,
    texts: str | Sequence[str],
    *,
    device: str = "auto",
    trust_extractor: bool = False,
    tower: "TextTower | None" = None,
) -> Query:
    """A query by words, where the collection's extractor has a text tower.

    Of several texts it is the mean of their vectors, each at length 1, as prompts are put together in CLIP (Radford et
    al. 2021, arXiv 2103.00020).

    Args:
        texts: A text, or several that say the same in other words.
        device: As for `image_query`.
        trust_extractor: Run the function that the collection names, if its extractor is one.
        tower: The collection's own, from `own_text_tower`; loaded here when None.
    Raises:
        QueryError: a text is empty or too long.
        ExtractorError: the extractor has no text tower, or is a function that was not trusted.
        CollectionMismatchError: the extractor or its text tower has changed since the collection was made.
        WeightsError, UnknownExtractorError, DeviceError: the extractor cannot be loaded here.
        VectorError: the texts cancel out.
    """
    given = given_texts(texts)
    if tower is None:
        tower = load_text_tower(collection.name, collection.record(), device=device, trusted=trust_extractor)
    title = text_title(given)
    rows = unit_rows(tower.embed_text(given))
    return Query(vector=mean_direction(rows.sum(axis=0, dtype=np.float64), len(rows), what=title), title=title)


def load_text_tower(name: str, record: CollectionRecord, *, device: str = "auto", trusted: bool = False) -> "TextTower":
    """Load the text tower of the extractor that made a collection; errors as of `text_query`."""
    require_text_tower(name, record)
    extractor = load_own_extractor(name, record, by="words", device=device, trusted=trusted)
    return own_text_tower(name, record, extractor)


def require_text_tower(name: str, record: CollectionRecord) -> None:
    """Raise ExtractorError where it is known, without loading it, that a collection's extractor has no text tower."""
    from embedstore.extractors.load import may_have_text_tower

    ref = ((record.request or {}).get("extractor") or {}).get("ref")
    if "text" not in record.extractor.details and ref is not None and not may_have_text_tower(ref):
        raise ExtractorError(_no_tower(name, record))


def own_text_tower(name: str, record: CollectionRecord, extractor: "Extractor") -> "TextTower":
    """The text tower of a collection's extractor.

    Args:
        extractor: The collection's own, from `load_own_extractor`.
    Raises:
        ExtractorError: it has none.
        CollectionMismatchError: it has another than when the collection was made.
    """
    from embedstore.extractors.text_tower import recorded_text

    tower = extractor.text_tower
    if tower is None:
        raise ExtractorError(_no_tower(name, record))
    recorded = recorded_text(record.extractor.details)
    if recorded is not None and recorded["digest"] != tower.digest:
        raise CollectionMismatchError(
            f"collection {name!r} was made by extractor {record.extractor.ref.name!r} with the text tower "
            f"{recorded['digest']}; what loads now has {tower.digest}: its words lie elsewhere than the tiles; bring "
            "the old weights back, or ingest into a new collection with the new ones"
        )
    return tower


def _no_tower(name: str, record: CollectionRecord) -> str:
    return (
        f"collection {name!r} cannot be asked by words: its extractor {record.extractor.ref.name!r} has no text tower, "
        "and its vectors are in no space that words share; `embedstore extractors` shows which have one: ingest the "
        "slides into another collection with such an extractor, or search by tile or image"
    )
