"""The rows of the ledger: a slide, and its outcome in a collection."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from embedstore.store.schema import OUTCOMES, SLIDES

State = Literal["done", "empty", "failed"]
Scalar = str | int | float | bool | None
#: The store's own columns; Arrow makes such a list anew whenever a schema is asked for it.
_SLIDE_COLUMNS = tuple(SLIDES.names)
_OUTCOME_COLUMNS = tuple(OUTCOMES.names)


@dataclass(frozen=True, kw_only=True)
class SlideRow:
    """A slide, whichever collections it is in.

    Attributes:
        kind: `wsi`, or `tiles`: a folder of ready-made tiles.
        bounds_x, bounds_y, bounds_width, bounds_height: The part with an image, level-0 pixels, as QuPath shows it.
        slide_mpp: Micrometres per level-0 pixel, as used.
        tissue_mm2: Area of tissue, mm².
        metadata: Further columns of the user's list of slides, including `patient`.
        updated_at: When the row was written; None before that.
    """

    slide_id: str
    path: str
    kind: Literal["wsi", "tiles"]
    width_l0: int | None = None
    height_l0: int | None = None
    bounds_x: int | None = None
    bounds_y: int | None = None
    bounds_width: int | None = None
    bounds_height: int | None = None
    slide_mpp: float | None = None
    vendor: str | None = None
    tissue_mm2: float | None = None
    fingerprint: str | None = None
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    updated_at: dt.datetime | None = None

    @property
    def patient(self) -> str | None:
        """The slide's patient; None if unknown."""
        patient = self.metadata.get("patient")
        return None if patient is None else str(patient)

    @property
    def is_ready_made(self) -> bool:
        """Whether it is a folder of ready-made tiles, which have file names and no location."""
        return self.kind == "tiles"

    @property
    def corner_l0(self) -> tuple[int, int]:
        """Top-left corner of the part with an image, level-0 pixels; (0, 0) if unknown."""
        return self.bounds_x or 0, self.bounds_y or 0

    def column(self, name: str) -> Any:
        """The value of a column, which may be one of the user's; None if it has none."""
        return self.as_record().get(name)

    def as_record(self) -> dict[str, Any]:
        """{column: value} of the table: the store's own columns, then the user's."""
        own = {name: getattr(self, name) for name in _SLIDE_COLUMNS}
        return own | {name: value for name, value in self.metadata.items() if name not in _SLIDE_COLUMNS}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "SlideRow":
        """The row of a record of the table; columns that an older version did not write are None."""
        own: dict[str, Any] = {name: record.get(name) for name in _SLIDE_COLUMNS if name != "patient"}
        own |= {"path": own["path"] or "", "kind": own["kind"] or "wsi"}
        metadata = {name: value for name, value in record.items() if name == "patient" or name not in _SLIDE_COLUMNS}
        return cls(**own, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a slide in a collection.

    Attributes:
        state: `done`; `empty` (no tile has enough tissue); `failed`.
        tiles: Number of its rows in the collection.
        unreadable: Number of planned tiles that could not be read.
        plan_s, read_s, extract_s, write_s: Where the time went, seconds, summed over workers.
        error: Name of the error's class.
        reason: Its message.
        warnings: What the user should know about the slide, such as an implausible mpp.
        views_error: Why the views of the slide's tiles could not be made; the rest of its outcome stays as it is.
        updated_at: When the row was written; None before that.
    """

    collection: str
    slide_id: str
    path: str
    state: State
    tiles: int = 0
    unreadable: int = 0
    reader: str | None = None
    plan_s: float = 0.0
    read_s: float = 0.0
    extract_s: float = 0.0
    write_s: float = 0.0
    error: str | None = None
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    run_id: str | None = None
    views_error: str | None = None
    updated_at: dt.datetime | None = None

    @property
    def key(self) -> str:
        """The primary key: a slide has one outcome in each collection."""
        return outcome_key(self.collection, self.slide_id)

    @property
    def seconds(self) -> dict[str, float]:
        """{stage: seconds} of plan, read, extract and write."""
        return {"plan": self.plan_s, "read": self.read_s, "extract": self.extract_s, "write": self.write_s}

    def as_record(self) -> dict[str, Any]:
        """{column: value} of the table."""
        return {name: getattr(self, name) for name in _OUTCOME_COLUMNS} | {"warnings": list(self.warnings)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Outcome":
        """The outcome of a record of the table."""
        values = {name: value for name, value in record.items() if value is not None and name in _OUTCOME_COLUMNS}
        del values["key"]
        return cls(**{**values, "path": record["path"] or "", "warnings": tuple(record["warnings"] or ())})


def outcome_key(collection: str, slide_id: str) -> str:
    return f"{collection}/{slide_id}"
