"""`select_extractor`: candidates and a labelled proxy task in, a ranking with its doubts out."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.config import TilingConfig, as_record
from embedstore.errors import CandidatesError, ConfigError, LabelError, SlideError, SplitError
from embedstore.extractors import ExtractorConfig
from embedstore.store import Collection, Store
from heads.config import SelectConfig, few_shot_name
from heads.evaluation.metrics import FEW_GROUPS
from heads.evaluation.report import Metric
from heads.examples import Examples, gather
from heads.select.candidate_scores import Scores, agreement, auroc, compare
from heads.select.candidates import PERTURBATIONS, CandidateEmbeddings, FailedCandidate, SampleEmbeddings, embed_sample
from heads.select.probes import ProbeResult, draw_shots, probe
from heads.select.robustness import consistency, site_index
from heads.select.sample import sample_examples, take
from heads.select.selection_report import CandidateReport, RankCheck, SelectionReport
from heads.select.verdict import above_zero, verdict

Tell = Callable[[str], None]
GB = 1e9


def select_extractor(
    store: Store,
    collection: Collection,
    task: str,
    candidates: Sequence[ExtractorConfig],
    config: SelectConfig,
    *,
    rank_check: Sequence[str] = (),
    where: str | None = None,
    tile_px: int | None = None,
    mpp: float | None = None,
    device: str = "auto",
    tell: Tell = lambda text: None,
) -> SelectionReport:
    """Compare candidates for an extractor on a sample of a task's labelled tiles.

    A proxy task on the target domain finds the extractor that serves other tasks of the domain well: that is the claim
    of Nivaggioli et al. 2023 (arXiv 2303.05180), and `rank_check` puts it to the test.

    Args:
        collection: Whose tiles say which places are looked at; its extractor need not be a candidate.
        task: Labels of the store answer it.
        candidates: One that cannot be loaded costs its row, not the run.
        rank_check: Further tasks, on which the same candidates are ranked; one whose tiles cannot be read costs a note.
        where: SQL over the slides' columns; only slides that it holds for.
        tile_px, mpp: Tiles for every candidate; its own when None, and in folders of ready-made tiles the collection's.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        tell: Hears what is being done.
    Raises:
        TaskNotFoundError, LabelError, SplitError: labels that cannot answer the task, or too few patients.
        CandidatesError: not one candidate could be tried.
        ConfigError: no candidate, or a task twice.
    """
    if not candidates:
        raise ConfigError("no candidate was given; expected one extractor or more; `embedstore extractors` lists them")
    if len({task, *rank_check}) < 1 + len(rank_check):
        raise ConfigError(f"tasks to check the ranking on are {', '.join(rank_check)}; expected others than {task!r}")
    site = _site_codes(store, config)
    other_config = replace(config, classes=None)  # those that are named are the proxy's
    asked = [_posed(store, collection, task, config, where)]  # errors before any work
    asked += [_posed(store, collection, name, other_config, where) for name in rank_check]
    tiling: dict[str, Any] = {"tile_px": tile_px, "mpp": mpp, "device": device}
    proxy = _tried(store, collection, asked[0], candidates, config, PERTURBATIONS, tiling, tell)
    # By the names that they have here: without the candidates that failed, they would be told apart in another way.
    embedded = [replace(one.config, name=one.name) for one in proxy.trial.embedded]
    others, notes = [], []
    for number, one in enumerate(asked[1:], start=1):
        own = replace(other_config, seed=config.seed + number)  # or draws would pair patients who are not the same
        try:
            others.append(_tried(store, collection, one, embedded, own, {}, tiling, tell))
            trial = others[-1].trial
            notes += [f"{one.tasks[0]}: {note}" for note in (*one.notes, *trial.notes)]
            notes += [f"{one.tasks[0]}: {lost.name} is not ranked: {lost.error}" for lost in trial.failed]
        except (CandidatesError, LabelError, SlideError, SplitError) as error:  # the proxy's own results are kept
            notes.append(f"the ranking is not checked on {one.tasks[0]}: {error}")
    return _report(collection, config, proxy, others, site, notes)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tried:
    """A task's sample through every candidate, and every probe.

    Attributes:
        examples, slides: Of the tiles that could be read, and the slide of each.
        changed_rows: Positions in the sample, as it was asked for, of the tiles that were changed.
    """

    examples: Examples
    slides: tuple[str, ...]
    trial: SampleEmbeddings
    outcomes: Mapping[str, Mapping[str, ProbeResult]]
    scores: Scores
    changed_rows: NDArray[np.intp]


def _posed(store: Store, collection: Collection, task: str, config: SelectConfig, where: str | None) -> Examples:
    """The sample, before a pixel is read."""
    try:
        examples = gather(store, collection, [task], config.fit(), where)
    except SplitError as error:  # it speaks of patients and folds, and there may be several tasks
        raise SplitError(f"task {task!r}: {error}") from error
    sample = take(examples, sample_examples(examples, config.tiles, seed=config.seed))
    _require_shots(sample, config)
    return sample


def _tried(
    store: Store, collection: Collection, examples: Examples, candidates: Sequence[ExtractorConfig],
    config: SelectConfig, changes: Mapping[str, NDArray[np.float32]], tiling: Mapping[str, Any], tell: Tell,
) -> _Tried:  # fmt: skip
    columns = ["slide_id", "x", "y", "edge_l0", "name"]
    dataset = collection.dataset(examples.version)
    rows = dataset.take(examples.bags.rows.tolist(), columns=columns).to_pylist()
    rng = np.random.default_rng(config.seed)
    changed = np.sort(rng.permutation(len(rows))[: config.robust_tiles]) if changes else np.empty(0, np.intp)
    tell(f"{examples.tasks[0]}: {len(rows):,} tiles of {len(np.unique(examples.group)):,} patients")
    with tempfile.TemporaryDirectory(prefix="embedstore-") as scratch:
        trial = embed_sample(
            store, collection, rows, candidates, changes=changes if len(changed) else {}, changed_rows=changed,
            scratch=Path(scratch), tell=tell, **tiling,
        )  # fmt: skip
    readable = np.flatnonzero(trial.readable)
    examples = take(examples, readable)
    _require_tests(examples)
    _require_shots(examples, config)
    outcomes = {}
    for one in trial.embedded:
        tell(f"{one.name}: probes")
        outcomes[one.name] = probe(one.vectors[readable], examples, config)
    return _Tried(
        examples=examples,
        slides=tuple(rows[i]["slide_id"] for i in readable),
        trial=trial,
        outcomes=outcomes,
        scores=compare(outcomes, examples, resamples=config.bootstrap, seed=config.seed),
        changed_rows=changed,
    )


def _require_tests(examples: Examples) -> None:
    """Raise where tiles that could not be read leave nothing to compare on."""
    if len(examples) < 2 or len(np.unique(examples.targets[0].argmax(axis=1))) < 2:
        raise LabelError(
            f"task {examples.tasks[0]!r}: of the sample {len(examples):,} tiles could be read, of one class at most; "
            "expected two classes; bring the slides back to where they were ingested from"
        )
    if len(np.unique(examples.group)) < 2:
        raise SplitError(f"task {examples.tasks[0]!r}: the tiles that could be read are of one patient; expected more")


def _require_shots(examples: Examples, config: SelectConfig) -> None:
    """Raise where there are too few examples of a class for the few-shot probe that is to rank."""
    shot = {few_shot_name(shot): shot for shot in config.shots}.get(config.rank_by)
    if shot is not None and draw_shots(examples, shot, 1, seed=config.seed) is None:
        raise LabelError(
            f"task {examples.tasks[0]!r} has a class of fewer than {shot} tiles to train on in some fold; rank by "
            f"'linear' instead of {config.rank_by!r}, or label more"
        )


def _report(
    collection: Collection, config: SelectConfig, proxy: _Tried, others: Sequence[_Tried],
    site: Mapping[str, int] | None, other_notes: Sequence[str],
) -> SelectionReport:  # fmt: skip
    ranked = proxy.scores.ranked([one.name for one in proxy.trial.embedded], config.rank_by)
    notes = [*proxy.examples.notes, *proxy.trial.notes]
    patients = len(np.unique(proxy.examples.group))
    if patients < FEW_GROUPS:
        notes.append(
            f"intervals are resampled from {patients} patients or groups only: they are rough, and rather too narrow, "
            "so that a lead of more than noise may still be noise"
        )
    notes += [
        f"{shot}-shot is left out: a class has fewer tiles to train on in some fold"
        for shot in config.shots
        if not _has(proxy, few_shot_name(shot))
    ]
    tiles = len(collection)
    embedded = {one.name: one for one in proxy.trial.embedded}
    shares = proxy.scores.first_shares(ranked, config.rank_by)
    rows = []
    for rank, name in enumerate(ranked, start=1):
        robustness, said = _robustness(embedded[name], proxy, config, site)
        notes += [note for note in said if note not in notes]
        rows.append(_row(embedded[name], rank, ranked[0], proxy, config, shares, robustness, collection, tiles))
    rows += [_failed(one) for one in proxy.trial.failed]
    decisive = len(ranked) > 1 and above_zero(proxy.scores.difference(ranked[0], ranked[1], config.rank_by))
    return SelectionReport(
        task=proxy.examples.tasks[0],
        collection=collection.name,
        classes=proxy.examples.classes[0],
        tiles=len(proxy.examples),
        patients=patients,
        rank_by=config.rank_by,
        decisive=decisive,
        verdict=verdict(rows, config.rank_by),
        candidates=tuple(rows),
        collection_tiles=tiles,
        rank_checks=tuple(_check(proxy, other, config.rank_by) for other in others),
        notes=(*notes, *other_notes),
        config=as_record(config),
    )


def _has(tried: _Tried, name: str) -> bool:
    return all(name in outcomes for outcomes in tried.outcomes.values())


def _row(
    one: CandidateEmbeddings, rank: int, leader: str, proxy: _Tried, config: SelectConfig, shares: Mapping[str, float],
    robustness: Mapping[str, Metric], collection: Collection, tiles: int,
) -> CandidateReport:  # fmt: skip
    scores = {name: proxy.scores.metric(one.name, name) for name in proxy.outcomes[one.name]}
    area = auroc(proxy.outcomes[one.name]["linear"], proxy.examples, resamples=config.bootstrap, seed=config.seed)
    own = tiles * _times_as_many(collection, one)
    return CandidateReport(
        name=one.name,
        ref=one.config.ref,
        digest=one.digest,
        dim=one.dim,
        tile_px=one.tile_px,
        mpp=one.mpp,
        device=one.device,
        rank=rank,
        scores={**scores, "linear_auroc": area},
        behind=None if one.name == leader else proxy.scores.difference(leader, one.name, config.rank_by),
        first_share=shares.get(one.name),
        tiles_per_s=one.tiles_per_s,
        hours=own / one.tiles_per_s / 3600,
        gigabytes=2 * own * one.dim / GB,
        robustness=robustness,
    )


def _times_as_many(collection: Collection, one: CandidateEmbeddings) -> float:
    """How many tiles of a candidate's size cover what one tile of the collection adds; 1 where tiles are ready-made."""
    row = collection.tiles(columns=["name"], limit=1).to_pylist()
    if row and row[0]["name"] is not None:
        return 1.0
    tiling = TilingConfig(**collection.record()["tiling"])
    assert tiling.stride_px is not None, "it is the tile where it was left open"
    return (tiling.stride_px * tiling.mpp / (one.tile_px * one.mpp)) ** 2


def _robustness(
    one: CandidateEmbeddings, proxy: _Tried, config: SelectConfig, site: Mapping[str, int] | None
) -> tuple[dict[str, Metric], list[str]]:
    readable, examples = np.flatnonzero(proxy.trial.readable), proxy.examples
    vectors, group = one.vectors[readable], np.unique(examples.group, return_inverse=True)[1]
    drawn: dict[str, Any] = {"resamples": config.bootstrap, "seed": config.seed}
    found: dict[str, Metric] = {}
    notes: list[str] = []
    if site is None:
        notes.append("no robustness index: name a column of the slides that holds the site or scanner with --site")
    else:
        codes = np.array([site.get(slide, -1) for slide in proxy.slides])
        classes = examples.targets[0].argmax(axis=1)
        index, note = site_index(vectors, classes, codes, group, neighbours=config.neighbours, **drawn)
        notes += [note] if note else []
        if index is not None:
            found["site_index"] = index
    if one.changed:
        alive = proxy.trial.readable[proxy.changed_rows]
        at = np.searchsorted(readable, proxy.changed_rows[alive])
        found |= consistency(vectors, {name: of[alive] for name, of in one.changed.items()}, at, group, **drawn)
    return found, notes


def _failed(one: FailedCandidate) -> CandidateReport:
    return CandidateReport(name=one.name, ref=one.config.ref, error=one.error)


def _check(proxy: _Tried, other: _Tried, rank_by: str) -> RankCheck:
    both = [name for name in other.outcomes if name in proxy.outcomes]
    return RankCheck(
        task=other.examples.tasks[0],
        agreement=agreement(proxy.scores, other.scores, both, rank_by),
        scores={name: other.scores.metric(name, rank_by) for name in both},
        tiles=len(other.examples),
        patients=len(np.unique(other.examples.group)),
    )


def _site_codes(store: Store, config: SelectConfig) -> dict[str, int] | None:
    """Code of the site of each slide."""
    if config.site is None:
        return None
    slides = store.ledger.slides()
    columns = sorted({column for row in slides for column in row})
    if config.site not in columns:
        raise ConfigError(f"slides have no column {config.site!r} for --site; they have {', '.join(columns)}")
    values: dict[str, int] = {}
    return {
        row["slide_id"]: values.setdefault(str(row[config.site]), len(values))
        for row in slides
        if row.get(config.site) is not None
    }
