"""Bags of any length: padding weighs nothing, attention finds what matters, every bag comes once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heads.networks.models import apply, initial_parameters, make_network
from heads.training.abmil import SHORTEST, Bags, bag_batches, padded_length

pytestmark = pytest.mark.slow

OPTIONS = {"dim": 6, "classes": 2, "hidden": 8, "dropout": 0.0}


def bags_of(sizes) -> Bags:
    return Bags(rows=np.arange(sum(sizes)), start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


@given(st.lists(st.integers(1, 700), min_size=1, max_size=12), st.integers(1, 5), st.sampled_from([0, 100]))
@settings(deadline=None, max_examples=30)
def test_every_bag_comes_once_with_its_own_tiles(sizes: list[int], most_bags: int, most_tiles: int):
    bags = bags_of(sizes)
    vectors = np.repeat(np.arange(sum(sizes), dtype=np.float32)[:, None], 2, axis=1)
    seen = []
    for batch in bag_batches(
        vectors, bags, np.arange(len(sizes)), most_bags=most_bags, most_tiles=most_tiles, rng=np.random.default_rng(0)
    ):
        assert len(batch.bag) <= most_bags or batch.x.shape[1] <= padded_length(max(sizes))
        for x, mask, bag in zip(batch.x, batch.mask, batch.bag, strict=True):
            if bag < 0:
                assert not mask.any()
                continue
            rows = x[mask, 0].astype(int)
            own = np.arange(bags.start[bag], bags.start[bag + 1])
            assert np.isin(rows, own).all() and len(np.unique(rows)) == len(rows)
            assert len(rows) == (min(len(own), most_tiles) if most_tiles else len(own))
            seen.append(int(bag))
    assert sorted(seen) == list(range(len(sizes)))


def test_lengths_are_few():
    lengths = {padded_length(n) for n in range(1, 100_000)}
    assert min(lengths) == SHORTEST
    assert len(lengths) < 13


@pytest.mark.parametrize("garbage", [0.0, 1e4])
def test_padding_weighs_nothing(garbage: float):
    network, parameters = make_network("abmil", **OPTIONS), initial_parameters("abmil", jax.random.key(0), **OPTIONS)
    x = jax.random.normal(jax.random.key(1), (10, 6))
    shift, scale = jnp.zeros(6), jnp.ones(6)
    alone, attention = apply(network, parameters, x, shift, scale, None, jnp.ones(10, bool))
    padded = jnp.concatenate([x, jnp.full((7, 6), garbage)])
    mask = jnp.arange(17) < 10
    with_padding, more = apply(network, parameters, padded, shift, scale, None, mask)
    np.testing.assert_allclose(with_padding, alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(more[:10], attention, rtol=1e-5, atol=1e-7)
    assert float(attention.sum()) == pytest.approx(1, rel=1e-5)
    assert (more[10:] == 0).all()


def test_the_order_of_tiles_does_not_matter():
    network, parameters = make_network("abmil", **OPTIONS), initial_parameters("abmil", jax.random.key(0), **OPTIONS)
    x = jax.random.normal(jax.random.key(1), (10, 6))
    given_ = jnp.zeros(6), jnp.ones(6), None, jnp.ones(10, bool)
    np.testing.assert_allclose(
        apply(network, parameters, x, *given_)[0], apply(network, parameters, x[::-1], *given_)[0], rtol=1e-4, atol=1e-5
    )
