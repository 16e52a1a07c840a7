"""What comparing extractors found: each candidate's row, the verdict, and whether other tasks agree."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from heads.evaluation.report import Metric

#: Scores that are not those of a probe of `SelectConfig`, and what they are called for people.
TITLES = {
    "linear": "linear", "linear_auroc": "linear, AUROC", "knn": "k-NN", "nearest_mean": "nearest mean",
    "site_index": "site index", "stain": "stain", "blur": "blur", "jpeg": "JPEG", "rotation": "rotation",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CandidateReport:
    """One candidate.

    Attributes:
        name: As the report calls it.
        ref: As it was asked for.
        digest, dim, tile_px, mpp, device: What it is, the tiles it was given, and where it ran.
        error: Why it could not be tried; everything else is empty then.
        rank: 1 is the best.
        scores: Balanced accuracy by probe, and `linear_auroc`.
        behind: The leader's score less its own, paired by patient; None of the leader.
        first_share: Share of the resamples in which it comes first.
        tiles_per_s: Of embedding alone, on `device`.
        hours, gigabytes: Embedding the user's whole collection at that speed, and its vectors.
        robustness: `site_index`; and of each change of a tile how near its vector stays (`stain`, …), and how often it
            still finds its own tile (`stain_found`, …).
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
class Agreement:
    """How alike two tasks rank the same candidates.

    Attributes:
        tau: Kendall's τ-b of their scores: 1 in the same order, 0 no more alike than chance; None of fewer than two.
        p: How often candidates in a random order agree as much, or disagree as much; exact where no scores are tied.
        low, high: Where 95 % of τ lie when patients of both tasks are drawn anew. That adds noise to scores that have
            some already, and so lies nearer 0 than a confidence interval would; it is none.
    """

    tau: float | None
    p: float | None = None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """'0.667 (p = 0.33; 0.333 to 1.000 where patients are drawn anew)', shorter, or 'undefined'."""
        if self.tau is None or self.p is None:
            return "undefined"
        if self.low is None or self.high is None:
            return f"{self.tau:.3f} (p = {self.p:.2g})"
        return f"{self.tau:.3f} (p = {self.p:.2g}; {self.low:.3f} to {self.high:.3f} where patients are drawn anew)"


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
    agreement: Agreement
    scores: Mapping[str, Metric]
    tiles: int
    patients: int


@dataclass(frozen=True, kw_only=True)
class SelectionReport:
    """The whole of it.

    Attributes:
        task, collection, classes: The proxy, and whose tiles were looked at.
        tiles, patients: Of the sample.
        rank_by: The probe that ranks.
        decisive: The leader's lead over the second is more than noise.
        verdict: For people, a sentence or two.
        candidates: Best first; those that could not be tried last.
        collection_tiles: Tiles of the whole collection, as its own tiling cuts them.
        rank_checks: Other tasks.
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
    rank_checks: tuple[RankCheck, ...] = ()
    notes: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """Plain values, as JSON has them; `from_record` takes them back."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "SelectionReport":
        """A report from what `as_record` gave, after a way through JSON or not."""
        return cls(
            **{
                **record,
                "classes": tuple(record["classes"]),
                "notes": tuple(record["notes"]),
                "candidates": tuple(_candidate(one) for one in record["candidates"]),
                "rank_checks": tuple(
                    RankCheck(**{**one, "agreement": Agreement(**one["agreement"]), "scores": _metrics(one["scores"])})
                    for one in record["rank_checks"]
                ),
            }
        )

    @property
    def tried(self) -> tuple[CandidateReport, ...]:
        """Candidates that have scores, best first."""
        return tuple(one for one in self.candidates if one.error is None)

    @property
    def failed(self) -> tuple[CandidateReport, ...]:
        return tuple(one for one in self.candidates if one.error is not None)


def title_of(name: str) -> str:
    """What a score is called for people."""
    return TITLES.get(name, name)


def _candidate(record: Mapping[str, Any]) -> CandidateReport:
    behind = record["behind"]
    metrics = {name: _metrics(record[name]) for name in ("scores", "robustness")}
    return CandidateReport(**{**record, **metrics, "behind": behind and Metric(**behind)})


def _metrics(record: Mapping[str, Any]) -> dict[str, Metric]:
    return {name: Metric(**metric) for name, metric in record.items()}
