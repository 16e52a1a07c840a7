"""A latent augmenter: what it was trained on, and how well it predicts the vectors of augmented tiles."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from embedstore.access_errors import tells_access_errors
from embedstore.arguments import checks_arguments
from embedstore.shown_models import ShownAugmenter
from embedstore.store import Store as StoreTables
from embedstore.store import StoredAugmenter

if TYPE_CHECKING:
    from heads.augmentation.augmenter_record import AugmenterRecord
    from heads.augmentation.augmenter_report import AugmenterReport


@tells_access_errors
@checks_arguments
class Augmenter(ShownAugmenter):
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
