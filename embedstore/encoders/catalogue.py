"""The published slide encoders that embedstore knows by name, with what is publicly documented about each.

The entries are in `catalogue.toml`. A fact that no public document states is left out, and is None here.
"""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from embedstore.errors import EncoderMismatchError
from embedstore.store import Collection

#: Resolutions of tiles that differ by less than this share are the same: 20x is 0.5 µm/px by name.
MPP_TOLERANCE = 0.1


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The tiles that a slide encoder takes; what is None does not matter or is not known.

    Attributes:
        extractors: Names of the extractor whose vectors it takes, and `hub:` with the repository of its weights; any
            where there is none.
        extractor_dim: Length of these vectors.
        tile_px: Edge of the tiles, pixels.
        mpp: Their resolution, micrometres per pixel.
    """

    extractors: tuple[str, ...] = ()
    extractor_dim: int | None = None
    tile_px: int | None = None
    mpp: float | None = None

    def require(self, collection: Collection, encoder: str) -> tuple[str, ...]:
        """Notes on a collection whose slides are to be encoded.

        Raises:
            EncoderMismatchError: its tiles are others.
        """
        record = collection.record()
        extractor, tiling = record.extractor, record.tiling
        known = {_plain(extractor.ref.name), _plain(str(extractor.details.get("source", "")))}
        here = {
            f"the extractor {' or '.join(self.extractors)}": not self.extractors
            or bool(known & set(map(_plain, self.extractors))),
            f"vectors of {self.extractor_dim} values": self.extractor_dim in (None, extractor.ref.dim),
            f"tiles of {self.tile_px} px": self.tile_px in (None, tiling.tile_px),
            f"{self.mpp} µm/px": self.mpp is None or abs(tiling.mpp / self.mpp - 1) < MPP_TOLERANCE,
        }
        if lacking := [what for what, is_so in here.items() if not is_so]:
            raise EncoderMismatchError(
                f"slide encoder {encoder!r} takes {', '.join(lacking)}; collection {collection.name!r} has vectors of "
                f"{extractor.ref.name} ({extractor.ref.dim} values) of tiles of {tiling.tile_px} px at {tiling.mpp:g} "
                "µm/px; ingest the slides as the encoder wants them, and name that collection with --collection"
            )
        if self.extractors and not extractor.ref.is_known:
            return (
                f"it is not known which weights of {extractor.ref.name} made the imported vectors of {collection.name};"
                f" they are taken for those that {encoder} wants, by their name",
            )
        return ()


def _plain(name: str) -> str:
    """'conchv15' of 'conch-v1.5', 'CONCH_v15' and 'conchv1_5'."""
    return "".join(letter for letter in name.casefold() if letter.isalnum() or letter in ":/")


@dataclass(frozen=True, kw_only=True)
class PublishedEncoder(Wanted):
    """A published slide encoder. It is used by a function of the user's that calls its own package.

    Attributes:
        name: By which it is known here.
        needs_places: Whether it uses where tiles lie.
        dim: Length of a slide's vector.
        hub_id: Repository of the published weights; None where they are not on the hub.
        licence: Of the weights, as their repository states it.
        gated: Whether the weights need an account that was granted access; None where that is unknown.
        url: Source of the facts.
    """

    name: str
    needs_places: bool | None = None
    dim: int | None = None
    hub_id: str | None = None
    licence: str | None = None
    gated: bool | None = None
    url: str = ""


@functools.cache
def published_encoders() -> Mapping[str, PublishedEncoder]:
    """All entries by name, in the order in which they are listed."""
    text = resources.files("embedstore.encoders").joinpath("catalogue.toml").read_text(encoding="utf-8")
    entries = {
        name: PublishedEncoder(**{**facts, "name": name, "extractors": tuple(facts.get("extractors", ()))})
        for name, facts in tomllib.loads(text).items()
    }
    return MappingProxyType(entries)
