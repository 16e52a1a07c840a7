"""Candidates on one task: a sample of its labelled tiles, their embeddings, the probes, and the scores."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import LabelError, SplitError
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.store import Collection, Store, TileLocation
from embedstore.temporary_folder import temporary_folder
from heads.config import SelectConfig, few_shot_name
from heads.examples import Examples, gather_examples
from heads.select.candidate_scores import CandidateScores, score_candidates
from heads.select.candidates import CandidateRequest, SampleEmbeddings, embed_sample
from heads.select.probes import ProbeResult, draw_shots, run_probes
from heads.select.sample import sample_rows
from heads.select.slide_vectors import require_tiles, slide_vectors


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskComparison:
    """The sample of one task through every candidate and every probe.

    Attributes:
        examples: The tiles of the sample that could be read; at the level of slides, the slides of which some could.
        slide_ids: The slide of each of them.
        embeddings: Embeddings of the whole sample of tiles.
        vectors: By candidate, the vectors (n, dim) of the examples.
        tiles: How many tiles they rest on.
        probes: Results by candidate and probe.
        scores: Scores of these results.
        perturbed_rows: Positions in the whole sample of the tiles that were perturbed.
    """

    examples: Examples
    slide_ids: tuple[str, ...]
    embeddings: SampleEmbeddings
    vectors: Mapping[str, NDArray[np.floating]]
    tiles: int
    probes: Mapping[str, Mapping[str, ProbeResult]]
    scores: CandidateScores
    perturbed_rows: NDArray[np.intp]

    @property
    def task(self) -> str:
        return self.examples.tasks[0]

    @property
    def patients(self) -> int:
        return len(np.unique(self.examples.group))


def sample_task(store: Store, collection: Collection, task: str, config: SelectConfig, where: str | None) -> Examples:
    """Sample the labelled tiles of a task; no pixel is read.

    Raises:
        TaskNotFoundError, LabelError, SplitError: labels that cannot answer the task, or too few patients.
    """
    try:
        examples = gather_examples(store, collection, [task], config.fit(), where)
    except SplitError as error:  # it names patients and folds only, and there may be several tasks
        raise SplitError(f"task {task!r}: {error}") from error
    sample = examples.take(sample_rows(examples, config.tiles, seed=config.seed))
    if config.level == "slide":
        sample = replace(sample, bags=sample.bags.thinned(config.slide_tiles, seed=config.seed))
        require_tiles(sample.bags, config.encoder)
    _require_shots(sample, config)
    return sample


def compare_candidates(
    store: Store,
    collection: Collection,
    sample: Examples,
    request: CandidateRequest,
    config: SelectConfig,
    *,
    on_progress: OnProgress = no_progress,
) -> TaskComparison:
    """Embed the sample of a task with every candidate, run the probes on the embeddings, and score them.

    Raises:
        CandidatesError: all candidates failed.
        SlideError: not one tile of the sample can be read.
        LabelError, SplitError: the tiles that can be read are of one class or one patient.
    """
    task, patients = sample.tasks[0], len(np.unique(sample.group))
    rows = collection.dataset(sample.version).take(sample.bags.rows.tolist(), columns=list(TileLocation._fields))
    tiles = TileLocation.from_table(rows)
    perturbed_rows = np.empty(0, np.intp)
    if request.perturbations and config.level == "tile":
        shuffled = np.random.default_rng(config.seed).permutation(len(tiles))
        perturbed_rows = np.sort(shuffled[: config.robust_tiles])
    on_progress(Progress(stage="sample", message=f"{task}: {len(tiles):,} tiles of {patients:,} patients"))
    with temporary_folder("select") as scratch:
        embeddings = embed_sample(
            store, collection, tiles, request, perturbed_rows=perturbed_rows, scratch=scratch,
            on_progress=on_progress,
        )  # fmt: skip
    bags = sample.bags.where(embeddings.readable)
    readable = np.flatnonzero(bags.sizes)
    examples = replace(sample, bags=bags).take(readable)
    vectors = {
        candidate.name: candidate.vectors[readable]
        if config.level == "tile"
        else slide_vectors(candidate.vectors[embeddings.readable], examples.bags, config.encoder, seed=config.seed)
        for candidate in embeddings.embedded
    }
    _require_comparable(examples)
    _require_shots(examples, config)
    probes = {}
    for done, candidate in enumerate(embeddings.embedded):
        on_progress(
            Progress(
                stage="probe", message=f"{candidate.name}: probes", done=done, total=len(embeddings.embedded),
                unit="candidates",
            )
        )  # fmt: skip
        probes[candidate.name] = run_probes(vectors[candidate.name], examples, config)
    return TaskComparison(
        examples=examples,
        slide_ids=tuple(tiles[i].slide_id for i in sample.bags.start[readable]),
        vectors=vectors,
        tiles=len(examples.bags.rows),
        embeddings=embeddings,
        probes=probes,
        scores=score_candidates(probes, examples, resamples=config.bootstrap, seed=config.seed),
        perturbed_rows=perturbed_rows,
    )


def _require_comparable(examples: Examples) -> None:
    """Raise where tiles that could not be read leave nothing to compare on."""
    if len(examples) < 2 or len(np.unique(examples.targets[0].argmax(axis=1))) < 2:
        raise LabelError(
            f"task {examples.tasks[0]!r}: only {len(examples):,} tiles of the sample could be read, of one class at "
            "most; expected two classes; bring the slides back to where they were ingested from"
        )
    if len(np.unique(examples.group)) < 2:
        raise SplitError(
            f"task {examples.tasks[0]!r}: the tiles that could be read are of one patient; expected two or more; bring "
            "the slides back to where they were ingested from"
        )


def _require_shots(examples: Examples, config: SelectConfig) -> None:
    """Raise where a class has too few examples for the few-shot probe that decides the ranking."""
    shot = {few_shot_name(shot): shot for shot in config.shots}.get(config.rank_by)
    if shot is not None and draw_shots(examples, shot, 1, seed=config.seed) is None:
        raise LabelError(
            f"task {examples.tasks[0]!r} has a class of fewer than {shot} tiles to train on in some fold; rank by "
            f"'linear' instead of {config.rank_by!r}, or label more"
        )
