"""From the comparison of candidates to the report: ranks, costs, robustness, notes and the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

import numpy as np

from embedstore.config import as_record
from embedstore.store import Collection
from heads.config import SelectConfig, few_shot_name
from heads.evaluation.bootstrap import MANY_GROUPS
from heads.evaluation.report import Metric
from heads.select.candidate_scores import auroc, rank_agreement
from heads.select.candidates import CandidateEmbeddings
from heads.select.robustness import consistency, site_index
from heads.select.selection_report import CandidateReport, RankCheck, SelectionReport, title_of
from heads.select.task_comparison import TaskComparison

GB = 1e9
#: How much less time a candidate must take to be named as the cheaper one: timings of a short run vary by a tenth.
CHEAPER = 1.2


def build_report(
    collection: Collection,
    config: SelectConfig,
    proxy: TaskComparison,
    checks: Sequence[TaskComparison],
    *,
    sites: Mapping[str, int] | None,
    check_notes: Sequence[str] = (),
) -> SelectionReport:
    """Rank the candidates by the proxy task.

    Args:
        collection: What embedding all of it would cost is reported.
        checks: The same candidates on further tasks.
        sites: Code of the site of each slide; None where no column names it.
        check_notes: Notes on the further tasks.
    """
    rank_by, scores = config.rank_by, proxy.scores
    by_name = {candidate.name: candidate for candidate in proxy.embeddings.embedded}
    ranked = scores.ranked(list(by_name), rank_by)
    leader, first_shares = ranked[0], scores.first_shares(ranked, rank_by)
    notes = _notes(proxy, config)
    tiles, stride_um = len(collection), _stride_um(collection)
    rows: list[CandidateReport] = []
    for rank, name in enumerate(ranked, start=1):
        candidate = by_name[name]
        robustness, robustness_notes = _robustness(candidate, proxy, config, sites)
        notes += [note for note in robustness_notes if note not in notes]
        # Tiles of the candidate's size that cover what the collection covers.
        all_tiles = tiles if stride_um is None else tiles * (stride_um / (candidate.tile_px * candidate.mpp)) ** 2
        rows.append(
            replace(
                _measured(candidate, proxy, config, all_tiles),
                rank=rank,
                behind=None if name == leader else scores.difference(leader, name, rank_by),
                first_share=first_shares.get(name),
                robustness=robustness,
            )
        )
    rows += [
        CandidateReport(name=failed.name, ref=failed.config.ref, error=failed.error)
        for failed in proxy.embeddings.failed
    ]
    return SelectionReport(
        task=proxy.task,
        collection=collection.name,
        classes=proxy.examples.classes[0],
        tiles=proxy.tiles,
        slides=len(proxy.examples) if config.level == "slide" else None,
        patients=proxy.patients,
        rank_by=rank_by,
        decisive=len(ranked) > 1 and above_zero(scores.difference(leader, ranked[1], rank_by)),
        verdict=verdict(rows, rank_by),
        candidates=tuple(rows),
        collection_tiles=tiles,
        rank_checks=tuple(_rank_check(proxy, check, rank_by) for check in checks),
        notes=(*notes, *check_notes),
        config=as_record(config),
    )


def verdict(rows: Sequence[CandidateReport], rank_by: str) -> str:
    """Which candidate leads, whether by more than noise, and which cheaper one cannot be told apart from it.

    A candidate that ranks behind one that is clearly worse than the leader is not called as good, however wide its
    interval.

    Args:
        rows: Best first; those that failed are ignored.
        rank_by: The probe that ranked them.
    """
    tried = [row for row in rows if row.error is None]
    leader = tried[0]
    text = f"{leader.name} leads by {title_of(rank_by)}: {leader.scores[rank_by]}"
    if len(tried) == 1:
        return f"{text}; it is the only candidate that could be tried"
    behind = tried[1].behind
    assert behind is not None
    text += f", {behind} ahead of {tried[1].name}"
    if behind.low is None:
        return f"{text}; without an interval, nobody can say whether that is more than noise"
    text += ", more than noise" if above_zero(behind) else ": NO MORE THAN NOISE"
    as_good = takewhile(lambda row: row.behind is not None and not above_zero(row.behind), tried[1:])
    cheapest = min(as_good, key=lambda row: row.hours or 0, default=None)
    if cheapest is not None and cheapest.hours and (leader.hours or 0) > CHEAPER * cheapest.hours:
        times = (leader.hours or 0) / cheapest.hours
        text += f"; {cheapest.name} cannot be told apart from it and is {times:.1f} times as fast over the collection"
    return text


def above_zero(difference: Metric) -> bool:
    """Whether the whole interval of a difference lies above 0."""
    return difference.low is not None and difference.low > 0


def _notes(proxy: TaskComparison, config: SelectConfig) -> list[str]:
    notes = [*proxy.examples.notes, *proxy.embeddings.notes]
    if proxy.patients < MANY_GROUPS:
        notes.append(
            f"intervals rest on at most {proxy.patients} patients or other groups: they are Student's t intervals, as "
            "wide as so few allow, and there is none where fewer than 3 have a class"
        )
    notes += [
        f"{shot}-shot is left out: a class has fewer {config.level}s to train on in some fold"
        for shot in config.shots
        if not all(few_shot_name(shot) in results for results in proxy.probes.values())
    ]
    return notes


def _measured(
    candidate: CandidateEmbeddings, proxy: TaskComparison, config: SelectConfig, all_tiles: float
) -> CandidateReport:
    """A candidate's scores and costs, of embedding `all_tiles`."""
    results = proxy.probes[candidate.name]
    area = auroc(results["linear"], proxy.examples, resamples=config.bootstrap, seed=config.seed)
    return CandidateReport(
        name=candidate.name,
        ref=candidate.config.ref,
        digest=candidate.digest,
        dim=candidate.dim,
        tile_px=candidate.tile_px,
        mpp=candidate.mpp,
        device=candidate.device,
        scores={**{probe: proxy.scores.metric(candidate.name, probe) for probe in results}, "linear_auroc": area},
        tiles_per_s=candidate.tiles_per_s,
        hours=all_tiles / candidate.tiles_per_s / 3600,
        gigabytes=2 * all_tiles * candidate.dim / GB,
    )


def _stride_um(collection: Collection) -> float | None:
    """Distance of neighbouring tiles of a collection, micrometres; None where tiles are ready-made images."""
    tile = collection.tiles(columns=["name"], limit=1).to_pylist()
    if tile and tile[0]["name"] is not None:
        return None
    tiling = collection.tiling()
    assert tiling.stride_px is not None, "it is the tile's edge where it was not given"
    return tiling.stride_px * tiling.mpp


def _robustness(
    candidate: CandidateEmbeddings, proxy: TaskComparison, config: SelectConfig, sites: Mapping[str, int] | None
) -> tuple[dict[str, Metric], list[str]]:
    """The site index and the consistency under perturbations, with notes."""
    readable, examples = proxy.embeddings.readable, proxy.examples
    rows = np.flatnonzero(readable)
    vectors, group = proxy.vectors[candidate.name], np.unique(examples.group, return_inverse=True)[1]
    metrics: dict[str, Metric] = {}
    notes: list[str] = []
    if sites is None:
        notes.append("no robustness index: name a column of the slides that holds the site or scanner with --site")
    else:
        index, note = site_index(
            vectors, examples.targets[0].argmax(axis=1), np.array([sites.get(slide, -1) for slide in proxy.slide_ids]),
            group, neighbours=config.neighbours, resamples=config.bootstrap, seed=config.seed,
        )  # fmt: skip
        notes += [note] if note else []
        if index is not None:
            metrics["site_index"] = index
    if candidate.perturbed:
        kept = readable[proxy.perturbed_rows]
        metrics |= consistency(
            vectors, {name: perturbed[kept] for name, perturbed in candidate.perturbed.items()},
            np.searchsorted(rows, proxy.perturbed_rows[kept]), group, resamples=config.bootstrap, seed=config.seed,
        )  # fmt: skip
    return metrics, notes


def _rank_check(proxy: TaskComparison, other: TaskComparison, rank_by: str) -> RankCheck:
    """Candidates that ran on both tasks."""
    names = [name for name in other.probes if name in proxy.probes]
    return RankCheck(
        task=other.task,
        agreement=rank_agreement(proxy.scores, other.scores, names, rank_by),
        scores={name: other.scores.metric(name, rank_by) for name in names},
        tiles=other.tiles,
        patients=other.patients,
    )
