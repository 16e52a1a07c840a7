"""A latent augmenter: what it was trained on, and how well it predicts the vectors of augmented tiles."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from embedstore.access_errors import tells_access_errors
from embedstore.result_table import card
from embedstore.store import Store as StoreTables
from embedstore.store import StoredAugmenter

if TYPE_CHECKING:
    from heads.augmentation.augmenter_record import AugmenterRecord
    from heads.augmentation.augmenter_report import AugmenterReport


@tells_access_errors
class Augmenter:
    """A small network that predicts the vector of an augmented tile from the vector of the tile.

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

    @cached_property
    def record(self) -> "AugmenterRecord":
        """Everything about how it was trained."""
        from heads.augmentation.augmenter_record import AugmenterRecord

        return AugmenterRecord.from_record(self._stored.record)

    @property
    def report(self) -> "AugmenterReport":
        """How near its predictions come to the true views of patients that it has not seen."""
        return self.record.report

    def as_record(self) -> dict[str, Any]:
        """Its name, collection, digest and record as JSON values."""
        return {"name": self.name, "collection": self.collection, "digest": self.digest, **self._stored.record}

    def remove(self) -> None:
        """Remove it from the store; heads that were fitted with it stay, but can no longer be fitted again."""
        self._tables.augmenters.remove(self.name)

    def __repr__(self) -> str:
        return f"<Augmenter {self.name!r} of views of {self.collection!r}>"

    def _repr_html_(self) -> str:
        from heads.augmentation.augmenter_report import ALL

        scores = self.report.scores[ALL]
        return card(
            f"Augmenter {self.name}",
            {
                "extractor": self.record.extractor.name,
                "views of": self.collection,
                "cosine to the true view, tile's own vector": scores.original,
                "cosine to the true view, predicted": scores.predicted,
            },
        )
