"""The join of labels and tiles: labels of places first, then those of slides, then those of patients."""

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
    locations: TileLocations,
    labels: TaskLabels,
    config: JoinConfig,
    slide_patient: NDArray[np.int32],
    patients: tuple[str, ...],
) -> tuple[Matches, Matches, NDArray[np.int32]]:
    """Match labels with tiles; a tile with a label of a finer kind gets none of a coarser kind.

    Args:
        slide_patient: (n,) index into `patients`: the patient of each tile's slide, -1 if unknown.
    Returns:
        Matches of labels of places (tiles, points, areas and rests); matches of labels of whole slides and patients;
        and (n,) the patient of each tile: the one that its labels name, else its slide's.
    """
    tiles_of = TilesBySlide(locations)
    exact, other_squares = match_tiles(locations, labels)
    areas = np.concatenate([labels.rows_of("area"), other_squares])
    fine = concatenate(
        [exact, match_points(locations, tiles_of, labels), match_areas(locations, tiles_of, labels, areas, config)]
    )
    has_label = np.zeros(len(locations), bool)
    has_label[fine[0]] = True

    rest_rows = labels.rows_of("rest")
    drawn = labels.table.column("geometry").is_valid().to_numpy()[rest_rows]
    rest = concatenate(
        [
            match_areas(locations, tiles_of, labels, rest_rows[drawn], config),
            _match_whole_slides(locations, tiles_of, labels, rest_rows[~drawn]),
        ]
    )
    rest = _on_free_tiles(has_label, rest)
    has_label[rest[0]] = True

    slides = _on_free_tiles(has_label, _match_whole_slides(locations, tiles_of, labels, labels.rows_of("slide")))
    has_label[slides[0]] = True
    tiles, rows = concatenate([fine, rest, slides])
    label_patient, _ = single_values(len(locations), tiles, labels.codes_in("patient", patients)[rows])
    patient = np.where(label_patient >= 0, label_patient, slide_patient)
    of_patients = _on_free_tiles(has_label, _match_patients(labels, patient, patients))
    return concatenate([fine, rest]), concatenate([slides, of_patients]), patient


def _on_free_tiles(has_label: NDArray[np.bool_], pairs: Matches) -> Matches:
    """The matches of tiles that have no label yet."""
    free = ~has_label[pairs[0]]
    return pairs[0][free], pairs[1][free]


def _match_whole_slides(
    locations: TileLocations, tiles_of: TilesBySlide, labels: TaskLabels, rows: NDArray[np.int64]
) -> Matches:
    """All tiles of the slides that labels name."""
    slide = labels.codes_in("slide_id", locations.slides)
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
    """The only code of each tile, and whether it has several, from pairs of tile and code.

    Args:
        codes: -1 where a pair gives no code.
    Returns:
        (n,) the code, -1 for none or several; (n,) whether there are several.
    """
    valid = codes >= 0
    low, high = np.full(n, np.iinfo(np.int32).max, np.int32), np.full(n, -1, np.int32)
    np.minimum.at(low, tiles[valid], codes[valid])
    np.maximum.at(high, tiles[valid], codes[valid])
    conflict = (high >= 0) & (low != high)
    return np.where(conflict, -1, high), conflict
