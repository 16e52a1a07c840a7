"""The schema of a table of predictions, the facts in its metadata about the head, and batches of its rows."""

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

from embedstore.errors import LabelError, StoreError
from embedstore.store.schema import FORMAT_VERSION
from embedstore.store.table import now

FACTS_KEY = b"embedstore.predictions"
#: Separates the classes in the column `label` of a multi-label task.
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
    """Which head made the predictions of a table, and from what; all rows are of one version of one head.

    Attributes:
        head: The head's name.
        head_digest: Digest of its parameters and configuration.
        task: The head's task.
        collection: The collection whose vectors it was given, which need not be the one that it was fitted on.
        extractor_digest: Digest of the extractor of that collection.
        level: What a row is about: a tile; a slide; or a slide, with the prediction for its patient.
        classes: The classes, in the order of the probabilities.
        positive: The positive class of a task with two classes.
        thresholds: {class: probability from which it is predicted}, of `positive` or, if multi-label, of each class.
        multi_label: Whether a row may have several classes.
        created_at: When the table was created, ISO 8601.
        columns: {class: the column of its probability, 'p_…'}; made from the classes if empty.
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
        """Whether rows of both may be in one table."""
        return dataclasses.replace(self, created_at="") == dataclasses.replace(other, created_at="")

    def only_collection_differs(self, other: "PredictionFacts") -> bool:
        """Whether both are of one head, with vectors of two collections."""
        same_head = dataclasses.replace(self, collection=other.collection).same_head(other)
        return same_head and self.collection != other.collection

    def as_record(self) -> dict[str, Any]:
        """The facts as JSON values, including the columns of the probabilities."""
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

    Latin letters lose their accents, so that SQL takes most names without quotes; other letters stay. A plus or minus
    at the end is spelled out ('ER+' is p_ER_plus). Any other character becomes '_'. A name that an earlier class
    already has, whatever its case, gets a number.
    """
    taken: dict[str, str] = {}
    for name in classes:
        spelled = re.sub(r"[-−–]$", "_minus", re.sub(r"\+$", "_plus", name.strip()))
        plain = re.sub(r"(?<=[A-Za-z])[\u0300-\u036f]+", "", unicodedata.normalize("NFKD", spelled))
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
    slide_id, patient, label and p_…. `label` is the predicted class; in a multi-label task all predicted classes,
    joined by '; ', or '' for none. With `attention`: the columns of tiles, and a float32 column `attention`.
    """
    probabilities = [pa.field(column, pa.float32()) for column in facts.columns.values()]
    if attention:
        fields = [*_TILE_FIELDS, pa.field("attention", pa.float32())]
    else:
        place = _TILE_FIELDS if facts.level == "tile" else _SLIDE_FIELDS
        fields = [*place, pa.field("label", pa.string()), *probabilities]
    return pa.schema(fields, metadata={FACTS_KEY: json.dumps(facts.as_record(), sort_keys=True).encode()})


def read_facts(schema: pa.Schema, where: str) -> PredictionFacts:
    """The facts in a table's schema metadata.

    Raises:
        StoreError: the table has another format than this version of embedstore reads.
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
        facts: The facts of the table.
        tiles: n rows of the collection, with at least tile_id, slide_id, x, y, edge_l0 and name.
        probabilities: (n, classes).
        decisions: (n, classes), which classes are predicted; exactly one a row unless the task is multi-label.
    """
    return _batch(facts, [_whole(tiles.column(name)) for name in TILE_COLUMNS], probabilities, decisions)


def slide_batch(
    facts: PredictionFacts,
    slide_ids: Sequence[str],
    patients: Sequence[str | None],
    probabilities: NDArray[np.floating],
    decisions: NDArray[np.bool_],
) -> pa.RecordBatch:
    """Rows of a head for slides or patients, one a slide; the other arguments are as in `tile_batch`."""
    places = [pa.array(slide_ids, pa.string()), pa.array(patients, pa.string())]
    return _batch(facts, places, probabilities, decisions)


def attention_batch(
    facts: PredictionFacts, tiles: pa.RecordBatch | pa.Table, attention: NDArray[np.floating]
) -> pa.RecordBatch:
    """Rows with the attention (n,) of a head for slides or patients; the other arguments are as in `tile_batch`."""
    places = [_whole(tiles.column(name)) for name in TILE_COLUMNS]
    schema = predictions_schema(facts, attention=True)
    return pa.RecordBatch.from_arrays([*places, pa.array(attention.astype(np.float32))], schema=schema)


def _batch(
    facts: PredictionFacts, places: list[pa.Array], probabilities: NDArray[np.floating], decisions: NDArray[np.bool_]
) -> pa.RecordBatch:
    columns = [pa.array(np.ascontiguousarray(column, np.float32)) for column in probabilities.T]
    labels = decided_labels(facts.classes, decisions)
    return pa.RecordBatch.from_arrays([*places, labels, *columns], schema=predictions_schema(facts))


def require_joinable(task: str, classes: Sequence[str]) -> None:
    """Raise LabelError if a class of a multi-label task cannot be told from several, joined in the column `label`."""
    for name in classes:
        if LABEL_JOINT in name:
            raise LabelError(
                f"task {task!r}: the name of class {name!r} contains {LABEL_JOINT!r}, which stands between the classes "
                "of one place where several are written, so that it cannot be a class of a multi-label task; where it "
                "means several classes, import a label for each; or rename it with `embedstore label import "
                "--class-map OLD=NEW`, or leave it out of --classes"
            )


def decided_labels(classes: Sequence[str], decisions: NDArray[np.bool_]) -> pa.Array:
    """The predicted classes, (n, classes) bool, as one text a row."""
    patterns, which = np.unique(decisions, axis=0, return_inverse=True)
    texts = [LABEL_JOINT.join(name for name, on in zip(classes, row, strict=True) if on) for row in patterns]
    return pa.array(texts, pa.string()).take(pa.array(which.ravel()))


def decided_classes(facts: PredictionFacts, rows: pa.RecordBatch | pa.Table) -> NDArray[np.bool_]:
    """Which classes the column `label` names, (n, classes): the inverse of `decided_labels`.

    Raises:
        LabelError: the task is multi-label, and a class of it contains what joins classes; an older version made such.
    """
    if facts.multi_label:
        require_joinable(facts.task, facts.classes)
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
