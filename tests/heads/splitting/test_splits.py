"""Splits: no patient on two sides, classes spread evenly, and errors that say what to do."""

import json
import re
import warnings
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from embedstore.errors import SplitError
from heads.config import SplitConfig
from heads.splitting.splits import (
    TEST,
    TRAIN,
    UNUSED,
    VALID,
    FoldCounts,
    PartCounts,
    count_parts,
    make_split,
    part_of_name,
)
from tests.marks import examples

PARTS = {"train": TRAIN, "valid": VALID, "test": TEST}


def scene(seed: int, *, patients: int = 30, classes: int = 3):
    """Patients of very different size, each with a leaning to some class: groups and one-hot strata."""
    rng = np.random.default_rng(seed)
    sizes = rng.lognormal(3, 1.2, patients).astype(int) + 2
    leaning = rng.dirichlet(np.full(classes, 0.5), patients)
    groups = np.repeat(np.arange(patients), sizes)
    drawn = np.array([rng.choice(classes, p=leaning[group]) for group in groups])
    return groups, np.eye(classes, dtype=bool)[drawn]


def split(groups, strata, *, values=None, value_names=(), group_names=None, classes=None, **config):
    return make_split(
        SplitConfig(**config),
        groups=np.asarray(groups),
        strata=np.asarray(strata, bool),
        classes=classes or [f"class {c}" for c in range(np.shape(strata)[1])],
        values=values,
        value_names=value_names,
        group_names=group_names,
    )


def one_class(n: int):
    return np.ones((n, 1), bool)


# -- properties -----------------------------------------------------------------------------


@settings(deadline=None, max_examples=examples(60))
@given(data=st.data(), folds=st.integers(3, 7), seed=st.integers(0, 99))
def test_kfold_tests_every_row_once_and_parts_no_patient(data, folds, seed):
    groups = np.array(data.draw(st.lists(st.integers(0, 40), min_size=folds, max_size=120)))
    if len(np.unique(groups)) < folds:
        groups = np.concatenate([groups, np.arange(folds)])
    some = np.random.default_rng(seed).choice(np.unique(groups), 1 + seed % 3, replace=False)
    strata = np.stack([np.ones(len(groups), bool), np.isin(groups, some)], axis=1)
    try:
        made = split(groups, strata, folds=folds, seed=seed)
    except SplitError as error:
        assert "class 'class 1' is missing from the train part" in str(error)
        return
    assert ((made.parts == TEST).sum(axis=0) == 1).all()
    assert ((made.parts == VALID).sum(axis=0) == 1).all()
    assert (np.roll(made.parts == TEST, -1, axis=0) == (made.parts == VALID)).all()
    for fold in made.parts:
        assert all((fold == part).any() for part in PARTS.values())
        assert all(len(np.unique(fold[groups == group])) == 1 for group in np.unique(groups))


@settings(deadline=None, max_examples=examples(30))
@given(seed=st.integers(0, 1000), kind=st.sampled_from(["kfold", "holdout"]))
def test_order_of_rows_does_not_matter_and_the_seed_does(seed, kind):
    groups, strata = scene(seed)
    order = np.random.default_rng(seed).permutation(len(groups))
    first, again = split(groups, strata, kind=kind), split(groups, strata, kind=kind)
    mixed = split(groups[order], strata[order], kind=kind)
    np.testing.assert_array_equal(first.parts, again.parts)
    np.testing.assert_array_equal(first.parts[:, order], mixed.parts)


def test_another_seed_gives_another_split():
    groups = np.repeat(np.arange(20), 3)
    made = [split(groups, one_class(60), seed=seed).parts for seed in range(2)]
    assert (made[0] != made[1]).any()


# -- stratification -------------------------------------------------------------------------


def unevenness(parts, strata):
    """Mean over classes of the standard deviation of a class's shares in the test parts."""
    shares = [strata[fold == TEST].sum(axis=0) / strata.sum(axis=0) for fold in parts]
    return np.std(shares, axis=0).mean()


@pytest.mark.slow
def test_one_task_is_spread_as_evenly_as_by_scikit_learn():
    ours, theirs = [], []
    for seed in range(30):
        groups, strata = scene(seed, patients=20 + seed)
        ours.append(unevenness(split(groups, strata, seed=seed).parts, strata))
        parts = np.zeros((5, len(groups)), int)
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for i, (_, test) in enumerate(folds.split(groups, strata.argmax(1), groups)):
                parts[i, test] = TEST
        theirs.append(unevenness(parts, strata))
    assert np.mean(ours) <= 1.05 * np.mean(theirs)


def test_several_tasks_are_spread_at_once():
    """Two tasks that have nothing to do with each other, and rows that only one of them answers."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 60, 3000)
    strata = np.zeros((3000, 4), bool)
    strata[np.arange(3000), rng.integers(0, 2, 3000)] = True
    second = rng.random(3000) < 0.3
    strata[second, 2 + (rng.random(second.sum()) < 0.2)] = True
    made = split(groups, strata)
    for fold in made.parts:
        shares = strata[fold == TEST].sum(axis=0) / strata.sum(axis=0)
        np.testing.assert_allclose(shares, 0.2, atol=0.03)


def test_shares_of_a_holdout_are_as_asked():
    groups, strata = scene(1, patients=200)
    made = split(groups, strata, kind="holdout", valid_share=0.1, test_share=0.3)
    assert made.names == ("holdout",)
    for part, share in ((TRAIN, 0.6), (VALID, 0.1), (TEST, 0.3)):
        np.testing.assert_allclose(strata[made.rows(0, part)].sum(axis=0) / strata.sum(axis=0), share, atol=0.01)


def test_each_tile_its_own_group_by_the_hundred_thousand():
    rng = np.random.default_rng(0)
    strata = np.eye(3, dtype=bool)[rng.choice(3, 100_000, p=[0.7, 0.29, 0.01])]
    made = split(np.arange(100_000), strata, group_by="tile")
    for fold in made.parts:
        np.testing.assert_allclose(strata[fold == TEST].mean(axis=0), [0.7, 0.29, 0.01], atol=2e-3)


def test_three_patients_make_three_folds_and_a_holdout():
    groups = np.repeat([7, 8, 9], [50, 2, 1])
    assert sorted(np.unique(split(groups, one_class(53), folds=3).parts, axis=1)[:, 0].tolist()) == [TRAIN, VALID, TEST]
    held = split(groups, one_class(53), kind="holdout").parts[0]
    assert {int(part) for part in held} == {TRAIN, VALID, TEST}


def test_a_rare_class_stays_in_every_train_part_where_an_order_of_folds_allows_it():
    """Two of ten patients have it: it is trained on in each of five folds only if their folds are not neighbours."""
    for seed in range(20):
        groups = np.repeat(np.arange(10), 4)
        strata = np.stack([np.ones(40, bool), np.isin(groups, [3, 4])], axis=1)
        try:
            made = split(groups, strata, seed=seed)
        except SplitError as error:
            pytest.fail(f"seed {seed}: {error}")
        assert all(strata[fold == TRAIN, 1].any() for fold in made.parts)
        assert any("class 1" in note and "2 patients" in note and "test part" in note for note in made.notes)


# -- errors ---------------------------------------------------------------------------------


def test_fewer_patients_than_folds():
    with pytest.raises(SplitError, match=re.escape("4 patients for 5 folds; pass --folds 4")):
        split([0, 1, 2, 3], one_class(4), folds=5)
    fewer = split([0, 1, 2, 3], one_class(4))
    assert len(fewer.parts) == 4 and fewer.notes == ("4 patients, so there are 4 folds and not 5",)
    assert len(split(range(9), one_class(9)).parts) == 5
    with pytest.raises(SplitError, match="2 patients to split; expected at least 3"):
        split([0, 1, 1, 1], one_class(4), kind="holdout")
    with pytest.raises(SplitError, match="1 slide to split"):
        split([0, 0], one_class(2), group_by="slide_id")


def test_a_class_of_one_patient_cannot_be_cross_validated():
    groups = np.repeat(np.arange(6), 5)
    strata = np.stack([np.ones(30, bool), groups == 2], axis=1)
    with pytest.raises(SplitError, match=r"class 'tumour' is missing from the train part .* only 1 patient of 6"):
        split(groups, strata, folds=3, classes=["normal", "tumour"])


# -- by column ------------------------------------------------------------------------------


def test_a_fold_for_each_site():
    groups, strata = scene(2, patients=40)
    site = (groups % 3).astype(np.int32)
    made = split(groups, strata, kind="column", column="site", values=site, value_names=("A", "B", "C"))
    assert made.names == ("site=A", "site=B", "site=C")
    for i, fold in enumerate(made.parts):
        np.testing.assert_array_equal(fold == TEST, site == i)
        assert 0.1 < (fold == VALID).sum() / (site != i).sum() < 0.3
        assert not set(groups[fold == TRAIN]) & set(groups[fold == VALID])


def test_a_patient_of_two_sites_is_an_error():
    groups = np.array([0, 0, 1, 2, 3, 4])
    with pytest.raises(SplitError, match=r"1 patient of 5 .* two values of 'site': P0"):
        split(groups, one_class(6), kind="column", column="site", values=np.array([0, 1, 0, 0, 1, 1]),
              value_names=("A", "B"), group_names=[f"P{i}" for i in range(5)])  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [([-1, 0, 0, 1, 1, 1], "1 of 6 labelled rows, of 1 patient .* have no 'site'"), ([0] * 6, "site = 'A'")],
)
def test_a_column_must_have_a_value_for_each_row_and_two_of_them(values, message):
    with pytest.raises(SplitError, match=message):
        split(np.arange(6), one_class(6), kind="column", column="site", values=np.array(values), value_names=("A", "B"))


def test_a_site_of_one_patient_leaves_none_to_validate_on():
    with pytest.raises(SplitError, match="fold site=B: 1 patient to train and to validate on"):
        split([0, 1, 2, 2], one_class(4), kind="column", column="site", values=np.array([1, 1, 0, 0]),
              value_names=("A", "B"))  # fmt: skip


# -- given ----------------------------------------------------------------------------------


def test_a_given_split_is_kept_to_the_row_whatever_its_parts_are_called():
    values = np.array([0, 1, 2, 0, -1, 2])
    made = split(np.arange(6), one_class(6), kind="given", values=values, value_names=("Training", "val", "TEST"))
    np.testing.assert_array_equal(made.parts, [[TRAIN, VALID, TEST, TRAIN, UNUSED, TEST]])
    assert made.names == ("given",)
    assert any("1 of 6 labelled rows, of 1 patient (4), have no given split" in note for note in made.notes)


def test_a_missing_validation_part_is_taken_from_the_train_part_and_said():
    groups, strata = scene(3, patients=50)
    values = (groups >= 40).astype(np.int8)
    made = split(groups, strata, kind="given", values=values, value_names=("train", "test"))
    fold = made.parts[0]
    np.testing.assert_array_equal(fold == TEST, values == 1)
    assert not set(groups[fold == TRAIN]) & set(groups[fold == VALID])
    assert 0.15 < (fold == VALID).sum() / (values == 0).sum() < 0.25
    assert any("no validation part" in note for note in made.notes)


def test_a_patient_on_both_sides_of_a_given_split_is_named():
    groups = np.array([0, 1, 1, 2, 3])
    with pytest.raises(SplitError, match=r"1 patient of 4 .* two parts of the given split: anna; .*--split kfold"):
        split(groups, one_class(5), kind="given", values=np.array([0, 0, 1, 1, 0]), value_names=("train", "test"),
              group_names=["bert", "anna", "carl", "dora"])  # fmt: skip


def test_given_numbers_are_folds():
    made = split(np.arange(8), one_class(8), kind="given", values=np.array([0, 0, 1, 1, 2, 2, 3, 3]),
                 value_names=("fold 1", "fold_2", "3", "10.0"))  # fmt: skip
    assert made.names == ("given fold 1", "given fold 2", "given fold 3", "given fold 10")
    np.testing.assert_array_equal(made.parts[3], [VALID, VALID, TRAIN, TRAIN, TRAIN, TRAIN, TEST, TEST])


def test_two_given_folds_validate_on_a_share_of_the_other():
    made = split(np.arange(20), one_class(20), kind="given", values=np.arange(20) % 2, value_names=("0", "1"))
    for i, fold in enumerate(made.parts):
        np.testing.assert_array_equal(fold == TEST, np.arange(20) % 2 == i)
        assert (fold == VALID).sum() == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train", "holiday"), "'holiday' is no name of a part"),
        (("train", "1"), "'1' is no name of a part"),
        (("-1", "1", "2", "3"), "'-1' is no name of a part"),
        (("train", "val"), "no test part"),
        (("val", "test"), "no train part"),
        (("7", "fold 7"), "one fold only"),
    ],
)
def test_a_given_split_that_cannot_be_used(names, message):
    with pytest.raises(SplitError, match=message):
        split(np.arange(6), one_class(6), kind="given", values=np.arange(6) % len(names), value_names=names)


def test_labels_without_a_given_split():
    with pytest.raises(SplitError, match="none of 6 labelled rows has a given split"):
        split(np.arange(6), one_class(6), kind="given", values=np.full(6, -1))


def test_names_of_parts():
    assert [part_of_name(name) for name in ("Train", "val", "DEV", "testing", "held-out", "other", "")] == [
        TRAIN, VALID, VALID, TEST, TEST, UNUSED, UNUSED,
    ]  # fmt: skip


# -- what is saved --------------------------------------------------------------------------


def test_what_a_head_keeps_of_its_split():
    groups = np.array([0, 0, 1, 2])
    strata = np.array([[1, 0], [0, 1], [1, 1], [1, 0]], bool)
    made = split(groups, strata, kind="given", values=np.array([0, 0, 1, 2]), value_names=("train", "val", "test"))
    (counts,) = count_parts(made, groups=groups, strata=strata, classes=("x", "y"))
    assert counts.fold == "given"
    assert counts.train == PartCounts(rows=2, groups=1, classes={"x": 1, "y": 1})
    assert counts.valid == PartCounts(rows=1, groups=1, classes={"x": 1, "y": 1})
    assert counts.test == PartCounts(rows=1, groups=1, classes={"x": 1, "y": 0})
    assert FoldCounts.from_record(json.loads(json.dumps(asdict(counts)))) == counts
