"""A latent augmenter: what it was trained on, and how well it predicts the vectors of augmented tiles."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from embedstore.api.html import card
from embedstore.store import Store as StoreTables
from embedstore.store import StoredAugmenter

if TYPE_CHECKING:
    from heads.augmentation.augmenter_report import AugmenterReport


class Augmenter:
    """A small network that takes a tile's embedding to that of the augmented tile.

    Attributes:
        name: Its name in the store.
        collection: Name of the collection whose views it was trained on.
        digest: Of its parameters.
        created_at: When it was trained, UTC.
    """

    def __init__(self, tables: StoreTables, stored: StoredAugmenter):
        self._tables, self._stored = tables, stored
        self.name, self.collection, self.digest = stored.name, stored.collection, stored.digest
        self.created_at = stored.created_at

    @property
    def record(self) -> dict[str, Any]:
        """Everything about how it was trained, as plain values."""
        return self._stored.record

    @cached_property
    def report(self) -> "AugmenterReport":
        """How near its predictions come to the true views of patients that it has not seen."""
        from heads.augmentation.augmenter_report import AugmenterReport

        return AugmenterReport.from_record(self._stored.record["report"])

    def remove(self) -> None:
        """Take it out of the store; heads that were fitted with it stay, and can no longer be fitted again."""
        self._tables.augmenters.remove(self.name)

    def __repr__(self) -> str:
        return f"<Augmenter {self.name!r} of views of {self.collection!r}>"

    def _repr_html_(self) -> str:
        scores = self.report.scores["all"]
        return card(
            f"Augmenter {self.name}",
            {
                "extractor": self.record["extractor"]["name"],
                "views of": self.collection,
                "cosine to the true view, untouched vector": scores.original,
                "cosine to the true view, predicted": scores.predicted,
            },
        )
