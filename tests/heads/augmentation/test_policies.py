"""Several augmentations are one more axis of the grid: each as if it were fitted alone, the best by validation kept."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from embedstore.errors import ConfigError
from embedstore.store import Store
from heads.augmentation.policies import default_policies, search_policies
from heads.config import AugmentConfig, FitConfig, SplitConfig
from heads.examples import gather_examples
from heads.fit import fit_again, fit_heads
from heads.training.training import train

NOISE = AugmentConfig(noise=0.5)
MIXED = AugmentConfig(mixup=0.4, interpolate=0.3)
QUICK = FitConfig(
    optimizer="adamw", split=SplitConfig(folds=3), steps=60, evaluate_every=20, batch=64, seeds=2, bootstrap=20
)


def posed(store: Store, config: FitConfig):
    collection = store.collection()
    examples = gather_examples(store, collection, ["tissue"], config)
    return examples, np.stack(collection.tiles().column("vector").to_pylist()).astype(np.float16)


@pytest.mark.slow
def test_each_policy_is_fitted_as_if_alone(fitted_store: Store):
    policies = (AugmentConfig(), NOISE, MIXED)
    together = replace(QUICK, augment=policies)
    examples, vectors = posed(fitted_store, together)
    found = train(together, examples, vectors)
    cells = len(QUICK.weight_decays or ())
    assert [cell.parameters["augment"] for cell in found.cells] == [str(one) for one in policies for _ in range(cells)]
    for p, policy in enumerate(policies):
        alone = train(replace(QUICK, augment=(policy,)), examples, vectors)
        for cell, scores in alone.scores(0).items():
            assert scores.shape == (2, 3)
            np.testing.assert_allclose(found.scores(0)[p * cells + cell], scores, rtol=1e-4)
            ours, theirs = (
                one.ensemble(at, [0, 2], 1).logits(vectors[:50])
                for one, at in ((found, p * cells + cell), (alone, cell))
            )
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs"])
def test_no_augmentation_beside_views_is_as_if_there_were_none(fitted_store: Store, optimizer: str):
    """Views vary where originals do not: standardised by them, originals would be regularised otherwise."""
    plain = replace(QUICK, optimizer=optimizer, augment=(AugmentConfig(),), learning_rates=None, c=(0.1,))
    beside = replace(plain, augment=(AugmentConfig(), AugmentConfig(views=0.8)))
    examples, vectors = posed(fitted_store, plain)
    noise = np.random.default_rng(0).normal(size=(len(vectors), 2, vectors.shape[1])) * 12 * vectors.std(0)
    noise[..., ::2] = 0
    viewed = np.concatenate([vectors[:, None], vectors[:, None] + noise], axis=1).astype(np.float16)
    found, alone = train(beside, examples, viewed), train(plain, examples, vectors)
    for cell, scores in alone.scores(0).items():
        np.testing.assert_allclose(found.scores(0)[cell], scores, rtol=2e-3)
        ours, theirs = (one.ensemble(cell, [0, 2], 1).logits(vectors[:50]) for one in (found, alone))
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-2)


@pytest.mark.slow
def test_policies_fitted_apart_are_those_fitted_together(fitted_store: Store):
    policies = (AugmentConfig(), AugmentConfig(views=0.8))
    config = replace(QUICK, optimizer="lbfgs", augment=policies, c=(1e-3, 0.1))
    examples, vectors = posed(fitted_store, config)
    noise = np.random.default_rng(0).normal(size=(len(vectors), 2, vectors.shape[1])) * vectors.std(0)
    viewed = np.concatenate([vectors[:, None], vectors[:, None] + noise], axis=1).astype(np.float16)
    together, apart = (train(replace(config, augment_margin=m), examples, viewed) for m in (0.0, 1.0))
    for cell, scores in together.scores(0).items():
        np.testing.assert_allclose(apart.scores(0)[cell], scores, rtol=2e-3)
    assert apart.best_cells(0).keys() == {str(policy) for policy in policies}


@pytest.mark.slow
def test_the_best_by_validation_is_kept_and_fitted_again(fitted_store: Store):
    config = replace(QUICK, augment=(AugmentConfig(), AugmentConfig(noise=10), MIXED))
    kept = fit_heads(fitted_store, fitted_store.collection(), ["tissue"], config, names=["p"], replace_heads=True)[0]
    tried = kept.record["selection"]
    assert len(tried) == 3 * len(config.weight_decays or ())
    best = min(tried, key=lambda cell: cell["score"])
    assert best["chosen"] and best["augment"] != "noise=10"
    assert fit_again(fitted_store, "p")[1].digest == kept.digest


def test_a_search_tries_what_is_at_hand():
    def kinds(policies):
        return {kind for one in policies for kind in ("views", "learned", "noise", "mixup") if getattr(one, kind)}

    for views, learned in itertools.product((False, True), repeat=2):
        tried = search_policies(views=views, learned=learned)
        assert AugmentConfig() in tried and len(set(tried)) == len(tried)
        wanted = {kind for kind, there in (("views", views), ("learned", learned)) if there}
        assert kinds(tried) == (wanted or {"noise", "mixup"})


def test_what_is_left_open_tries_none_and_the_copies_that_can_be_fitted_to_the_optimum():
    none, views, learned = AugmentConfig(), AugmentConfig(views=0.8), AugmentConfig(learned=0.8)
    few, many = 1000, 40_000
    assert default_policies(few, views=4, learned=True) == (none, views)
    assert default_policies(few, views=0, learned=True) == (none, learned)
    for rows, at_hand in ((many, 4), (few, 0)):
        assert default_policies(rows, views=at_hand, learned=False) == (none,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "abmil", "level": "slide", "augment": (NOISE,)}, "abmil"),
        ({"model": "mean", "level": "slide", "augment": (AugmentConfig(views=0.5),)}, "pooled tiles"),
        ({"optimizer": "lbfgs", "augment": (AugmentConfig(), NOISE)}, "takes views and learned"),
        ({"augment": ()}, "empty"),
        ({"augment": (NOISE, NOISE)}, "twice"),
        ({"augmenter": "mine"}, "learned"),
        ({"augment": "everything"}, "search"),
        ({"augment": (NOISE,), "augment_margin": 1.0}, "add none"),
        ({"augment_margin": -1.0}, "0 to 100"),
        ({"model": "abmil", "level": "slide", "augment": "search"}, "abmil"),
    ],
)
def test_augmentation_that_cannot_be_is_refused(options: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        FitConfig(**options)
