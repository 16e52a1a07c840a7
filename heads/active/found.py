"""Tiles that were found for whoever labels, as a table with notes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import HeadMismatchError
from embedstore.store.prediction_schema import decided_labels

if TYPE_CHECKING:
    from heads.head import Head

#: What every table begins with.
PLACE_COLUMNS = ("rank", "tile_id", "slide_id", "patient", "x", "y", "edge_l0", "name")


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundTiles:
    """Tiles in the order in which they should be looked at.

    Attributes:
        table: PLACE_COLUMNS, where `rank` counts from 1, and further columns of what was looked for.
        title: What they are, for people.
        notes: What the user should know.
    """

    table: pa.Table
    title: str
    notes: tuple[str, ...] = ()


def decisions(head: "Head", probabilities: NDArray[np.float32]) -> tuple[pa.Array, pa.Array]:
    """The class that a head decides on, as text, from probabilities (n, classes); and its probability.

    Of several classes the largest probability; null where a head of several classes at once decides on none.
    """
    decided = head.decide(probabilities)
    largest = np.where(decided, probabilities, -1).max(axis=1, initial=-1)
    return decided_labels(head.classes, decided), pa.array(largest, mask=largest < 0)


def require_tile_head(head: "Head") -> None:
    """Raise HeadMismatchError if a head classifies slides or patients."""
    if head.level != "tile":
        raise HeadMismatchError(
            f"head {head.name!r} classifies a {head.level}, not tiles; expected a head for tiles: "
            f"`embedstore fit-head --task {head.task} --model linear` makes one where tiles have labels"
        )
