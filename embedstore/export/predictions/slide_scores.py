"""What predictions of tiles make of whole slides: how many, how likely, and how much tissue of each class."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.export.predictions.export_scope import ExportScope, metadata_columns
from embedstore.export.predictions.prediction_table import join_slides, slides_table
from embedstore.export.table_file import rows_path, write_rows
from embedstore.store import PredictionFacts
from embedstore.store.prediction_schema import decided_classes, probability_matrix

TOP = 10  # the mean of so many of the largest stands for the largest: one odd tile must not speak for a slide


def slide_scores(scope: ExportScope) -> pa.Table:
    """One row a slide.

    Of a tile head: `tiles`, and for each class `mean_…` (probability), `top10_…` (mean of the ten largest), `share_…`
    (of tiles decided to be of the class) and `area_mm2_…` (of these tiles; null where the resolution is not known).
    Overlapping tiles count for the area that each has for itself. Of a head for slides: its rows; for patients, a row a
    patient. The columns of slides follow.
    """
    facts = scope.head_facts("slides")
    if facts.level == "tile":
        return _tile_scores(scope, facts)
    assert scope.predictions is not None
    rows = pa.Table.from_batches(
        [join_slides(batch, slides_table(scope)) for batch in scope.predictions.batches(slides=scope.slide_ids)]
    )
    return rows.sort_by("slide_id") if facts.level == "slide" else _by_patient(rows, facts)


def write_slide_scores(scope: ExportScope, path: str | Path) -> int:
    """Write `slide_scores` as the path's ending says: .csv, .parquet or .json; how many rows.

    Raises:
        ExportError: it has another ending, or is a folder.
    """
    rows_path(path, what="slides")
    return write_rows(slide_scores(scope), path, what="slides")


def _tile_scores(scope: ExportScope, facts: PredictionFacts) -> pa.Table:
    assert scope.predictions is not None
    tallies: dict[str, _Tally] = {}
    share = _own_share(scope)
    for batch in scope.predictions.batches(slides=scope.slide_ids):
        ids = batch.column("slide_id").dictionary_encode()
        codes, names = ids.indices.to_numpy(), ids.dictionary.to_pylist()
        probabilities, decided = probability_matrix(facts, batch), decided_classes(facts, batch)
        edges = batch.column("edge_l0").to_numpy().astype(np.float64)
        for code, slide_id in enumerate(names):
            mine = codes == code if len(names) > 1 else slice(None)
            tally = tallies.setdefault(slide_id, _Tally(len(facts.classes)))
            tally.add(probabilities[mine], decided[mine], edges[mine])
    suffixes = [column.removeprefix("p_") for column in facts.columns.values()]
    rows = [
        {
            "slide_id": slide_id,
            **{name: scope.slides[slide_id].column(name) for name in metadata_columns(scope.slides)},
            **tallies[slide_id].row(suffixes, scope.slides[slide_id].slide_mpp, share),
        }
        for slide_id in sorted(tallies)
    ]
    return pa.Table.from_pylist(rows)


def _own_share(scope: ExportScope) -> float:
    """Share of a tile's area that no neighbour counts as well."""
    tiling = scope.store.collection(scope.collection).tiling()
    return min(1.0, ((tiling.stride_px or tiling.tile_px) / tiling.tile_px) ** 2)


class _Tally:
    """What has been seen of a slide's tiles so far."""

    def __init__(self, classes: int):
        self.tiles = 0
        self.sums, self.decided, self.pixels = np.zeros(classes), np.zeros(classes, np.int64), np.zeros(classes)
        self.top = np.empty((0, classes), np.float32)

    def add(self, probabilities: NDArray[np.float32], decided: NDArray[np.bool_], edges: NDArray[np.float64]) -> None:
        self.tiles += len(probabilities)
        self.sums += probabilities.sum(axis=0, dtype=np.float64)
        self.decided += decided.sum(axis=0)
        self.pixels += (edges**2) @ decided
        both = np.concatenate([self.top, probabilities])
        self.top = np.sort(both, axis=0)[-TOP:]

    def row(self, suffixes: list[str], mpp: float | None, share: float) -> dict[str, Any]:
        """Columns of the slide, class by class."""
        row: dict[str, Any] = {"tiles": self.tiles}
        for i, suffix in enumerate(suffixes):
            area_px = float(self.pixels[i]) * share
            known = mpp is not None and (area_px > 0 or self.decided[i] == 0)  # tiles of folders have no size
            row[f"mean_{suffix}"] = float(self.sums[i] / self.tiles)
            row[f"top10_{suffix}"] = float(self.top[:, i].mean(dtype=np.float64))
            row[f"share_{suffix}"] = float(self.decided[i] / self.tiles)
            row[f"area_mm2_{suffix}"] = area_px * float(mpp or 0) ** 2 / 1e6 if known else None
        return row


def _by_patient(rows: pa.Table, facts: PredictionFacts) -> pa.Table:
    """One row a patient: every slide of theirs has the same answer."""
    seen: dict[Any, dict[str, Any]] = {}
    for row in rows.sort_by([("patient", "ascending"), ("slide_id", "ascending")]).to_pylist():
        patient = row["patient"] if row["patient"] is not None else row["slide_id"]
        answer = {name: row[name] for name in ("patient", "label", *facts.columns.values())}
        kept = seen.setdefault(patient, {**answer, "slides": 0, "slide_ids": ""})
        kept["slides"] += 1
        kept["slide_ids"] = "; ".join(filter(None, [kept["slide_ids"], row["slide_id"]]))
    return pa.Table.from_pylist(list(seen.values()))
