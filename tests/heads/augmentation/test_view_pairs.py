"""Tiles with views for an augmenter: which are taken, whose they are, and how patients are parted."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedstore.errors import SlideNotInStoreError, SplitError, ViewsNotFoundError
from embedstore.store import Label, Store, read_views
from heads.augmentation import view_pairs
from heads.augmentation.view_pairs import assign_parts, gather_view_pairs
from heads.config import AugmenterConfig, FitConfig, SplitConfig
from heads.examples import gather_examples
from heads.splitting.splits import TEST, TRAIN, VALID
from tests.heads.view_stores import VIEWS, make_viewed

CONFIG = AugmenterConfig()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Twelve slides of six patients, of which one slide has no views."""
    return make_viewed(tmp_path_factory.mktemp("viewed"), tiles=10, without=("s03.svs",))


def test_tiles_come_with_their_own_views_and_parameters(store: Store):
    pairs = gather_view_pairs(store, store.collection(), CONFIG)
    tiles = store.collection().tiles()
    kept = [i for i, slide in enumerate(tiles.column("slide_id").to_pylist()) if slide != "s03.svs"]
    vectors = np.array(tiles.column("vector").to_pylist(), np.float16)[kept]
    stored = read_views(store.views("toy"), tiles.column("tile_id").to_numpy()[kept])
    np.testing.assert_array_equal(pairs.vectors, vectors)
    np.testing.assert_array_equal(pairs.views, stored.vectors)
    np.testing.assert_array_equal(pairs.parameters, stored.parameters)
    assert len(pairs) == 110 and pairs.notes == ()
    counts = pairs.counts()
    assert sum(part.tiles for part in counts.values()) == 110
    assert [counts[name].groups for name in ("train", "valid", "test")] == [3, 1, 2]


def test_tiles_of_a_patient_are_a_group(store: Store):
    pairs = gather_view_pairs(store, store.collection(), CONFIG)
    np.testing.assert_array_equal(np.bincount(pairs.group), [20, 10, 20, 20, 20, 20])


def test_a_filter_leaves_slides_out(store: Store):
    assert len(gather_view_pairs(store, store.collection(), CONFIG, "\"site\" = 'A'")) == 60
    with pytest.raises(SlideNotInStoreError, match=r"no slide of .* is such that site = 'Z'"):
        gather_view_pairs(store, store.collection(), CONFIG, "site = 'Z'")
    with pytest.raises(ViewsNotFoundError, match="no tile of collection 'toy' on slides such that slide_id"):
        gather_view_pairs(store, store.collection(), CONFIG, "slide_id = 's03.svs'")


def test_no_more_views_are_read_than_is_useful(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(view_pairs, "MAX_VIEWS", 50 * VIEWS.count)
    one, same, other = (
        gather_view_pairs(store, store.collection(), AugmenterConfig(seed=seed), None) for seed in (0, 0, 1)
    )
    assert len(one) == len(other) == 50
    np.testing.assert_array_equal(one.vectors, same.vectors)
    assert not np.array_equal(one.vectors, other.vectors)
    assert one.notes == ("a sample of 50 of 110 tiles is looked at: 200 views",)


def test_where_no_patient_is_known_slides_stand_for_them_and_it_is_said(tmp_path: Path):
    store = make_viewed(tmp_path, slides=5, tiles=4, patients=False)
    pairs = gather_view_pairs(store, store.collection(), CONFIG)
    np.testing.assert_array_equal(pairs.group, np.repeat(np.arange(5), 4))
    assert "NO PATIENT IS KNOWN for 20 of 20 tiles: each slide counts as a patient" in pairs.notes[0]


def test_ready_made_tiles_have_the_patients_that_their_labels_name(tmp_path: Path):
    store = make_viewed(tmp_path, slides=2, tiles=8, patients=False, named=True)
    pairs = gather_view_pairs(store, store.collection(), CONFIG)
    np.testing.assert_array_equal(pairs.group, np.repeat(np.arange(8), 2))
    assert pairs.notes == ()


def test_a_task_whose_labels_name_no_patient_has_those_that_other_tasks_name(tmp_path: Path):
    store = make_viewed(tmp_path, slides=4, tiles=8, patients=False, named=True)
    tiles = store.collection().tiles(columns=["slide_id", "name"]).to_pylist()
    store.labels.record(
        Label(task="size", label="ab"[i % 2], slide_id=tile["slide_id"], name=tile["name"], author="me", source="s")
        for i, tile in enumerate(tiles)
    )
    examples = gather_examples(store, store.collection(), ["size"], FitConfig(split=SplitConfig(folds=3)))
    assert [examples.group_names[code] for code in examples.group] == [
        f"{tile['slide_id']} {int(tile['name'].removesuffix('.png')) // 2}" for tile in tiles
    ]
    assert not any("NO PATIENT" in note for note in examples.notes)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=4, max_size=30),
    seed=st.integers(0, 5),
    shares=st.sampled_from([(0.2, 0.1), (0.5, 0.4), (0.02, 0.9)]),
)
def test_parts_hold_whole_patients_in_any_order_of_the_table(sizes: list[int], seed: int, shares: tuple[float, float]):
    config = AugmenterConfig(seed=seed, test_share=shares[0], valid_share=shares[1])
    group = np.repeat(np.arange(len(sizes)), sizes)
    tile_id = np.random.default_rng(1).permutation(10_000)[: len(group)]
    part = assign_parts(group, tile_id, config, "toy")
    patients = {code: set(group[part == code].tolist()) for code in (TRAIN, VALID, TEST)}
    assert sum(map(len, patients.values())) == len(sizes)  # none is in two
    assert patients[TRAIN] and patients[VALID] and len(patients[TEST]) >= 2

    order = np.random.default_rng(2).permutation(len(group))
    renamed = np.random.default_rng(3).permutation(len(sizes))
    np.testing.assert_array_equal(assign_parts(renamed[group][order], tile_id[order], config, "toy"), part[order])


@pytest.mark.parametrize("patients", [1, 3])
def test_fewer_than_four_patients_are_too_few(patients: int):
    group = np.repeat(np.arange(patients), 50)
    with pytest.raises(SplitError, match=f"are of {patients} patients? .*at least 4: one to train on"):
        assign_parts(group, np.arange(len(group)), CONFIG, "toy")
