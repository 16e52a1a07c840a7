"""What a problem is brought to the device as, against the same said plainly."""

import jax
import numpy as np
import pytest

from heads.devices import to_device
from heads.moments import moments
from heads.training.grid import random_keys
from heads.training.problem import _row_codes


def spread(x, train):
    """Mean and standard deviation of some rows, whose copies count alike."""
    x = x.astype(np.float64).reshape(len(x), -1, x.shape[-1])[train]
    return x.mean((0, 1)), x.std((0, 1))


@pytest.mark.parametrize("copies", [(), (3,)])
@pytest.mark.parametrize("folds", [1, 4])
def test_moments_are_those_of_rows_that_are_trained_on(copies, folds):
    rng = np.random.default_rng(folds)
    x = (500 + rng.standard_normal((20_000, *copies, 5)) * [0, 0.5, 1, 10, 100]).astype(np.float16)
    train = rng.random((folds, len(x))) < 0.6
    train[:, 3000:12_000] = False  # a block without any
    before = x.copy()
    mean, std, shift, scale = moments(x, train)
    np.testing.assert_array_equal(x, before)
    expected_mean, expected_std = spread(x, train.any(0))
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-6)
    np.testing.assert_allclose(std, np.where(expected_std, expected_std, 1), rtol=1e-4)
    for fold, own_shift, own_scale in zip(train, *shift, *scale, strict=True):
        of_fold, fold_std = spread(x, fold)
        np.testing.assert_allclose(mean + std * own_shift, of_fold, rtol=1e-5)
        np.testing.assert_allclose(std * own_scale, np.where(fold_std, fold_std, 1), rtol=1e-4)


def test_moments_of_a_policy_are_those_of_what_it_makes_of_a_row():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 3, 4)).astype(np.float16)
    x[:, 1:] *= np.float16(20)
    train = rng.random((2, len(x))) < 0.6
    mean, std, shift, scale = moments(x, train, np.array([[1, 0, 0], [0, 0.5, 0.5], [1, 0, 0]]))
    for policy, copies in enumerate((x[:, :1], x[:, 1:], x[:, :1])):
        for fold, own_shift, own_scale in zip(train, shift[policy], scale[policy], strict=True):
            own_mean, own_std = spread(copies, fold)
            np.testing.assert_allclose(mean + std * own_shift, own_mean, rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(std * own_scale, own_std, rtol=1e-4)


@pytest.mark.parametrize("columns", [1, 5, 64, 65, 130])
def test_row_codes_are_in_the_sorted_order_of_the_rows(columns):
    flags = np.random.default_rng(columns).random((300, columns)) < 0.1
    np.testing.assert_array_equal(_row_codes(flags), np.unique(flags, axis=0, return_inverse=True)[1].reshape(-1))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8])
def test_what_is_brought_to_the_device_has_zeros_behind(dtype):
    array = np.arange(1, 31).astype(dtype).reshape(10, 3)
    there = np.asarray(to_device(array, 16))
    assert there.dtype == dtype and there.shape == (16, 3)
    np.testing.assert_array_equal(there[:10], array)
    assert not there[10:].any()
    array[:] = 0
    assert np.asarray(to_device(array, 16)).sum() == 0 and there[:10].any()  # it shares no memory with what it is of


def test_keys_are_those_of_jax():
    for seed in (0, 7, 2**31 - 1):
        (key,) = random_keys([seed])
        assert (jax.random.key_data(key) == jax.random.key_data(jax.random.key(seed))).all()
