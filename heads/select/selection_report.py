"""The result of comparing extractors: a row for each candidate, the verdict, and whether other tasks agree."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from heads.evaluation.report import Metric

#: Titles of scores in reports.
TITLES = {
    "linear": "linear", "linear_auroc": "linear, AUROC", "knn": "k-NN", "nearest_mean": "nearest mean",
    "site_index": "site index", "stain": "stain", "blur": "blur", "jpeg": "JPEG", "rotation": "rotation",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CandidateReport:
    """One candidate.

    Attributes:
        name: Unique in the report.
        ref: As it was requested.
        digest, dim, tile_px, mpp, device: Digest and vector length of the extractor, its tiles, and where it ran.
        error: Why it could not be tried; everything below is empty then.
        rank: 1 is the best.
        scores: Balanced accuracy by probe, and `linear_auroc`.
        behind: The leader's score less its own, paired by patient; None of the leader.
        first_share: Share of the resamples in which it comes first.
        tiles_per_s: Speed of embedding alone, on `device`.
        hours, gigabytes: Time to embed the whole collection at that speed, and the size of its vectors.
        robustness: `site_index`; and for each perturbation how near a tile's vector stays (`stain`, …), and how often
            it still finds its own tile (`stain_found`, …).
    """

    name: str
    ref: str
    digest: str = ""
    dim: int | None = None
    tile_px: int | None = None
    mpp: float | None = None
    device: str = ""
    error: str | None = None
    rank: int | None = None
    scores: Mapping[str, Metric] = field(default_factory=dict)
    behind: Metric | None = None
    first_share: float | None = None
    tiles_per_s: float | None = None
    hours: float | None = None
    gigabytes: float | None = None
    robustness: Mapping[str, Metric] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RankAgreement:
    """How alike two tasks rank the same candidates.

    Attributes:
        tau: Kendall's τ-b of their scores: 1 in the same order, 0 no more alike than chance; None of fewer than two.
        p: How often candidates in a random order agree as much, or disagree as much; exact where no scores are tied.
        low, high: Range of 95 % of τ when the patients of both tasks are resampled. It is no confidence interval:
            resampling adds noise to scores that have some already, so it lies nearer to 0.
    """

    tau: float | None
    p: float | None = None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """'0.667 (p = 0.33; 0.333 to 1.000 where patients are resampled)', shorter, or 'undefined'."""
        if self.tau is None or self.p is None:
            return "undefined"
        if self.low is None or self.high is None:
            return f"{self.tau:.3f} (p = {self.p:.2g})"
        return f"{self.tau:.3f} (p = {self.p:.2g}; {self.low:.3f} to {self.high:.3f} where patients are resampled)"


@dataclass(frozen=True, kw_only=True)
class RankCheck:
    """Whether another task ranks the candidates as the proxy does.

    Attributes:
        task: The other task.
        agreement: Of the two rankings.
        scores: Of each candidate on the other task, by the probe that ranks.
        tiles, patients: What these were measured on.
    """

    task: str
    agreement: RankAgreement
    scores: Mapping[str, Metric]
    tiles: int
    patients: int


@dataclass(frozen=True, kw_only=True)
class SelectionReport:
    """The result of `select_extractor`.

    Attributes:
        task, collection, classes: The proxy task, the collection that was sampled, and the task's classes.
        tiles, patients: Counts of the sample.
        slides: Slides that were compared, of whose tiles these are; None where tiles were.
        rank_by: The probe that ranks.
        decisive: Whether the leader's lead over the second is more than noise.
        verdict: The result in a sentence or two.
        candidates: Best first; those that failed last.
        collection_tiles: Tiles of the whole collection, as its own tiling cuts them.
        rank_checks: The ranking on other tasks.
        notes: What the user should know.
        config: The configuration, as it is recorded.
    """

    task: str
    collection: str
    classes: tuple[str, ...]
    tiles: int
    patients: int
    rank_by: str
    decisive: bool
    verdict: str
    candidates: tuple[CandidateReport, ...]
    collection_tiles: int
    slides: int | None = None
    rank_checks: tuple[RankCheck, ...] = ()
    notes: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sample(self) -> str:
        """'2,000 labelled tiles of 20 patients'."""
        what = f"{self.tiles:,} labelled tiles" if self.slides is None else f"{self.slides:,} labelled slides"
        by = "" if self.slides is None else f", by {self.tiles:,} tiles"
        return f"{what} of {self.patients:,} patients{by}"

    def as_record(self) -> dict[str, Any]:
        """The report as JSON values; `from_record` takes them back."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "SelectionReport":
        """Parse what `as_record` gave, before or after a round trip through JSON."""
        return cls(
            **{
                **record,
                "classes": tuple(record["classes"]),
                "notes": tuple(record["notes"]),
                "candidates": tuple(_candidate(row) for row in record["candidates"]),
                "rank_checks": tuple(_rank_check(check) for check in record["rank_checks"]),
            }
        )

    @property
    def tried(self) -> tuple[CandidateReport, ...]:
        """Candidates that have scores, best first."""
        return tuple(row for row in self.candidates if row.error is None)

    @property
    def failed(self) -> tuple[CandidateReport, ...]:
        """Candidates that could not be tried."""
        return tuple(row for row in self.candidates if row.error is not None)


def title_of(name: str) -> str:
    """The title of a score in reports; its name where it has none."""
    return TITLES.get(name, name)


def _candidate(record: Mapping[str, Any]) -> CandidateReport:
    behind = record["behind"]
    metrics = {name: _metrics(record[name]) for name in ("scores", "robustness")}
    return CandidateReport(**{**record, **metrics, "behind": behind and Metric(**behind)})


def _metrics(record: Mapping[str, Any]) -> dict[str, Metric]:
    return {name: Metric(**metric) for name, metric in record.items()}


def _rank_check(record: Mapping[str, Any]) -> RankCheck:
    agreement = RankAgreement(**record["agreement"])
    return RankCheck(**{**record, "agreement": agreement, "scores": _metrics(record["scores"])})
