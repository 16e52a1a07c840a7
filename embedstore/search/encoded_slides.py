"""Slides similar to a slide, by one vector a slide that an encoder made."""

import numpy as np
import pyarrow as pa

from embedstore.config import require
from embedstore.errors import EncodingNotFoundError, QueryError, SlideNotInStoreError
from embedstore.search.filters import select_slides
from embedstore.search.tile_sample import directions
from embedstore.store import Collection, Patients, Store

COLUMNS = pa.schema(
    [
        pa.field("rank", pa.int64()),
        pa.field("slide_id", pa.string()),
        pa.field("patient", pa.string()),
        pa.field("distance", pa.float32()),
    ]
)


def similar_encoded_slides(
    store: Store,
    collection: Collection,
    slide_id: str,
    encoder: str,
    *,
    k: int = 10,
    where: str | None = None,
    exclude_same_patient: bool = False,
) -> pa.Table:
    """Rank slides by the cosine distance of their vectors to that of a slide; all are compared.

    Args:
        slide_id: A slide of the collection; it is left out of the result.
        encoder: Name of the encoding.
        k: How many slides.
        where: Only slides that fulfil this condition; see `select_slides`.
        exclude_same_patient: Leave out other slides of the same patient.
    Returns:
        Up to k rows: rank from 1, slide_id, patient, distance (0 to 2).
    Raises:
        ConfigError: k is below 1; or `where` is not a valid condition on slides.
        EncodingNotFoundError: there is no such encoding, or it does not have the slide yet.
        QueryError: slides of the same patient are to be left out, and the slide's patient is not known; or the slide's
            vector is zero.
        SlideNotInStoreError: the collection has no tile of the slide.
    """
    require(k >= 1, f"k is {k}; expected 1 or more slides")
    present = collection.slides()
    if slide_id not in present:
        raise SlideNotInStoreError(
            f"collection {collection.name!r} has no tile of slide {slide_id!r} to search with; `embedstore status` "
            "lists the slides and their states"
        )
    names, vectors = store.encoding(collection.name, encoder).vectors(present)
    if slide_id not in names:
        raise EncodingNotFoundError(
            f"slide {slide_id!r} is not encoded by {encoder!r} yet; `embedstore encode-slides --collection "
            f"{collection.name} --encoder {encoder}` encodes it"
        )
    unit, valid = directions(vectors)
    if not valid[names.index(slide_id)]:
        raise QueryError(f"the vector of slide {slide_id!r} by {encoder!r} is zero; expected one with a direction")
    names = [name for name, has_direction in zip(names, valid, strict=True) if has_direction]
    patients = Patients(store)
    left_out = set(patients.require_slides_with_same([slide_id]) if exclude_same_patient else [slide_id]) | {slide_id}
    allowed = set(names) - left_out
    if where is not None:
        allowed &= set(select_slides(store, collection, where))
    distance = np.maximum(1 - unit @ unit[names.index(slide_id)], 0)  # rounding can give less than 0
    ranking = sorted((float(d), name) for d, name in zip(distance, names, strict=True) if name in allowed)[:k]
    columns = {
        "rank": range(1, len(ranking) + 1),
        "slide_id": [name for _, name in ranking],
        "patient": [patients.of_slide.get(name) for _, name in ranking],
        "distance": [d for d, _ in ranking],
    }
    return pa.table({name: pa.array(values, COLUMNS.field(name).type) for name, values in columns.items()})
