"""Slides that are there twice."""

from pathlib import Path

import numpy as np
import pytest

from embedstore.search.audits.duplicates import DuplicateSlides, find_duplicates
from tests.search.planted import noise, plant


def clean(slides: int = 6, tiles: int = 60) -> dict[str, np.ndarray]:
    return {f"s{i}": noise(tiles, i) for i in range(slides)}


def again(vectors: np.ndarray) -> np.ndarray:
    """The same tissue, scanned and compressed again."""
    return vectors + 0.03 * noise(len(vectors), 70)


def pairs(found) -> list[tuple[str, str]]:
    return [(pair.slide_id, pair.other) for pair in found.pairs]


def test_nothing_is_found_where_nothing_is_planted(tmp_path: Path):
    found = find_duplicates(*plant(tmp_path, clean()), sample=0)
    assert found.pairs == () and (found.sampled, found.candidates) == (360, 360)


@pytest.mark.slow
def test_a_slide_under_two_names_is_found_once(tmp_path: Path):
    slides = clean()
    slides["copy"] = again(slides["s2"])
    for sample in (0, 70, 3):
        found = find_duplicates(*plant(tmp_path / str(sample), slides), sample=sample)
        assert [{*pair} for pair in pairs(found)] == [{"copy", "s2"}]
        assert repr(found).splitlines()[1].endswith(": 100% of the checked tiles alike")
        assert found.pairs[0].share == 1.0 and not found.pairs[0].same_file


def test_a_part_of_a_slide_under_another_name_is_found_from_the_part(tmp_path: Path):
    slides = clean()
    slides["piece"] = again(slides["s2"][20:34])
    assert pairs(find_duplicates(*plant(tmp_path, slides), sample=0)) == [("piece", "s2")]


@pytest.mark.slow
def test_some_tiles_in_common_are_no_duplicate(tmp_path: Path):
    slides = clean()
    slides["s4"][:12] = slides["s2"][:12]
    assert pairs(find_duplicates(*plant(tmp_path, slides), sample=0)) == []


@pytest.mark.slow
def test_a_slide_of_zeros_but_for_one_tile_is_no_duplicate(tmp_path: Path):
    """The tile points to another slide, and is not among those that are then checked."""
    slides = clean(tiles=200)
    slides["s0"][:150] = slides["s0"][151:] = 0
    slides["s0"][150] = slides["s1"][150]
    found = find_duplicates(*plant(tmp_path, slides), sample=0)
    assert pairs(found) == []


@pytest.mark.slow
def test_files_with_one_fingerprint_are_found_whatever_their_tiles(tmp_path: Path):
    slides = clean()
    slides["copy"] = slides["s1"]
    marks = {"s1": "f1", "copy": "f1", "s3": "f2", "s4": "f2", "s5": "f3"}
    found = find_duplicates(*plant(tmp_path, slides, fingerprints=marks), sample=0)
    assert found.pairs == (
        DuplicateSlides(slide_id="copy", other="s1", share=1.0, same_file=True),
        DuplicateSlides(slide_id="s3", other="s4", share=None, same_file=True),
    )


def test_an_empty_collection_has_no_duplicates(tmp_path: Path):
    assert len(find_duplicates(*plant(tmp_path, {}))) == 0
