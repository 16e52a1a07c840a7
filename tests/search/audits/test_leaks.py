"""Near-duplicates across patients, and across the parts of a split."""

from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import ConfigError
from embedstore.search.audits import leaks as module
from embedstore.search.audits.groups import GroupsBySplit
from embedstore.search.audits.leaks import find_leaks
from embedstore.search.audits.near_duplicate import ROUNDING, SHARE, near_duplicate_distance
from embedstore.search.tile_sample import sample_tiles
from embedstore.store import Label
from tests.search.planted import noise, plant

PARTS = {0: "train", 1: "valid", 2: "test"}


def copied(slides: dict[str, np.ndarray], *, to: str, of: str, tiles: int) -> dict[str, np.ndarray]:
    """The same slides, the first tiles of one being copies, a little changed, of those of another."""
    changed = slides[to].copy()
    changed[:tiles] = slides[of][:tiles] + 0.02 * noise(tiles, 77)
    return {**slides, to: changed}


def clean(slides: int = 6, tiles: int = 40) -> dict[str, np.ndarray]:
    return {f"s{i}": noise(tiles, i) for i in range(slides)}


def of_patients(slides: dict[str, np.ndarray]) -> dict[str, str]:
    """Two slides a patient."""
    return {name: f"P{i // 2}" for i, name in enumerate(slides)}


def test_nothing_is_found_where_nothing_is_planted(tmp_path: Path):
    slides = clean()
    found = find_leaks(*plant(tmp_path, slides, patients=of_patients(slides)), sample=0)
    assert len(found) == 0 and found.between == [] and found.notes == ()
    assert (found.sampled, found.candidates) == (240, 240) and found.distance > ROUNDING


def test_planted_copies_are_found_with_their_places(tmp_path: Path):
    slides = copied(clean(), to="s5", of="s0", tiles=7)
    found = find_leaks(*plant(tmp_path, slides, patients=of_patients(slides)), sample=0)
    assert found.between == [("patient P0", "patient P2", 14)]  # each of the 7 from both sides
    places = {(p["slide_id"], p["x"], p["other_slide_id"], p["other_x"]) for p in found.pairs.to_pylist()}
    expected = {("s0", 512 * i, "s5", 512 * i) for i in range(7)}
    assert places == expected | {(b, x, a, y) for a, x, b, y in expected}
    assert repr(found).startswith("14 near-duplicate tiles within a distance of ")
    assert "  patient P0 and patient P2: 14 tiles" in repr(found).splitlines()
    assert found.pairs["distance"].to_pylist() == sorted(found.pairs["distance"].to_pylist())


def test_copies_within_a_patient_are_no_leak(tmp_path: Path):
    slides = copied(clean(), to="s1", of="s0", tiles=7)
    store, collection = plant(tmp_path, slides, patients=of_patients(slides))
    assert len(find_leaks(store, collection, sample=0)) == 0


def test_without_patients_slides_count_and_that_is_said_loudly(tmp_path: Path):
    slides = copied(clean(), to="s1", of="s0", tiles=7)
    store, collection = plant(tmp_path, slides, patients={"s5": "P5"})
    found = find_leaks(store, collection, sample=0)
    assert found.between == [("slide s0", "slide s1", 14)]
    assert found.notes[0].startswith("NO PATIENT IS KNOWN for 5 of 6 slide(s) (s0, s1, s2, …)")


def test_patients_of_ready_made_tiles_are_those_of_their_labels(tmp_path: Path):
    vectors = noise(40, 0)
    vectors[20:25] = vectors[:5]
    vectors[39] = vectors[38]
    store, collection = plant(tmp_path, {"patches": vectors}, named=frozenset({"patches"}))
    store.labels.record([
        Label(task="t", label="x", kind="tile", slide_id="patches", name=f"{i}.png", patient="A" if i < 23 else "B",
              author="me", source="l.csv")
        for i in range(38)
    ])  # fmt: skip
    found = find_leaks(store, collection, sample=0, distance=1e-4)
    assert found.between == [("patient A", "patient B", 4), ("tile 38.png of patches", "tile 39.png of patches", 2)]


def test_a_sample_looks_at_some_tiles_of_every_slide(tmp_path: Path):
    slides = clean()
    slides["s5"] = slides["s0"] * 1.5  # the same directions
    found = find_leaks(*plant(tmp_path, slides, patients=of_patients(slides)), sample=12)
    assert found.sampled == 12 and found.candidates == 240
    assert found.between == [("patient P0", "patient P2", 4)]


def test_the_distance_may_be_given(tmp_path: Path):
    slides = copied(clean(), to="s5", of="s0", tiles=7)
    store, collection = plant(tmp_path, slides, patients=of_patients(slides))
    assert len(find_leaks(store, collection, sample=0, distance=0)) == 0
    assert len(find_leaks(store, collection, sample=0, distance=2)) == 240
    with pytest.raises(ConfigError, match="the distance is 3"):
        find_leaks(store, collection, distance=3)


@pytest.mark.slow
def test_copies_behind_many_of_the_own_side_are_found(tmp_path: Path, monkeypatch):
    """80 equal tiles of a folder on one side, and one more on the other."""
    vectors = noise(100, 0)
    vectors[:81] = vectors[0] + 0.01 * noise(81, 5)
    store, collection = plant(tmp_path, {"patches": vectors, "other": noise(40, 9)}, named=frozenset({"patches"}))
    ids = collection.tiles(where="slide_id = 'patches'", columns=["tile_id", "name"]).to_pylist()
    part = {row["tile_id"]: 2 if row["name"] == "80.png" else 0 for row in ids}
    split = split_of(part)
    found = find_leaks(store, collection, split=split, sample=0, distance=0.001)
    assert len(found) == 81 and found.between == [("test", "train", 81)]
    monkeypatch.setattr(module, "MAX_FETCH", 16)
    short = find_leaks(store, collection, split=split, sample=0, distance=0.001)
    assert len(short) < 81 and "near-duplicates on their own side" in short.notes[-1]


def split_of(part: dict[int, int], whole: frozenset[str] = frozenset()) -> GroupsBySplit:
    ids = np.array(sorted(part))
    parts = np.array([[part[i]] for i in ids.tolist()], np.int8)
    return GroupsBySplit(tile_ids=ids, parts=parts, part_names=PARTS, fold_names=("holdout",), whole=whole)


def test_a_leak_across_a_split_is_found_and_copies_within_a_part_or_outside_are_not(tmp_path: Path):
    slides = copied(
        copied(copied(clean(), to="s5", of="s0", tiles=7), to="s1", of="s2", tiles=9), to="s4", of="s3", tiles=5
    )
    store, collection = plant(tmp_path, slides)
    of_slide = {"s0": 0, "s1": 0, "s2": 0, "s3": 1, "s5": 2}  # s4 is in no part
    rows = collection.tiles(columns=["tile_id", "slide_id"]).to_pylist()
    part = {row["tile_id"]: of_slide[row["slide_id"]] for row in rows if row["slide_id"] in of_slide}
    for whole in (frozenset(), frozenset(of_slide)):
        found = find_leaks(store, collection, split=split_of(part, whole), sample=0)
        assert found.between == [("test", "train", 14)] and found.sampled == 200


def test_a_pair_of_folds_is_named():
    parts = np.array([[0, 2], [2, 0], [0, 0], [-1, 2]], np.int8)
    split = GroupsBySplit(tile_ids=np.arange(4), parts=parts, part_names=PARTS, fold_names=("fold 1/2", "fold 2/2"))
    assert split.differ(parts[0], parts).tolist() == [False, True, True, False]
    assert split.names(parts[0], parts[2]) == ("test of fold 2/2", "train of fold 2/2")


def test_the_usual_distance_does_not_hang_on_a_patient_who_is_there_twice(tmp_path: Path):
    slides = clean(4, 50)
    twice = {**slides, "s3": slides["s0"].copy()}
    distances = []
    for name, each in (("clean", slides), ("twice", twice)):
        _, collection = plant(tmp_path / name, each)
        sample = sample_tiles(collection, 0)
        patients = np.array(sample.tiles["slide_id"].to_pylist(), object)
        similar = 1 - sample.vectors @ sample.vectors.T
        by_patient = np.stack([similar[:, patients == p].min(axis=1) for p in sorted(slides)], axis=1)
        by_patient[np.arange(len(patients)), [int(p[1]) for p in patients]] = np.inf
        expected = SHARE * np.median(np.sort(by_patient, axis=1)[:, 1])
        distances.append(near_duplicate_distance(sample, patients))
        assert distances[-1] == pytest.approx(expected, rel=1e-4)
    assert distances[1] > 0.7 * distances[0]


def test_one_patient_or_none_gives_no_scale(tmp_path: Path):
    store, collection = plant(tmp_path, {"a": noise(10, 0)}, patients={"a": "P"})
    assert find_leaks(store, collection).distance == ROUNDING
    store, collection = plant(tmp_path / "empty", {})
    assert len(find_leaks(store, collection)) == 0
