"""A latent augmenter of a store that a service serves; as `embedstore.Augmenter`."""

import datetime as dt
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from embedstore.arguments import checks_arguments
from embedstore.client.connection import Connection, path
from embedstore.shown_models import ShownAugmenter

if TYPE_CHECKING:
    from heads.augmentation.augmenter_record import AugmenterRecord
    from heads.augmentation.augmenter_report import AugmenterReport


@checks_arguments
class RemoteAugmenter(ShownAugmenter):
    """A small network that predicts the vector of an augmented tile from the vector of the tile, over HTTP.

    Attributes:
        name: Its name in the store.
        collection: Name of the collection whose views it was trained on.
        digest: Of its parameters.
        created_at: When it was trained, UTC.
    """

    def __init__(self, connection: Connection, facts: Mapping[str, Any]):
        self._connection = connection
        self.name, self.collection, self.digest = facts["name"], facts["collection"], facts["digest"]
        self.created_at = None if facts["created_at"] is None else dt.datetime.fromisoformat(facts["created_at"])

    @cached_property
    def _card(self) -> dict[str, Any]:
        return self._connection.get(path("augmenters", self.name))

    @cached_property
    def record(self) -> "AugmenterRecord":
        """Everything about how it was trained."""
        from heads.augmentation.augmenter_record import AugmenterRecord

        return AugmenterRecord.from_record(self._card)

    @property
    def report(self) -> "AugmenterReport":
        """How near its predictions come to the true views of patients that it has not seen."""
        return self.record.report

    def as_record(self) -> dict[str, Any]:
        """Its name, collection, digest and record as JSON values."""
        return dict(self._card)

    def remove(self) -> None:
        """Remove it from the store; heads that were fitted with it stay, but can no longer be fitted again."""
        self._connection.delete(path("augmenters", self.name))
