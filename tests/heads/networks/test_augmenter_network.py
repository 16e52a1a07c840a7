"""The network of latent augmenters: nothing changes at the start, sizes, tokens, and one program a shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from embedstore.config import ViewConfig
from embedstore.views import PARAMETERS, draw_parameters, unchanged
from heads.config import AugmenterConfig
from heads.networks.augmenter_network import (
    FEATURES,
    TRANSFORMS,
    AugmenterArrays,
    apply_augmenter,
    augmenter_network,
    encode,
    initial_augmenter,
    parameter_scale,
)
from tests.heads.view_stores import augment

pytestmark = pytest.mark.slow

CONFIG = AugmenterConfig(chunks=4, width=16, heads=2)
#: One program for a shape.
initial = jax.jit(initial_augmenter, static_argnums=(1, 2))
BANK = draw_parameters(np.arange(1024), ViewConfig()).reshape(-1, len(PARAMETERS))


def latent(dim: int, config: AugmenterConfig = CONFIG, *, seed: int = 0, moved: bool = False) -> AugmenterArrays:
    """An augmenter's arrays; `moved` away from the start, where it changes nothing."""
    rng = np.random.default_rng(seed)
    parameters = initial(jax.random.key(seed), dim, config)
    if moved:
        parameters = jax.tree.map(lambda a: a + 0.1 * rng.normal(size=a.shape).astype(np.float32), parameters)
    mean, std = rng.normal(size=dim), rng.uniform(0.5, 2, dim)
    return AugmenterArrays(
        parameters=parameters,
        mean=jnp.asarray(mean, jnp.float32),
        std=jnp.asarray(std, jnp.float32),
        scale=jnp.asarray(parameter_scale(BANK)),
        bank=jnp.asarray(BANK),
    )


def tile_vectors(n: int, dim: int):
    return jnp.asarray(np.random.default_rng(1).normal(size=(n, dim)).astype(np.float16))


def view(**values: float) -> np.ndarray:
    parameters = unchanged()
    for name, value in values.items():
        parameters[PARAMETERS.index(name)] = value
    return parameters


def tokens(**values: float) -> dict[str, np.ndarray]:
    found = np.asarray(encode(jnp.asarray(view(**values)), jnp.asarray(parameter_scale(BANK))))
    assert found.shape == (len(TRANSFORMS), FEATURES)
    return dict(zip(TRANSFORMS, found, strict=True))


@pytest.mark.parametrize("dim", [12, 60, 256, 512, 544, 1280, 1536])
def test_untrained_it_changes_nothing_at_any_size(dim):
    config = AugmenterConfig(width=16, heads=2)
    vectors = tile_vectors(3, dim)
    out = augment(augmenter_network(dim, config), latent(dim, config), vectors, jnp.asarray(BANK[:3]))
    assert out.dtype == jnp.float32
    np.testing.assert_array_equal(out, vectors.astype(jnp.float32))


@pytest.mark.parametrize("dim", [3, 4, 12, 13])
def test_every_dimension_can_change_whatever_the_chunks(dim):
    vectors = tile_vectors(5, dim)
    out = augment(augmenter_network(dim, CONFIG), latent(dim, moved=True), vectors, jnp.asarray(BANK[:5]))
    assert (np.abs(np.asarray(out - vectors)).min(axis=0) > 0).all()


def test_a_vector_is_augmented_alone():
    network, arrays, vectors = augmenter_network(13, CONFIG), latent(13, moved=True), tile_vectors(6, 13)
    together = augment(network, arrays, vectors, jnp.asarray(BANK[:6]))
    alone = [augment(network, arrays, vectors[i : i + 1], jnp.asarray(BANK[i : i + 1]))[0] for i in range(6)]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)


def test_every_parameter_of_a_view_is_heard():
    network, arrays, vectors = augmenter_network(13, CONFIG), latent(13, moved=True), tile_vectors(1, 13)
    cropped = view(crop=0.2, crop_x=0.4, crop_y=0.4)
    for name in PARAMETERS:
        changed = cropped.copy()
        changed[PARAMETERS.index(name)] += 1 if name in ("mirror", "turns") else 0.1
        one, other = (augment(network, arrays, vectors, jnp.asarray(p[None])) for p in (cropped, changed))
        assert np.abs(np.asarray(one - other)).max() > 1e-6, name


def test_a_tile_with_nothing_done_to_it_is_all_zeros():
    assert not np.any(list(tokens().values()))


def test_tokens_hold_what_each_transform_does():
    found = tokens(turns=3, mirror=1, eosin_shift=-0.05, jpeg=35)
    np.testing.assert_array_equal(found["turns"], [0, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(found["mirror"], [1, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(found["stain"], [0, 0, 0, -0.5, 0, 0], atol=0.02)
    np.testing.assert_allclose(found["jpeg"][0], 0.5, atol=0.02)
    assert not np.any([found[name] for name in ("crop", "blur", "contrast", "brightness")])


def test_a_crop_is_its_share_and_how_far_its_centre_moves():
    middle, corner, small = (
        tokens(crop=share, crop_x=x, crop_y=1 - x)["crop"] for share, x in ((0.3, 0.5), (0.3, 1.0), (1e-4, 1.0))
    )
    np.testing.assert_allclose(middle, [1, 0, 0, 0, 0, 0], atol=0.02)
    np.testing.assert_allclose(corner, [1, 1, -1, 0, 0, 0], atol=0.02)
    np.testing.assert_allclose(small, np.zeros(6), atol=1e-3)


def test_tokens_of_drawn_views_lie_within_one():
    assert np.abs(np.asarray(encode(jnp.asarray(BANK), jnp.asarray(parameter_scale(BANK))))).max() <= 1 + 1e-6


def test_views_that_are_never_changed_in_some_way_have_finite_tokens():
    config = ViewConfig(crop=0, stain=0, brightness=0, contrast=0, blur=0, jpeg=100)
    bank = draw_parameters(np.arange(8), config).reshape(-1, len(PARAMETERS))
    found = np.asarray(encode(jnp.asarray(bank), jnp.asarray(parameter_scale(bank))))
    assert np.isfinite(found).all()


def test_it_is_one_program_for_a_shape_and_goes_through_vmap():
    traces = 0

    def counted(arrays, vectors, parameters):
        nonlocal traces
        traces += 1
        return apply_augmenter(network, arrays, vectors, parameters)

    network, arrays = augmenter_network(12, CONFIG), latent(12, moved=True)
    vectors = tile_vectors(8, 12)
    run = jax.jit(counted)
    first = run(arrays, vectors, jnp.asarray(BANK[:8]))
    second = run(latent(12, seed=1), vectors, jnp.asarray(BANK[8:16]))
    assert traces == 1 and not np.array_equal(first, second)
    np.testing.assert_allclose(first, apply_augmenter(network, arrays, vectors, jnp.asarray(BANK[:8])), atol=1e-5)
    stacked = jax.jit(jax.vmap(counted, in_axes=(None, 0, 0)))(
        arrays, vectors.reshape(2, 4, 12), jnp.asarray(BANK[:8]).reshape(2, 4, -1)
    )
    np.testing.assert_allclose(stacked.reshape(8, 12), first, atol=1e-5)
