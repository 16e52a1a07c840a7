"""`fit_augmenter`: stored views in, a latent augmenter out, evaluated on patients that it has not seen."""

import time

import jax.numpy as jnp
import numpy as np

from embedstore.config import ViewConfig
from embedstore.errors import AugmenterRefusedError, ViewsNotFoundError
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.store import Collection, Store, StoredAugmenter
from embedstore.version import __version__
from embedstore.views import PARAMETERS, draw_parameters
from heads.augmentation.augmenter import Augmenter
from heads.augmentation.augmenter_evaluation import evaluate_augmenter
from heads.augmentation.augmenter_record import AugmenterRecord
from heads.augmentation.augmenter_report import AugmenterReport
from heads.augmentation.augmenter_training import train_augmenter
from heads.augmentation.view_pairs import ViewPairs, gather_view_pairs
from heads.config import AugmenterConfig, default_augmenter_name
from heads.devices import jax_devices, prepare_jax
from heads.moments import moments
from heads.networks.augmenter_network import BANK_ROWS, AugmenterArrays, parameter_scale
from heads.splitting.splits import TRAIN


def fit_augmenter(
    store: Store,
    collection: Collection,
    config: AugmenterConfig,
    *,
    name: str | None = None,
    force: bool = False,
    replace: bool = False,
    where: str | None = None,
    on_progress: OnProgress = no_progress,
) -> StoredAugmenter:
    """Train an augmenter on the stored views of a collection, judge it, and save it in the store.

    At most 200,000 views are looked at, drawn over all tiles that have them.

    Args:
        name: Of the augmenter; that of the collection with '-augmenter' behind when None.
        force: Save it even where it predicts no better than the tile's own vector; its record says so.
        replace: Replace an augmenter of the same name.
        where: SQL over the slides' columns; only slides that it holds for.
        on_progress: Called with what is being done, and with the step that training is at.
    Returns:
        The augmenter. What the user should know stands in its record, under `notes`.
    Raises:
        ViewsNotFoundError: the collection has no stored views.
        SplitError: fewer than four patients.
        VectorError: a vector is not finite.
        AugmenterExistsError: it has a name that is taken.
        AugmenterRefusedError: it does not beat the tile's own vector, and is not forced.
        In all cases the store is as it was.
    """
    name = default_augmenter_name(collection.name) if name is None else name
    store.augmenters.require_free(name, replace=replace)
    views = store.views(collection.name)
    if not views.exists():
        raise ViewsNotFoundError(
            f"collection {collection.name!r} has no stored views; expected some to learn from; make them with "
            "`embedstore ingest … --views 4` over the same slides, some hundreds of tiles of several patients at least"
        )
    prepare_jax()
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    pairs = gather_view_pairs(store, collection, config, where)
    parts = ", ".join(f"{name} {n.tiles:,} of {n.groups:,} patients" for name, n in pairs.counts().items())
    on_progress(
        Progress(
            stage="fit-augmenter",
            message=f"{len(pairs):,} tiles with {pairs.views.shape[1]} views of {collection.dim} dimensions: {parts}",
        )
    )
    began = _lap(seconds, "read", began)
    on_progress(Progress(stage="fit-augmenter", message=f"fit on {jax_devices()[0]}"))
    trained = train_augmenter(config, pairs, augmenter_inputs(pairs, views.config()), on_progress)
    began = _lap(seconds, "fit", began)
    extractor = collection.extractor()
    augmenter = Augmenter(
        name=name,
        collection=collection.name,
        extractor_digest=extractor.digest,
        network=trained.network,
        arrays=trained.arrays,
        view_config=views.config(),
        config=config,
    )
    report = evaluate_augmenter(augmenter, pairs, resamples=config.bootstrap, seed=config.seed)
    _lap(seconds, "evaluate", began)
    notes = [*pairs.notes, *_notes(report)]
    if not report.beats_original:
        if not force:
            raise AugmenterRefusedError(_why_refused(report, collection.name))
        notes.append(f"FORCED: {_figures(report)}")
    record = AugmenterRecord(
        embedstore=__version__,
        extractor=extractor,
        parameters=PARAMETERS,
        collection_version=pairs.version,
        views_version=pairs.views_version,
        view_config=augmenter.view_config,
        config=config,
        where=where,
        device=jax_devices()[0],
        tiles=len(pairs),
        parts=pairs.counts(),
        evaluations=trained.evaluations,
        step=trained.step,
        report=report,
        beats_original=report.beats_original,
        notes=tuple(notes),
        seconds=seconds,
    )
    stored = StoredAugmenter(
        name=name,
        collection=collection.name,
        digest=augmenter.digest,
        record=record.as_record(),
        parameters=augmenter.to_bytes(),
    )
    store.augmenters.save(stored)
    return stored


def augmenter_inputs(pairs: ViewPairs, views: ViewConfig) -> AugmenterArrays:
    """An augmenter without parameters: moments of the vectors that it is trained on, and views to draw."""
    mean, std, _, _ = moments(pairs.vectors, (pairs.part == TRAIN)[None])
    bank = draw_parameters(np.arange(BANK_ROWS), views).reshape(-1, len(PARAMETERS))[:BANK_ROWS]
    return AugmenterArrays(
        parameters=None,
        mean=jnp.asarray(mean),
        std=jnp.asarray(std),
        scale=jnp.asarray(parameter_scale(bank)),
        bank=jnp.asarray(bank),
    )


def _figures(report: AugmenterReport) -> str:
    scores = report.overall
    return (
        f"on {scores.views:,} views of {report.tiles:,} tiles of {report.groups:,} unseen patients the cosine to the "
        f"true vector is {scores.predicted} predicted and {scores.original} for the tile's own vector, a difference of "
        f"{_signed(scores.gain.value)}"
        + ("" if scores.gain.low is None else f" [{_signed(scores.gain.low)}, {_signed(scores.gain.high)}]")
    )


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.4f}"


def _why_refused(report: AugmenterReport, collection: str) -> str:
    return (
        f"the augmenter of collection {collection!r} predicts views no better than the tile's own vector does: "
        f"{_figures(report)}; expected a difference above 0 with its interval; ingest more tiles of more patients with "
        "--views, train longer (--steps), or keep it all the same with --force"
    )


def _notes(report: AugmenterReport) -> list[str]:
    gain = report.overall.transform_gain
    least = gain.value if gain.low is None else gain.low
    if least is not None and least > 0:
        return []
    return [
        "the prediction hardly depends on the transform: with the parameters of another view the cosine to the true "
        f"vector is as high (difference {_signed(gain.value)}); it moves tiles towards the mean, and little else"
    ]


def _lap(seconds: dict[str, float], name: str, began: float) -> float:
    now = time.perf_counter()
    seconds[name] = round(now - began, 3)
    return now
