"""What is said of an augmenter, against the same computed view by view."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from embedstore.config import ViewConfig
from embedstore.views import PARAMETERS, draw_parameters
from heads.augmentation.augmenter import Augmenter
from heads.augmentation.augmenter_evaluation import evaluate_augmenter
from heads.augmentation.augmenter_report import AugmenterReport, ViewScores
from heads.augmentation.view_pairs import ViewPairs
from heads.config import AugmenterConfig
from heads.evaluation.report import Metric
from heads.networks.augmenter_network import (
    TRANSFORMS,
    AugmenterArrays,
    augmenter_network,
    initial_augmenter,
    parameter_scale,
)
from heads.splitting.splits import TEST, TRAIN
from tests.heads.view_stores import augment

pytestmark = pytest.mark.slow

DIM, TILES, COUNT = 7, 30, 3
CONFIG = AugmenterConfig(chunks=3, width=8, heads=2)
# A fourth of the views is blurred, none has its contrast changed.
VIEWS = ViewConfig(count=COUNT, contrast=0)


@pytest.fixture(scope="module")
def augmenter() -> Augmenter:
    """One whose parameters are noise, so that it changes every vector."""
    rng = np.random.default_rng(0)
    start = initial_augmenter(jax.random.key(0), DIM, CONFIG)
    bank = draw_parameters(np.arange(100), VIEWS).reshape(-1, len(PARAMETERS))
    latent = AugmenterArrays(
        parameters=jax.tree.map(lambda a: a + 0.1 * rng.normal(size=a.shape).astype(np.float32), start),
        mean=jnp.asarray(rng.normal(size=DIM), jnp.float32),
        std=jnp.asarray(rng.uniform(0.5, 2, DIM), jnp.float32),
        scale=jnp.asarray(parameter_scale(bank)),
        bank=jnp.asarray(bank),
    )
    return Augmenter(
        name="a", collection="toy", extractor_digest="d", network=augmenter_network(DIM, CONFIG), arrays=latent,
        view_config=VIEWS, config=CONFIG,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pairs() -> ViewPairs:
    """Thirty tiles of ten patients, of which the first five are tested on."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(TILES, DIM))
    group = np.arange(TILES) % 10
    return ViewPairs(
        version=1,
        views_version=1,
        vectors=vectors.astype(np.float16),
        views=(vectors[:, None] + 0.5 * rng.normal(size=(TILES, COUNT, DIM))).astype(np.float16),
        parameters=draw_parameters(np.arange(TILES), VIEWS),
        part=np.where(group < 5, TEST, TRAIN).astype(np.int8),
        group=group,
        notes=(),
    )


def by_hand(augmenter: Augmenter, pairs: ViewPairs, wanted: str) -> list[tuple[int, float, float, float, float]]:
    """Patient, cosine predicted and of the tile's own vector, and squared errors, of each view with a transform."""
    found = []
    std = np.asarray(augmenter.arrays.std, np.float64)
    for tile in np.flatnonzero(pairs.part == TEST):
        for view in range(COUNT):
            done = dict(zip(PARAMETERS, pairs.parameters[tile, view].tolist(), strict=True))
            of = [done[name] for name in PARAMETERS if name == wanted or (wanted == "stain" and "_" in name[4:])]
            if wanted != "all" and not any(of):
                continue
            own, true = (np.asarray(a, np.float64) for a in (pairs.vectors[tile], pairs.views[tile, view]))
            given = (jnp.asarray(a)[None] for a in (pairs.vectors[tile], pairs.parameters[tile, view]))
            predicted = np.asarray(augment(augmenter.network, augmenter.arrays, *given)[0], np.float64)
            cosines = [a @ true / np.linalg.norm(a) / np.linalg.norm(true) for a in (predicted, own)]
            errors = [(((a - true) / std) ** 2).mean() for a in (predicted, own)]
            found.append((int(pairs.group[tile]), *cosines, *errors))
    return found


@pytest.mark.parametrize("name", ["all", "stain", "mirror", "turns", "blur", "crop", "jpeg"])
def test_scores_are_means_over_the_views_that_have_a_transform(augmenter: Augmenter, pairs: ViewPairs, name: str):
    scores = evaluate_augmenter(augmenter, pairs, resamples=0, seed=0).scores[name]
    rows = by_hand(augmenter, pairs, name)
    _, predicted, original, error, change = np.array(rows).T
    assert scores.views == len(rows)
    np.testing.assert_allclose(scores.predicted.value, predicted.mean(), rtol=1e-5)
    np.testing.assert_allclose(scores.original.value, original.mean(), rtol=1e-5)
    np.testing.assert_allclose(scores.gain.value, (predicted - original).mean(), rtol=1e-4)
    np.testing.assert_allclose(scores.explained.value, 1 - error.sum() / change.sum(), rtol=1e-4)
    assert scores.gain.low is None


def test_intervals_leave_patients_out(augmenter: Augmenter, pairs: ViewPairs):
    report = evaluate_augmenter(augmenter, pairs, resamples=300, seed=4)
    rows = np.array(by_hand(augmenter, pairs, "blur"))
    without = [rows[rows[:, 0] != patient] for patient in range(5)]
    gains = np.array([(kept[:, 1] - kept[:, 2]).mean() for kept in without])
    reach = stats.t.ppf(0.975, 4) * np.sqrt(4 / 5 * ((gains - gains.mean()) ** 2).sum())
    gain = report.scores["blur"].gain
    np.testing.assert_allclose((gain.low, gain.high), (gain.value - reach, gain.value + reach), rtol=1e-4)
    assert (report.tiles, report.groups) == (15, 5)


def test_a_transform_that_no_view_has_is_undefined(augmenter: Augmenter, pairs: ViewPairs):
    scores = evaluate_augmenter(augmenter, pairs, resamples=20, seed=0).scores["contrast"]
    assert scores.views == 0 and scores.predicted == Metric(value=None) == scores.explained


def test_hearing_is_what_other_parameters_lose(augmenter: Augmenter, pairs: ViewPairs):
    """Without any difference between views, parameters of another view are as good."""
    alike = np.broadcast_to(pairs.parameters[:1, :1], pairs.parameters.shape)
    same = ViewPairs(**{**vars(pairs), "parameters": alike})
    assert evaluate_augmenter(augmenter, same, resamples=0, seed=0).scores["all"].transform_gain.value == pytest.approx(
        0, abs=1e-9
    )
    assert evaluate_augmenter(augmenter, pairs, resamples=0, seed=0).scores[
        "all"
    ].transform_gain.value != pytest.approx(0, abs=1e-4)


def test_a_report_goes_through_json(augmenter: Augmenter, pairs: ViewPairs):
    report = evaluate_augmenter(augmenter, pairs, resamples=20, seed=0)
    assert AugmenterReport.from_record(json.loads(json.dumps(report.as_record()))) == report
    assert tuple(report.scores) == ("all", *TRANSFORMS)


@pytest.mark.parametrize(
    ("gain", "beats"),
    [
        (Metric(value=0.1, low=0.01, high=0.2), True),
        (Metric(value=0.1, low=-0.01, high=0.2), False),
        (Metric(value=0.1, low=0.0, high=0.2), False),
        (Metric(value=0.1), True),
        (Metric(value=-0.1), False),
        (Metric(value=None), False),
    ],
)
def test_the_interval_of_the_gain_decides(gain: Metric, beats: bool):
    of = Metric(value=0.5)
    scores = ViewScores(views=3, predicted=of, original=of, gain=gain, transform_gain=of, explained=of)
    assert AugmenterReport(tiles=1, groups=2, scores={"all": scores}).beats_original == beats
