"""Scores of slides from the predictions of their tiles: number of tiles, probabilities, and area of each class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.export.predictions.export_scope import ExportScope, metadata_columns
from embedstore.export.predictions.prediction_table import join_slides, slides_table
from embedstore.export.table_file import rows_path, write_rows
from embedstore.store import PredictionFacts, TileLocations, read_tile_locations
from embedstore.store.prediction_schema import decided_classes, probability_matrix

TOP = 10  # the mean of so many of the largest probabilities is given, as a single odd tile could be the largest


def slide_scores(scope: ExportScope) -> pa.Table:
    """A row of scores for each slide, with columns of the slide.

    For a tile head: `tiles`, and for each class `mean_…` (mean probability), `top10_…` (mean of the ten largest),
    `share_…` (share of the tiles that are predicted to be of the class) and `area_mm2_…` (area of these tiles; null if
    the resolution is not known). An area that several overlapping tiles cover is counted once.

    For a head for slides: its predictions. For a head for patients: a row for each patient.
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
    """Write `slide_scores` as .csv, .parquet or .json; returns how many rows.

    Raises:
        ExportError: the path has another ending, or is a folder.
    """
    rows_path(path, what="slides")
    return write_rows(slide_scores(scope), path, what="slides")


def _tile_scores(scope: ExportScope, facts: PredictionFacts) -> pa.Table:
    assert scope.predictions is not None
    tallies: dict[str, _Tally] = {}
    shares = _counted_shares(scope)
    for batch in scope.predictions.batches(slides=scope.slide_ids):
        ids = batch.column("slide_id").dictionary_encode()
        codes, names = ids.indices.to_numpy(), ids.dictionary.to_pylist()
        probabilities, decided = probability_matrix(facts, batch), decided_classes(facts, batch)
        edges = batch.column("edge_l0").to_numpy().astype(np.float64)
        for code, slide_id in enumerate(names):
            of_slide = codes == code if len(names) > 1 else slice(None)
            tally = tallies.setdefault(slide_id, _Tally(len(facts.classes)))
            tally.add(probabilities[of_slide], decided[of_slide], edges[of_slide])
    suffixes = [column.removeprefix("p_") for column in facts.columns.values()]
    rows = [
        {
            "slide_id": slide_id,
            **{name: scope.slides[slide_id].column(name) for name in metadata_columns(scope.slides)},
            **tallies[slide_id].row(suffixes, scope.slides[slide_id].slide_mpp, shares.get(slide_id, 1.0)),
        }
        for slide_id in sorted(tallies)
    ]
    return pa.Table.from_pylist(rows)


def _counted_shares(scope: ExportScope) -> Mapping[str, float]:
    """Share of a tile's area that is counted on each slide, so that the overlap with its neighbours counts once."""
    collection = scope.store.collection(scope.collection)
    record = collection.record()
    if record.imported is None:
        tiling = record.tiling
        share = min(1.0, ((tiling.stride_px or tiling.tile_px) / tiling.tile_px) ** 2)
        return dict.fromkeys(scope.slides, share)
    tiles = read_tile_locations(collection, slides=scope.slides.keys())  # how they were laid is not recorded
    along_x, along_y = _pitches(tiles, 0), _pitches(tiles, 1)
    shares = along_x * np.where(np.isnan(along_y), along_x, along_y)
    shares = np.where(np.isnan(along_x), along_y**2, shares)
    return dict(zip(tiles.slides, np.nan_to_num(shares, nan=1.0).tolist(), strict=True))


def _pitches(tiles: TileLocations, axis: int) -> NDArray[np.float64]:
    """(slides,) the median distance from a tile to the next one in its row (axis 0) or column (1), as a share of its
    edge, 1 at most; NaN where no tile has a next one."""
    along, across = tiles.xy_l0[:, axis], tiles.xy_l0[:, 1 - axis]
    order = np.lexsort([along, across, tiles.slide])
    slide, along, across = tiles.slide[order], along[order].astype(np.float64), across[order]
    next_one = np.flatnonzero((slide[1:] == slide[:-1]) & (across[1:] == across[:-1]))
    distance = (along[next_one + 1] - along[next_one]) / np.maximum(tiles.edge_l0[order][next_one], 1)
    starts = np.searchsorted(slide[next_one], np.arange(len(tiles.slides) + 1))
    pitches = [np.median(part) if len(part) else np.nan for part in np.split(distance, starts[1:-1])]
    return np.minimum(np.array(pitches[: len(tiles.slides)]), 1.0)


class _Tally:
    """Sums over the tiles of a slide, a batch at a time."""

    def __init__(self, classes: int):
        self.tiles = 0
        self.sums, self.decided, self.pixels = np.zeros(classes), np.zeros(classes, np.int64), np.zeros(classes)
        self.top = np.empty((0, classes), np.float32)

    def add(self, probabilities: NDArray[np.float32], decided: NDArray[np.bool_], edges: NDArray[np.float64]) -> None:
        self.tiles += len(probabilities)
        self.sums += probabilities.sum(axis=0, dtype=np.float64)
        self.decided += decided.sum(axis=0)
        self.pixels += (edges**2) @ decided
        self.top = np.sort(np.concatenate([self.top, probabilities]), axis=0)[-TOP:]

    def row(self, suffixes: list[str], mpp: float | None, counted_share: float) -> dict[str, Any]:
        """{column: value} of the slide, class by class."""
        row: dict[str, Any] = {"tiles": self.tiles}
        for i, suffix in enumerate(suffixes):
            area_px = float(self.pixels[i]) * counted_share
            has_area = mpp is not None and (area_px > 0 or self.decided[i] == 0)  # ready-made tiles have no edge
            row[f"mean_{suffix}"] = float(self.sums[i] / self.tiles)
            row[f"top10_{suffix}"] = float(self.top[:, i].mean(dtype=np.float64))
            row[f"share_{suffix}"] = float(self.decided[i] / self.tiles)
            row[f"area_mm2_{suffix}"] = area_px * float(mpp or 0) ** 2 / 1e6 if has_area else None
        return row


def _by_patient(rows: pa.Table, facts: PredictionFacts) -> pa.Table:
    """A row for each patient, whose slides all have the same prediction."""
    by_patient: dict[str, dict[str, Any]] = {}
    for row in rows.sort_by([("patient", "ascending"), ("slide_id", "ascending")]).to_pylist():
        patient = row["patient"] if row["patient"] is not None else row["slide_id"]
        prediction = {name: row[name] for name in ("patient", "label", *facts.columns.values())}
        entry = by_patient.setdefault(patient, {**prediction, "slides": 0, "slide_ids": ""})
        entry["slides"] += 1
        entry["slide_ids"] = "; ".join(filter(None, [entry["slide_ids"], row["slide_id"]]))
    return pa.Table.from_pylist(list(by_patient.values()))
