"""The result of evaluating a head on a cohort: metrics, comparison, calibration and what was left out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from embedstore.extractor_ref import ExtractorRef
from embedstore.result_table import card
from heads.cohorts.comparison import Comparison, compared, share_note, verdict
from heads.evaluation.report import METRIC_NAMES, Report

#: Of the record; a reader refuses none, as fields are only added.
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class SeenExamples:
    """Examples of a cohort that are of what the head was fitted on.

    Attributes:
        examples: How many.
        patients: Of how many patients, or slides where no patient is known.
        kept: Whether they count nevertheless.
    """

    examples: int = 0
    patients: int = 0
    kept: bool = False


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Whether probabilities of a class come true.

    Attributes:
        name: The class; 'decision', the most probable class, in a task of three or more.
        mean_probability: Mean over all examples.
        frequency: Share of the examples that are of the class, or decided rightly.
    """

    name: str
    mean_probability: float
    frequency: float

    def __str__(self) -> str:
        """'tumour: 0.412 predicted on average, 0.356 came true'."""
        return f"{self.name}: {self.mean_probability:.3f} predicted on average, {self.frequency:.3f} came true"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CohortEvaluation:
    """How a head does on a cohort.

    Attributes:
        embedstore: The version of embedstore that evaluated it.
        head, digest, task, model, level: The head.
        extractor: Of the vectors that it was fitted on.
        store, collection, version: Where the vectors and labels are that it was evaluated on.
        by, cohort: The column and its value that make the cohort; None where all slides do.
        where: SQL that chose the slides; all when None.
        labels_task: The task of the labels.
        same_extractor: What was taken for the head's extractor though the digest is another; None where it is the same.
        thresholds: Of each class, as they are stored with the head.
        temperatures: Of each of its networks, as they are stored.
        own: Metrics on the head's own test parts.
        class_map: Classes that the labels name otherwise than the head.
        left_out: Classes of the labels that do not count.
        seen: Examples that the head was fitted on.
        report: Metrics on the cohort; None where it cannot be evaluated, for a `reason`.
        notes: What the user should know.
    """

    embedstore: str
    head: str
    digest: str
    task: str
    model: str
    level: str
    extractor: ExtractorRef
    store: str
    collection: str
    version: int
    by: str | None
    cohort: str | None
    where: str | None
    labels_task: str
    same_extractor: ExtractorRef | None
    thresholds: Mapping[str, float]
    temperatures: tuple[float, ...]
    own: Report
    class_map: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    seen: SeenExamples = SeenExamples()
    report: Report | None = None
    reason: str | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{self.head} on {self.cohort_name}: {self.verdict}>"

    def _repr_html_(self) -> str:
        """A card as notebooks show it: the description, each metric beside that of the test parts, and the verdict."""
        facts = {
            METRIC_NAMES.get(each.name, each.name): f"{each.here}; test parts {each.own}" for each in self.comparison
        }
        return card(f"{self.head} on {self.cohort_name}", {"": self.description, **facts, "verdict": self.verdict})

    @property
    def cohort_name(self) -> str:
        """'site=A', or what else the slides were chosen by."""
        if self.by is not None:
            return f"{self.by}={self.cohort}"
        return f"slides of {self.collection}" + (f" where {self.where}" if self.where else "")

    @property
    def description(self) -> str:
        """Head, collection, examples, and what was left out, in a line."""
        seen = ""
        if self.seen.examples:
            what = "counted" if self.seen.kept else "left out"
            seen = (
                f"; {what}: {self.seen.examples:,} {self.level}s of {self.seen.patients:,} patients or slides that it "
                "was fitted on"
            )
        return (
            f"{self.model} head for {self.task!r} on {self.collection}; {self.examples:,} {self.level}s of "
            f"{self.patients:,} patients{seen}"
        )

    @property
    def examples(self) -> int:
        return 0 if self.report is None else self.report.rows

    @property
    def patients(self) -> int:
        """Patients, or slides where no patient is known: intervals rest on them."""
        return 0 if self.report is None else self.report.groups

    @cached_property
    def comparison(self) -> tuple[Comparison, ...]:
        """Metrics here, on the head's test parts, and their difference."""
        return () if self.report is None else compared(self.report.metrics, self.own.metrics)

    @property
    def verdict(self) -> str:
        """What the comparison says, in a sentence."""
        return f"cannot be evaluated: {self.reason}" if self.report is None else verdict(self.comparison)

    @property
    def calibration(self) -> tuple[Calibration, ...]:
        """How far probabilities and frequencies are apart over all, beside the calibration error, which is by bins."""
        if self.report is None:
            return ()
        found = []
        for name, bins in self.report.reliability.items():
            rows = sum(bins.count)
            means = (
                sum(n * value for n, value in zip(bins.count, values, strict=True)) / rows
                for values in (bins.confidence, bins.frequency)
            )
            found.append(Calibration(name=name, mean_probability=next(means), frequency=next(means)))
        return tuple(found)

    @property
    def all_notes(self) -> tuple[str, ...]:
        """Notes on examples, labels, shares of classes, and intervals."""
        if self.report is None:
            return self.notes
        shares = share_note(self.report, self.own)
        return (*self.notes, *([shares] if shares else []), *self.report.notes)

    def as_record(self) -> dict[str, Any]:
        """Plain values, as JSON has them; `from_record` takes them back."""
        names = (
            "embedstore", "head", "digest", "task", "model", "level", "store", "collection", "version", "by", "cohort",
            "where", "labels_task", "reason",
        )  # fmt: skip
        return {
            "format": FORMAT,
            **{name: getattr(self, name) for name in names},
            "verdict": self.verdict,
            "extractor": self.extractor.as_record(),
            "class_map": dict(self.class_map),
            "left_out": list(self.left_out),
            "same_extractor": self.same_extractor and self.same_extractor.as_record(),
            "thresholds": dict(self.thresholds),
            "temperatures": list(self.temperatures),
            "seen": asdict(self.seen),
            "report": self.report and self.report.as_record(),
            "own": self.own.as_record(),
            "comparison": [
                {
                    "metric": each.name,
                    "here": asdict(each.here),
                    "own": asdict(each.own),
                    "difference": each.difference and asdict(each.difference),
                    "meaning": each.meaning,
                }
                for each in self.comparison
            ],
            "calibration": [asdict(each) for each in self.calibration],
            "notes": list(self.notes),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "CohortEvaluation":
        """An evaluation from what `as_record` gave, after a round trip through JSON or not."""
        derived = ("format", "verdict", "comparison", "calibration")
        taken = record["same_extractor"]
        return cls(
            **{name: value for name, value in record.items() if name not in derived}
            | {
                "extractor": ExtractorRef.from_record(record["extractor"]),
                "same_extractor": None if taken is None else ExtractorRef.from_record(taken),
                "left_out": tuple(record["left_out"]),
                "temperatures": tuple(record["temperatures"]),
                "seen": SeenExamples(**record["seen"]),
                "report": None if record["report"] is None else Report.from_record(record["report"]),
                "own": Report.from_record(record["own"]),
                "notes": tuple(record["notes"]),
            }
        )
