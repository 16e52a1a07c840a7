"""`select_extractor`: from candidates and a labelled proxy task to a ranking with its uncertainty."""

from collections.abc import Sequence
from dataclasses import replace

from embedstore.errors import CandidatesError, ConfigError, LabelError, SlideError, SplitError
from embedstore.extractors import ExtractorConfig
from embedstore.progress import OnProgress, no_progress
from embedstore.store import Collection, Store
from heads.config import SelectConfig
from heads.examples import Examples
from heads.select.build_report import build_report
from heads.select.candidates import PERTURBATIONS, CandidateRequest
from heads.select.robustness import site_codes
from heads.select.selection_report import SelectionReport
from heads.select.task_comparison import TaskComparison, compare_candidates, sample_task


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
    on_progress: OnProgress = no_progress,
) -> SelectionReport:
    """Compare candidates for an extractor on a sample of a task's labelled tiles, or slides.

    Nivaggioli et al. 2023 (arXiv 2303.05180) claim that the best extractor on a proxy task of the target domain is good
    on the domain's other tasks; `rank_check` tests that.

    Args:
        collection: Its tiles are sampled; its extractor need not be a candidate.
        task: The proxy task, which labels of the store are of.
        candidates: The extractors; one that cannot be loaded is reported as failed.
        rank_check: Further tasks, on which the same candidates are ranked; one whose tiles cannot be read gets a note.
        where: SQL over the slides' columns; only slides that it holds for.
        tile_px, mpp: Tiles for every candidate; its own when None, and in folders of ready-made tiles the collection's.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
    Raises:
        TaskNotFoundError, LabelError, SplitError: labels that cannot answer the task, or too few patients.
        CandidatesError: all candidates failed.
        ConfigError: no candidate, a task twice, or a site column that slides do not have.
    """
    if not candidates:
        raise ConfigError("no candidate was given; expected one extractor or more; `embedstore extractors` lists them")
    if len({task, *rank_check}) < 1 + len(rank_check):
        raise ConfigError(f"tasks to check the ranking on are {', '.join(rank_check)}; expected others than {task!r}")
    sites = None if config.site is None else site_codes(store, config.site)
    # All tasks are sampled before any candidate runs: errors in labels are raised before the work.
    check_config = replace(config, classes=None)  # classes that are named are the proxy's
    sample = sample_task(store, collection, task, config, where)
    check_samples = [sample_task(store, collection, other, check_config, where) for other in rank_check]

    request = CandidateRequest(
        candidates=candidates,
        tile_px=tile_px,
        mpp=mpp,
        device=device,
        perturbations=PERTURBATIONS if config.robust_tiles and config.level == "tile" else {},
    )
    proxy = compare_candidates(store, collection, sample, request, config, on_progress=on_progress)
    # Named as above: without the candidates that failed, other names would be given.
    embedded = [replace(candidate.config, name=candidate.name) for candidate in proxy.embeddings.embedded]
    check_request = replace(request, candidates=embedded, perturbations={})
    checks, notes = _compare_on_others(store, collection, check_samples, check_request, check_config, on_progress)
    return build_report(collection, config, proxy, checks, sites=sites, check_notes=notes)


def _compare_on_others(
    store: Store,
    collection: Collection,
    samples: Sequence[Examples],
    request: CandidateRequest,
    config: SelectConfig,
    on_progress: OnProgress,
) -> tuple[list[TaskComparison], list[str]]:
    """The comparisons on the tasks that check the ranking, and notes; what fails there keeps the proxy's results."""
    comparisons: list[TaskComparison] = []
    notes: list[str] = []
    for number, sample in enumerate(samples, start=1):
        task = sample.tasks[0]
        # A seed for each task: with one seed, resamples would pair patients of two tasks who are different people.
        task_config = replace(config, seed=config.seed + number)
        try:
            comparison = compare_candidates(
                store, collection, sample, request, task_config, on_progress=on_progress
            )  # fmt: skip
        except (CandidatesError, LabelError, SlideError, SplitError) as error:
            notes.append(f"the ranking is not checked on {task}: {error}")
            continue
        comparisons.append(comparison)
        notes += [f"{task}: {note}" for note in (*sample.notes, *comparison.embeddings.notes)]
        notes += [f"{task}: {failed.name} is not ranked: {failed.error}" for failed in comparison.embeddings.failed]
    return comparisons, notes
