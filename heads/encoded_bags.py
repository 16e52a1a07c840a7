"""One vector a slide or patient, from an encoding of a collection's slides."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedstore.encoding_record import EncoderRef
from embedstore.errors import EncodingNotFoundError
from embedstore.store import Collection, Store, read_tile_locations, slide_states
from heads.bags import Bags


def encoded_bags(
    store: Store, collection: Collection, encoder: str, slides: Sequence[Sequence[str]]
) -> tuple[EncoderRef, NDArray[np.float32]]:
    """The encoder, and the mean (n, dim) of the slides' vectors of each bag.

    Args:
        encoder: Name of the encoding.
        slides: The slides of each bag: one, or all of a patient.
    Raises:
        EncodingNotFoundError: there is no such encoding, or it lacks a slide, or a slide's tiles changed since.
    """
    held = store.encoding(collection.name, encoder)
    ref = held.record().ref
    present, stored = slide_states(store.ledger, collection), held.states()
    wanted = {slide for of_bag in slides for slide in of_bag}
    if lacking := sorted(slide for slide in wanted if slide not in present or stored.get(slide) != present[slide]):
        raise EncodingNotFoundError(
            f"{len(lacking):,} of {len(wanted):,} slides are not encoded by {encoder!r}, or changed since, such as "
            f"{lacking[0]!r}; `embedstore encode-slides --collection {collection.name} --encoder {encoder}` encodes "
            "them"
        )
    names, vectors = held.vectors(wanted)
    row = {name: i for i, name in enumerate(names)}
    return ref, np.stack([vectors[[row[slide] for slide in of_bag]].mean(axis=0) for of_bag in slides])


def slides_of_bags(collection: Collection, bags: Bags, *, version: int) -> list[list[str]]:
    """The slides whose tiles each bag holds."""
    tiles = read_tile_locations(collection.pinned(version))
    codes = np.split(tiles.slide[bags.rows], bags.start[1:-1])
    return [[tiles.slides[code] for code in np.unique(of_bag)] for of_bag in codes]
