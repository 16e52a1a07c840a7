"""What a head said of each example of its cohorts, beside the label."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.store.prediction_schema import decided_labels
from heads.cohorts.cohort_examples import CohortExamples, Cohorts
from heads.head import Head


def example_table(
    head: Head, cohorts: Cohorts, examples: CohortExamples, probabilities: NDArray[np.float32]
) -> pa.Table:
    """A row for each example that counts: its cohort, place, label, prediction and probabilities.

    Args:
        probabilities: (counted, classes).
    """
    labelled, rows = examples.labelled, np.flatnonzero(examples.counted)
    n = len(rows)
    patients = np.array([*labelled.patients, None], object)[labelled.patient[rows]]
    columns = {
        "head": pa.array([head.name] * n, pa.string()),
        "cohort": pa.array([cohorts.names[k] for k in examples.cohort[rows]], pa.string()),
        "id": pa.array(labelled.ids[rows]),
        "slide_id": _slides(examples, rows),
        "patient": pa.array(patients.tolist(), pa.string()),
        **_places(examples, rows),
        "seen": pa.array(examples.seen[rows]),
        "label": decided_labels(head.classes, examples.targets[rows]),
        "predicted": decided_labels(head.classes, head.decide(probabilities)),
        **{
            f"p_{name}": pa.array(np.ascontiguousarray(of))
            for name, of in zip(head.classes, probabilities.T, strict=True)
        },
    }
    return pa.table(columns)


def _slides(examples: CohortExamples, rows: NDArray[np.intp]) -> pa.Array:
    """The slide of each example; of a patient all slides, joined by '; '."""
    labelled = examples.labelled
    if labelled.members:
        return pa.array(["; ".join(labelled.members[i]) for i in rows], pa.string())
    return pa.array(np.array(labelled.slides, object)[labelled.slide[rows]].tolist(), pa.string())


def _places(examples: CohortExamples, rows: NDArray[np.intp]) -> dict[str, pa.Array]:
    """Of tiles, their place in level-0 pixels, or the file of a ready-made tile."""
    labelled, n = examples.labelled, len(rows)
    if labelled.members:
        return {name: pa.nulls(n, kind) for name, kind in (("x", pa.int32()), ("y", pa.int32()), ("name", pa.string()))}
    tiles, at = labelled.locations, labelled.rows[rows]
    names = [None] * n if tiles.names is None else tiles.names[at].tolist()
    ready_made = tiles.is_ready_made[at]
    x, y = (pa.array(np.ascontiguousarray(axis), mask=ready_made) for axis in tiles.xy_l0[at].T)
    return {"x": x, "y": y, "name": pa.array(names, pa.string())}
