"""What heads are fitted from: stored views beside vectors, and a latent augmenter; kept, compared, and missed aloud."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from embedstore.config import as_record
from embedstore.errors import AugmenterNotFoundError, HeadMismatchError, ViewsNotFoundError
from embedstore.store import Store, read_views
from embedstore.store.removal import remove_views
from heads.augmentation.augmenter import load_augmenter
from heads.augmentation.augmenter_fit import fit_augmenter
from heads.augmentation.policies import DRAWS, augmented_rows
from heads.config import AugmentConfig, FitConfig, SplitConfig
from heads.examples import gather_examples
from heads.fit import fit_again, fit_heads
from heads.record import HeadRecord, ViewsUsed
from heads.training.adamw import _apply_latent_augmenter
from heads.training.grid import make_program
from heads.training.training_data import gather_training_data
from tests.heads.view_stores import DIM, TINY, VIEWS, augment, labelled

pytestmark = pytest.mark.slow

QUICK = FitConfig(
    optimizer="adamw", split=SplitConfig(folds=3), steps=60, evaluate_every=20, batch=64, bootstrap=20,
    weight_decays=(1e-2,),
)  # fmt: skip
VIEWED = replace(QUICK, augment=(AugmentConfig(), AugmentConfig(views=0.8)))
NONE, VIEWS_ON = AugmentConfig(), AugmentConfig(views=0.8)
OPEN = replace(QUICK, optimizer="auto", c=(1e-3, 1e-1))
LEARNED = replace(QUICK, augment=(AugmentConfig(learned=0.5, noise=0.1),))


def fit(store: Store, config: FitConfig, **options):
    return fit_heads(store, store.collection(), ["size"], config, names=["h"], replace_heads=True, **options)[0]


def test_views_lie_beside_their_tiles_and_a_tile_without_any_stands_for_them(tmp_path: Path):
    store = labelled(tmp_path, slides=6, tiles=20, without=("s01.svs",))
    collection = store.collection()
    examples = gather_examples(store, collection, ["size"], VIEWED)
    material = gather_training_data(store, collection, examples, VIEWED, tmp_path)
    rows = {row["tile_id"]: row for row in collection.tiles().to_pylist()}
    stored = read_views(store.views(collection.name), examples.ids)
    assert material.vectors.shape == (120, 1 + VIEWS.count, collection.dim)
    for i, tile_id in enumerate(examples.ids.tolist()):
        own = np.asarray(rows[tile_id]["vector"], np.float16)
        assert (material.vectors[i, 0] == own).all()
        expected = stored.vectors[i] if rows[tile_id]["slide_id"] != "s01.svs" else np.tile(own, (VIEWS.count, 1))
        assert (material.vectors[i, 1:] == expected).all()
    assert material.views == ViewsUsed(config=VIEWS, tiles=100)
    assert "20 of 120 labelled tiles have no stored views" in material.notes[0]


def test_a_head_with_views_is_fitted_again_to_the_same_bits_while_they_are_there(tmp_path: Path):
    store = labelled(tmp_path)
    made = fit(store, VIEWED)
    assert made.record["views"]["tiles"] == 720
    assert fit_again(store, "h")[1].digest == made.digest
    remove_views(store, "toy")
    with pytest.raises(ViewsNotFoundError, match="no stored views"):
        fit_again(store, "h")


def test_a_head_with_an_augmenter_is_fitted_again_while_it_is_the_same(tmp_path: Path):
    store = labelled(tmp_path)
    fit_augmenter(store, store.collection(), TINY, name="mine", force=True)
    made = fit(store, LEARNED)
    assert made.record["augmenter"] == {"name": "mine", "digest": store.augmenters.get("mine").digest}
    assert fit_again(store, "h")[1].digest == made.digest
    plain = fit(store, replace(QUICK, augment=(AugmentConfig(noise=0.1),)))
    assert plain.digest != made.digest and "augmenter" not in plain.record
    fit(store, LEARNED)
    other = replace(TINY, seed=1)
    fit_augmenter(store, store.collection(), other, name="mine", force=True, replace=True)
    with pytest.raises(HeadMismatchError, match="fitted with augmenter"):
        fit_again(store, "h")


def noisy_elsewhere(vectors, done, rng):
    """Views that differ where the label says nothing: which dimensions those are is what few tiles do not show."""
    return vectors + rng.normal(size=vectors.shape) * (np.arange(DIM) >= 4) * 3


def noisy_where_it_counts(vectors, done, rng):
    """Views that lose what the label is of."""
    return vectors + rng.normal(size=vectors.shape) * (np.arange(DIM) < 4) * 6


def hardly_different(vectors, done, rng):
    return vectors + rng.normal(size=vectors.shape) * 1e-2


@pytest.mark.parametrize(
    ("rule", "chosen"), [(noisy_elsewhere, VIEWS_ON), (noisy_where_it_counts, NONE), (hardly_different, NONE)]
)
def test_the_fit_decides_between_none_and_views_by_what_they_bring(tmp_path: Path, rule, chosen: AugmentConfig):
    store = labelled(tmp_path, rule=rule, tiles=6)
    head = fit(store, OPEN)
    choice = HeadRecord.from_record(head.record).augmentation
    assert choice is not None and choice.chosen == str(chosen)
    assert [one.policy for one in choice.tried] == [str(NONE), str(VIEWS_ON)] and choice.groups == 6
    assert head.record["views"]["tiles"] == 72 and head.record["optimizer"] == "lbfgs"
    best = next(cell for cell in head.record["selection"] if cell["chosen"])
    assert best["augment"] == str(chosen)
    assert fit_again(store, "h")[1].digest == head.digest
    named = fit(store, replace(OPEN, augment=(VIEWS_ON,)))  # what is named is taken, whatever it brings
    assert "augmentation" not in named.record and list(named.record["config"]["augment"]) == [as_record(VIEWS_ON)]


def test_what_is_left_open_tries_what_the_store_has(tmp_path: Path):
    store = labelled(tmp_path, without=tuple(f"s{s:02}.svs" for s in range(12)))
    plain = fit(store, OPEN)
    assert list(plain.record["config"]["augment"]) == [as_record(NONE)] and "augmentation" not in plain.record
    assert plain.digest == fit(store, replace(OPEN, augment=(NONE,))).digest

    store = labelled(tmp_path / "viewed", tiles=20)
    poor = replace(TINY, steps=1, evaluate_every=1, learning_rate=1e-9)
    fit_augmenter(store, store.collection(), poor, name="poor", force=True)
    remove_views(store, "toy")
    assert list(fit(store, OPEN).record["config"]["augment"]) == [as_record(NONE)]  # it is not good enough
    store = labelled(tmp_path / "learned")
    fit_augmenter(store, store.collection(), TINY, name="mine")
    remove_views(store, "toy")
    learned = fit(store, OPEN)
    assert list(learned.record["config"]["augment"]) == [as_record(NONE), as_record(AugmentConfig(learned=0.8))]
    assert learned.record["augmenter"]["name"] == "mine"
    store.augmenters.save(replace(store.augmenters.get("mine"), name="another"))
    assert fit_again(store, "h")[1].digest == learned.digest  # though it is no longer the only one
    assert list(fit(store, OPEN).record["config"]["augment"]) == [as_record(NONE)]  # nobody can say which of the two


def test_a_head_of_a_version_that_knew_no_margin_is_fitted_again_to_the_same_bits(tmp_path: Path):
    store = labelled(tmp_path, slides=6, tiles=20)
    made = fit(store, replace(OPEN, augment=(NONE, VIEWS_ON)))
    older = {name: value for name, value in made.record["config"].items() if name != "augment_margin"}
    store.heads.save(replace(made, name="older", record={**made.record, "config": older}))
    assert fit_again(store, "older")[1].digest == made.digest


def test_copies_are_views_and_latent_augmentations_beside_the_original(tmp_path: Path):
    store = labelled(tmp_path, slides=8, tiles=20)
    collection = store.collection()
    fit_augmenter(store, collection, TINY, name="mine", force=True)
    policies = (AugmentConfig(), AugmentConfig(views=0.5), AugmentConfig(views=0.8, learned=0.4))
    config = replace(QUICK, optimizer="lbfgs", augment=policies)
    examples = gather_examples(store, collection, ["size"], config)
    material = gather_training_data(store, collection, examples, config, tmp_path)
    assert material.augmenter is not None
    copies, shares = augmented_rows(config, material.vectors, material.augmenter)
    stored = 1 + VIEWS.count
    assert copies.shape == (160, stored + DRAWS, collection.dim) and (copies[:, :stored] == material.vectors).all()
    np.testing.assert_allclose(shares[0], [1, *[0] * 8])
    np.testing.assert_allclose(shares[1], [0.5, *[0.125] * 4, *[0] * 4])
    np.testing.assert_allclose(shares[2], [0.2 * 0.6, *[0.8 * 0.6 / 4] * 4, *[0.1] * 4])
    bank = np.asarray(material.augmenter.arrays.bank)
    for i in (0, 7):
        made = material.augmenter.augment(np.tile(copies[i, 0], (len(bank), 1)), bank)
        differ = np.abs(made[None] - copies[i, stored:, None].astype(np.float32)).max(axis=2).min(axis=1)
        assert (differ < 0.01).all()  # each is of a transform in the bank
    vast = np.full((3, 1, collection.dim), 6e4, np.float16)
    vast[1] *= -1
    assert np.isfinite(
        augmented_rows(replace(config, augment=(AugmentConfig(learned=1),)), vast, material.augmenter)[0]
    ).all()


def test_what_is_not_there_is_said_before_anything_is_saved(tmp_path: Path):
    store = labelled(tmp_path, slides=6, tiles=20, views=False)
    for config, error, words in (
        (VIEWED, ViewsNotFoundError, "--views"),
        (LEARNED, AugmenterNotFoundError, "fit-augmenter"),
        (replace(LEARNED, augmenter="mine"), AugmenterNotFoundError, "mine"),
    ):
        with pytest.raises(error, match=words):
            fit(store, config)
    assert store.heads.names() == []
    bare = labelled(tmp_path / "bare", slides=6, tiles=20, without=tuple(f"s{s:02}.svs" for s in range(6)))
    with pytest.raises(ViewsNotFoundError, match="not one of 120"):
        fit(bare, VIEWED)


def test_what_is_drawn_for_it_goes_through_the_augmenter(tmp_path: Path):
    store = labelled(tmp_path, slides=8, tiles=20)
    collection = store.collection()
    fit_augmenter(store, collection, TINY, name="mine", force=True)
    augmenter = load_augmenter(store, collection, None)
    examples = gather_examples(store, collection, ["size"], LEARNED)
    program = make_program(LEARNED, examples, collection.dim, augmenter_network=augmenter.network)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(400, collection.dim)), jnp.float16)

    problem = SimpleNamespace(augmenter=augmenter.arrays)
    some = np.arange(len(x)) % 2 == 0
    half, every = (
        np.asarray(_apply_latent_augmenter(program, problem, x, jnp.asarray(taken), key=jax.random.key(1)))
        for taken in (some, some | True)
    )
    own = np.asarray(x, np.float32)
    assert ((half != own).any(axis=1) == some).all()
    assert (half[some] == every[some]).all()
    bank = np.asarray(augmenter.arrays.bank)
    made = np.stack(
        [augment(augmenter.network, augmenter.arrays, jnp.tile(x[i], (len(bank), 1)), bank) for i in (0, 7)]
    )
    assert (np.abs(made - every[[0, 7], None]).max(axis=2).min(axis=1) < 1e-4).all()  # each is of a view in the bank
