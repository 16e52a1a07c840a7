"""What is stored of a head beside its parameters: its configuration, data, split, selection and metrics."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from embedstore.config import ViewConfig, as_record
from embedstore.encoding_record import EncoderRef
from embedstore.extractor_ref import ExtractorRef
from embedstore.store.schema import FORMAT_VERSION
from heads.config import FitConfig
from heads.evaluation.report import Report
from heads.splitting.splits import FoldCounts


@dataclass(frozen=True, kw_only=True)
class ViewsUsed:
    """Stored views that a head was fitted with.

    Attributes:
        config: How they were made.
        tiles: Examples that have them.
    """

    config: ViewConfig
    tiles: int

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "ViewsUsed":
        return cls(config=ViewConfig(**{k: v for k, v in record.items() if k != "tiles"}), tiles=record["tiles"])

    def as_record(self) -> dict[str, Any]:
        return {**as_record(self.config), "tiles": self.tiles}

    def __str__(self) -> str:
        return f"{self.config.count} views of {self.tiles:,} tiles"


@dataclass(frozen=True, kw_only=True)
class AugmenterUsed:
    """The latent augmenter that a head was fitted with."""

    name: str
    digest: str

    def __str__(self) -> str:
        return f"augmenter {self.name} {self.digest}"


@dataclass(frozen=True, kw_only=True)
class WordsUsed:
    """The words that a zero-shot head was made of.

    Attributes:
        classes: The prompts of each class.
        templates: Sentences that each prompt was put into, at {}.
        text_digest: Digest of the text tower that embedded them.
        logit_scale: What cosines are multiplied by.
    """

    classes: Mapping[str, tuple[str, ...]]
    templates: tuple[str, ...]
    text_digest: str
    logit_scale: float

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "WordsUsed":
        classes = {name: tuple(prompts) for name, prompts in record["classes"].items()}
        return cls(**{**record, "classes": classes, "templates": tuple(record["templates"])})

    def as_record(self) -> dict[str, Any]:
        classes = {name: list(prompts) for name, prompts in self.classes.items()}
        return {**asdict(self), "classes": classes, "templates": list(self.templates)}


@dataclass(frozen=True, kw_only=True)
class CellScore:
    """A combination of hyper-parameters and its mean validation score; smaller is better.

    Attributes:
        parameters: By name; among them `augment`, if there are several policies of augmentation.
        chosen: Whether these are the head's.
    """

    parameters: Mapping[str, float | str]
    score: float
    chosen: bool

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "CellScore":
        parameters = {name: value for name, value in record.items() if name not in ("score", "chosen")}
        return cls(parameters=parameters, score=record["score"], chosen=record["chosen"])

    def as_record(self) -> dict[str, Any]:
        return {**self.parameters, "score": self.score, "chosen": self.chosen}


@dataclass(frozen=True, kw_only=True)
class PolicyScore:
    """A policy of augmentation on the validation examples, under its best hyper-parameters.

    Attributes:
        policy: The policy, as `--augment` takes it.
        brier: Brier score of the calibrated heads; smaller is better.
        gain: By how much that is less than under no augmentation.
        error: Standard error of the gain, over patients; None where there is one patient.
    """

    policy: str
    brier: float
    gain: float
    error: float | None

    def __str__(self) -> str:
        """'0.1160 with views=0.8, a gain of -0.0005 ± 0.0018'."""
        error = "" if self.error is None else f" ± {self.error:.4f}"
        return f"{self.brier:.4f} with {self.policy}, a gain of {self.gain:.4f}{error}"


@dataclass(frozen=True, kw_only=True)
class PolicyChoice:
    """Why a head's augmentation was chosen; see `heads.augmentation.choice`.

    Attributes:
        chosen: The policy, as `--augment` takes it.
        margin: Standard errors of its gain over none that a policy had to have.
        groups: Patients of the validation examples.
        tried: Every policy; none where there are no validation examples.
    """

    chosen: str
    margin: float
    groups: int
    tried: tuple[PolicyScore, ...]

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "PolicyChoice":
        return cls(**{**record, "tried": tuple(PolicyScore(**one) for one in record["tried"])})

    def __str__(self) -> str:
        """'none, by validation Brier scores: 0.1155 with none; 0.1160 with views=0.8, a gain of …'."""
        if not self.tried:
            return f"{self.chosen}, as there is no validation example to compare policies on"
        none = next(one for one in self.tried if one.policy == "none")
        others = "; ".join(str(one) for one in self.tried if one is not none)
        return (
            f"{self.chosen}, by validation Brier scores: {none.brier:.4f} with none; {others}; it has to be more than "
            f"{self.margin:g} standard errors over {self.groups:,} groups"
        )


@dataclass(frozen=True, kw_only=True)
class MemberRecord:
    """A network of a head's ensemble.

    Attributes:
        fold: Name of the fold that it was fitted on.
        best_step: The step whose parameters were kept.
        score: Its validation score; smaller is better.
        temperature: What its logits are divided by.
    """

    fold: str
    seed: int
    best_step: int
    score: float
    temperature: float


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadRecord:
    """The record of a stored head.

    Attributes:
        embedstore: The version of embedstore that fitted it.
        tasks: All tasks of the fit, which share examples, split and batches.
        task_index: Index of the head's own task.
        task_classes: Classes of each task.
        classes, multi_label, positive: Those of the head's own task.
        thresholds: Threshold of each class; see `heads.evaluation.calibration.decide`.
        collection_version: Version of the table whose vectors it was fitted on.
        extractor: The extractor of these vectors.
        config: The configuration with its augmentation resolved.
        views, augmenter: What augmented the vectors, if anything.
        encoder: What made the vectors of slides from those of tiles; None where it was fitted on tiles.
        where: SQL that chose the slides; all when None.
        optimizer, device: What it was fitted by and on.
        examples, tiles, groups: Numbers of examples that the head's own task labels, of their tiles, and of groups
            (patients).
        fold_names, fold_counts: The split, and how many of these examples are in each part.
        selection: Hyper-parameters that were tried.
        augmentation: Why its augmentation was chosen, where the fit decided between none and others.
        members: Its networks.
        report: Its metrics on the test parts.
        notes: What the user should know.
        seconds: Duration of each stage.
        words: What it was made of, where nothing was fitted.
    """

    embedstore: str
    tasks: tuple[str, ...]
    task_index: int
    task_classes: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    multi_label: bool
    positive: str | None
    thresholds: Mapping[str, float]
    collection_version: int
    extractor: ExtractorRef
    config: FitConfig
    views: ViewsUsed | None
    augmenter: AugmenterUsed | None
    where: str | None
    optimizer: str
    device: str
    examples: int
    tiles: int
    groups: int
    fold_names: tuple[str, ...]
    fold_counts: tuple[FoldCounts, ...]
    selection: tuple[CellScore, ...]
    members: tuple[MemberRecord, ...]
    report: Report
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    augmentation: PolicyChoice | None = None
    words: WordsUsed | None = None
    encoder: EncoderRef | None = None

    @property
    def chosen(self) -> CellScore:
        """The hyper-parameters of the head."""
        return next(cell for cell in self.selection if cell.chosen)

    def as_record(self) -> dict[str, Any]:
        """Plain values, as JSON has them; `from_record` takes them back."""
        used = {
            "views": self.views and self.views.as_record(),
            "augmenter": self.augmenter and asdict(self.augmenter),
            "augmentation": self.augmentation and asdict(self.augmentation),
            "words": self.words and self.words.as_record(),
            "encoder": self.encoder and self.encoder.as_record(),
        }
        return {
            "format": FORMAT_VERSION,
            "embedstore": self.embedstore,
            "tasks": list(self.tasks),
            "task_index": self.task_index,
            "task_classes": [list(names) for names in self.task_classes],
            "classes": list(self.classes),
            "multi_label": self.multi_label,
            "positive": self.positive,
            "thresholds": dict(self.thresholds),
            "collection_version": self.collection_version,
            "extractor": self.extractor.as_record(),
            "config": as_record(self.config),
            **{name: value for name, value in used.items() if value is not None},
            "where": self.where,
            "optimizer": self.optimizer,
            "device": self.device,
            "examples": self.examples,
            "tiles": self.tiles,
            "groups": self.groups,
            "split": {"names": list(self.fold_names), "counts": [asdict(counts) for counts in self.fold_counts]},
            "selection": [cell.as_record() for cell in self.selection],
            "members": [asdict(member) for member in self.members],
            "report": self.report.as_record(),
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "HeadRecord":
        """A record from what `as_record` gave, after a round trip through JSON or not."""
        views, augmenter, choice = record.get("views"), record.get("augmenter"), record.get("augmentation")
        words = record.get("words")
        encoder = record.get("encoder")
        return cls(
            embedstore=record["embedstore"],
            tasks=tuple(record["tasks"]),
            task_index=record["task_index"],
            task_classes=tuple(tuple(names) for names in record["task_classes"]),
            classes=tuple(record["classes"]),
            multi_label=record["multi_label"],
            positive=record["positive"],
            thresholds=dict(record["thresholds"]),
            collection_version=record["collection_version"],
            extractor=ExtractorRef.from_record(record["extractor"]),
            config=FitConfig.from_record(record["config"]),
            views=None if views is None else ViewsUsed.from_record(views),
            augmenter=None if augmenter is None else AugmenterUsed(**augmenter),
            augmentation=None if choice is None else PolicyChoice.from_record(choice),
            encoder=None if encoder is None else EncoderRef.from_record(encoder),
            where=record["where"],
            optimizer=record["optimizer"],
            device=record["device"],
            examples=record["examples"],
            tiles=record["tiles"],
            groups=record["groups"],
            fold_names=tuple(record["split"]["names"]),
            fold_counts=tuple(FoldCounts.from_record(counts) for counts in record["split"]["counts"]),
            selection=tuple(CellScore.from_record(cell) for cell in record["selection"]),
            members=tuple(MemberRecord(**member) for member in record["members"]),
            report=Report.from_record(record["report"]),
            notes=tuple(record["notes"]),
            seconds=dict(record["seconds"]),
            words=None if words is None else WordsUsed.from_record(words),
        )
