"""Which labels each tile has: places first, then what is left of slides, then of patients."""

import numpy as np
from numpy.typing import NDArray

from embedstore.config import JoinConfig
from embedstore.labels.geometry import (
    Matches,
    TilesBySlide,
    concatenate,
    match_areas,
    match_points,
    match_tiles,
    no_matches,
    rows_by_code,
)
from embedstore.labels.task_labels import TaskLabels
from embedstore.store.tile_locations import TileLocations


def match_labels(
    places: TileLocations,
    labels: TaskLabels,
    config: JoinConfig,
    slide_patient: NDArray[np.int32],
    patients: tuple[str, ...],
) -> tuple[Matches, Matches, NDArray[np.int32]]:
    """Match labels with tiles; a tile that a finer label is about has no label of a coarser kind.

    Args:
        slide_patient: (n,) index into `patients` of each tile's patient by its slide, -1 where unknown.
    Returns:
        Matches of labels of places (tiles, points, areas, then rests); matches of labels of whole slides, then
        patients; and (n,) each tile's patient, where a label's own comes before its slide's.
    """
    tiles_of = TilesBySlide(places)
    exact, elsewhere = match_tiles(places, labels)
    areas = np.concatenate([labels.rows_of("area"), elsewhere])
    fine = concatenate(
        [exact, match_points(places, tiles_of, labels), match_areas(places, tiles_of, labels, areas, config)]
    )
    hit = np.zeros(len(places), bool)
    hit[fine[0]] = True

    rest_rows = labels.rows_of("rest")
    drawn = labels.table.column("geometry").is_valid().to_numpy()[rest_rows]
    rest = concatenate(
        [
            match_areas(places, tiles_of, labels, rest_rows[drawn], config),
            _match_whole_slides(places, tiles_of, labels, rest_rows[~drawn]),
        ]
    )
    rest = _on_free_tiles(hit, rest)
    hit[rest[0]] = True

    slides = _on_free_tiles(hit, _match_whole_slides(places, tiles_of, labels, labels.rows_of("slide")))
    hit[slides[0]] = True
    tiles, rows = concatenate([fine, rest, slides])
    own, _ = single_values(len(places), tiles, labels.codes_in("patient", patients)[rows])
    patient = np.where(own >= 0, own, slide_patient)
    of_patients = _on_free_tiles(hit, _match_patients(labels, patient, patients))
    return concatenate([fine, rest]), concatenate([slides, of_patients]), patient


def _on_free_tiles(hit: NDArray[np.bool_], pairs: Matches) -> Matches:
    free = ~hit[pairs[0]]
    return pairs[0][free], pairs[1][free]


def _match_whole_slides(
    places: TileLocations, tiles_of: TilesBySlide, labels: TaskLabels, rows: NDArray[np.int64]
) -> Matches:
    """All tiles of the slides that labels name."""
    slide = labels.codes_in("slide_id", places.slides)
    return concatenate(
        [
            (tiles_of[code], np.full(len(tiles_of[code]), row, np.int64))
            for code, of_slide in rows_by_code(slide, rows)
            for row in of_slide
        ]
    )


def _match_patients(labels: TaskLabels, patient: NDArray[np.int32], patients: tuple[str, ...]) -> Matches:
    rows = labels.rows_of("patient")
    if not len(rows):
        return no_matches()
    tiles_of = dict(rows_by_code(patient, np.arange(len(patient))))
    code = labels.codes_in("patient", patients)
    matches = [(tiles_of[int(code[row])], row) for row in rows if int(code[row]) in tiles_of]
    return concatenate([(tiles, np.full(len(tiles), row, np.int64)) for tiles, row in matches])


def single_values(
    n: int, tiles: NDArray[np.int64], codes: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """(the code that a tile has, -1 for none; whether it has two), from pairs with -1 where nothing is said."""
    known = codes >= 0
    low, high = np.full(n, np.iinfo(np.int32).max, np.int32), np.full(n, -1, np.int32)
    np.minimum.at(low, tiles[known], codes[known])
    np.maximum.at(high, tiles[known], codes[known])
    clash = (high >= 0) & (low != high)
    return np.where(clash, -1, high), clash
