"""What a table of predictions holds, what it says of the head that made it, and batches of rows for it."""

import dataclasses
import json
import re
import string
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import StoreError
from embedstore.store.schema import FORMAT_VERSION
from embedstore.store.table import now

FACTS_KEY = b"embedstore.predictions"
#: Between the classes of a place that has several.
LABEL_JOINT = "; "

_TILE_FIELDS = [
    pa.field("tile_id", pa.int64(), nullable=False),
    pa.field("slide_id", pa.string(), nullable=False),
    pa.field("x", pa.int32(), nullable=False),
    pa.field("y", pa.int32(), nullable=False),
    pa.field("edge_l0", pa.int32(), nullable=False),
    pa.field("name", pa.string()),
]
_SLIDE_FIELDS = [pa.field("slide_id", pa.string(), nullable=False), pa.field("patient", pa.string())]
TILE_COLUMNS = tuple(each.name for each in _TILE_FIELDS)


@dataclass(frozen=True, kw_only=True)
class PredictionFacts:
    """What made the predictions of a table; all of its rows are of one version of one head.

    Attributes:
        head: The head's name.
        head_digest: Digest of its parameters and configuration.
        task: The question that it answers.
        collection: Whose vectors it was given.
        extractor_digest: Digest of the extractor of that collection.
        level: What a row is about: a tile; a slide; or a slide with the answer for its whole patient.
        classes: In the order of the probabilities.
        positive: The class that is thresholded in a task of two.
        thresholds: Probability from which a class is decided on: of `positive`, or of each class of a multi-label task.
        multi_label: A place may be of several classes.
        created_at: When the table was begun, ISO 8601.
        columns: The column that holds each class's probability, {class: 'p_…'}; made from the classes where empty.
    """

    head: str
    head_digest: str
    task: str
    collection: str
    extractor_digest: str
    classes: tuple[str, ...]
    level: Literal["tile", "slide", "patient"] = "tile"
    positive: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    multi_label: bool = False
    created_at: str = field(default_factory=lambda: now().isoformat(timespec="seconds"))
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.columns:
            named = dict(zip(self.classes, probability_columns(self.classes), strict=True))
            object.__setattr__(self, "columns", named)

    def same_head(self, other: "PredictionFacts") -> bool:
        """Whether rows of both may stand in one table."""
        return dataclasses.replace(self, created_at="") == dataclasses.replace(other, created_at="")

    def as_record(self) -> dict[str, Any]:
        """As plain JSON values, the columns of the probabilities among them."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        plain = {
            "classes": list(self.classes), "thresholds": dict(self.thresholds), "columns": dict(self.columns)
        }  # fmt: skip
        return {"format": FORMAT_VERSION, **values, **plain}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "PredictionFacts":
        known = {each.name for each in dataclasses.fields(cls)}
        values = {name: value for name, value in record.items() if name in known}
        return cls(**{**values, "classes": tuple(record["classes"])})


def probability_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Columns for the probabilities of classes: 'dense nuclei' is p_dense_nuclei, 'Drüse' p_Druse, '腺' p_腺.

    Accents of Latin letters are left out, so that SQL takes most names without quotes; other letters stay. A sign at
    the end is spelt out ('ER+' is p_ER_plus), what is no letter or digit becomes '_', and of names that would be the
    same but for their case the later ones are numbered.
    """
    taken: dict[str, str] = {}
    for name in classes:
        spelt = re.sub(r"[-−–]$", "_minus", re.sub(r"\+$", "_plus", name.strip()))
        plain = re.sub(r"(?<=[A-Za-z])[\u0300-\u036f]+", "", unicodedata.normalize("NFKD", spelt))
        letters = (
            letter if letter.isalpha() or letter in string.digits else "_"
            for letter in unicodedata.normalize("NFC", plain)
        )
        stem = "p_" + (re.sub(r"_+", "_", "".join(letters)).strip("_") or "class")
        column, number = stem, 2
        while column.casefold() in (other.casefold() for other in taken.values()):
            column, number = f"{stem}_{number}", number + 1
        taken[name] = column
    return tuple(taken.values())


def predictions_schema(facts: PredictionFacts, *, attention: bool = False) -> pa.Schema:
    """The schema of a table of predictions, with the facts in its metadata.

    Tiles: tile_id, slide_id, x, y, edge_l0, name, label, and a float32 column p_… a class; slides and patients:
    slide_id, patient, label and p_…. `label` is the class decided on; of a multi-label task the classes, joined by
    '; ', and '' where it is none of them. With `attention`, tiles with one float32 column `attention`.
    """
    probabilities = [pa.field(column, pa.float32()) for column in facts.columns.values()]
    if attention:
        fields = [*_TILE_FIELDS, pa.field("attention", pa.float32())]
    else:
        place = _TILE_FIELDS if facts.level == "tile" else _SLIDE_FIELDS
        fields = [*place, pa.field("label", pa.string()), *probabilities]
    return pa.schema(fields, metadata={FACTS_KEY: json.dumps(facts.as_record(), sort_keys=True).encode()})


def read_facts(schema: pa.Schema, where: str) -> PredictionFacts:
    """The facts kept in a table's schema metadata.

    Raises:
        StoreError: the table was not written by this version of embedstore.
    """
    raw = (schema.metadata or {}).get(FACTS_KEY)
    record = json.loads(raw) if raw else {}
    if record.get("format") != FORMAT_VERSION:
        raise StoreError(
            f"table {where} has predictions of format {record.get('format')}; this embedstore reads format "
            f"{FORMAT_VERSION}; predict again, or install the embedstore version that wrote it"
        )
    return PredictionFacts.from_record(record)


def tile_batch(
    facts: PredictionFacts,
    tiles: pa.RecordBatch | pa.Table,
    probabilities: NDArray[np.floating],
    decisions: NDArray[np.bool_],
) -> pa.RecordBatch:
    """Rows of a tile head.

    Args:
        facts: Of the table.
        tiles: n rows of the collection, with at least tile_id, slide_id, x, y, edge_l0 and name.
        probabilities: (n, classes).
        decisions: (n, classes), which classes are decided on; exactly one a row unless the task is multi-label.
    """
    return _batch(facts, [_whole(tiles.column(name)) for name in TILE_COLUMNS], probabilities, decisions)


def slide_batch(
    facts: PredictionFacts,
    slide_ids: Sequence[str],
    patients: Sequence[str | None],
    probabilities: NDArray[np.floating],
    decisions: NDArray[np.bool_],
) -> pa.RecordBatch:
    """Rows of a head for slides or patients: one a slide, (n, classes) as in `tile_batch`."""
    places = [pa.array(slide_ids, pa.string()), pa.array(patients, pa.string())]
    return _batch(facts, places, probabilities, decisions)


def attention_batch(
    facts: PredictionFacts, tiles: pa.RecordBatch | pa.Table, attention: NDArray[np.floating]
) -> pa.RecordBatch:
    """The attention (n,) of a head for slides or patients to tiles; arguments as of `tile_batch`."""
    places = [_whole(tiles.column(name)) for name in TILE_COLUMNS]
    schema = predictions_schema(facts, attention=True)
    return pa.RecordBatch.from_arrays([*places, pa.array(attention.astype(np.float32))], schema=schema)


def _batch(
    facts: PredictionFacts, places: list[pa.Array], probabilities: NDArray[np.floating], decisions: NDArray[np.bool_]
) -> pa.RecordBatch:
    columns = [pa.array(np.ascontiguousarray(column, np.float32)) for column in probabilities.T]
    labels = decided_labels(facts.classes, decisions)
    return pa.RecordBatch.from_arrays([*places, labels, *columns], schema=predictions_schema(facts))


def decided_labels(classes: Sequence[str], decisions: NDArray[np.bool_]) -> pa.Array:
    """The classes decided on, (n, classes) bool, as one text a row."""
    patterns, which = np.unique(decisions, axis=0, return_inverse=True)
    texts = [LABEL_JOINT.join(name for name, on in zip(classes, row, strict=True) if on) for row in patterns]
    return pa.array(texts, pa.string()).take(pa.array(which.ravel()))


def decided_classes(facts: PredictionFacts, rows: pa.RecordBatch | pa.Table) -> NDArray[np.bool_]:
    """Which classes the column `label` names, (n, classes): `decided_labels` backwards."""
    encoded = _whole(rows["label"]).dictionary_encode()
    texts, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    named = [set(text.split(LABEL_JOINT)) if facts.multi_label else {text} for text in texts]
    patterns = np.array([[name in names for name in facts.classes] for names in named], bool)
    return patterns.reshape(-1, len(facts.classes))[codes]


def probability_matrix(facts: PredictionFacts, rows: pa.RecordBatch | pa.Table) -> NDArray[np.float32]:
    """The probabilities of rows, (n, classes)."""
    return np.stack([_whole(rows[column]).to_numpy() for column in facts.columns.values()], axis=1)


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
