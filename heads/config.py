"""Settings of fitting heads and augmenters and of choosing an extractor, checked where they are made.

The text of a field under `Attributes:` is also the help of its flag; text that ends with "; X when None." tells what
the default is.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from embedstore.config import JoinConfig, Settings, require
from embedstore.encoder_config import BuiltinEncoder

Model = Literal["linear", "mlp", "mean", "max", "abmil"]
#: Models that look at one tile; the others look at all tiles of a slide or patient.
TILE_MODELS = ("linear", "mlp")
#: Most tiles of one proposal.
MOST_SUGGESTED = 500
#: Most tiles of one list of mistakes.
MOST_MISTAKES = 10_000
#: Models that L-BFGS fits: they are linear in what it optimises.
LBFGS_MODELS = ("linear", "mean", "max")
#: The model of a head that is made of words.
ZERO_SHOT = "zero-shot"


@dataclass(frozen=True, kw_only=True)
class SplitConfig(Settings):
    """How patients are divided into those to train on, to validate on and to test on.

    Attributes:
        kind: How patients are divided: `kfold`; `holdout`; `given`, the split that came with the labels; `column`, one
            fold for each value of a column, such as a site; `file`, a CSV.
        folds: With `kfold`, the number of folds, at least 3: fold i is tested on while fold i + 1 is validated on; 5
            or, with fewer patients, their number when None.
        valid_share: Share of the tiles to validate on, where the kind leaves it open.
        test_share: With `holdout`: share of the tiles to test on.
        column: With `column`, the name of the column of the slides.
        file: With `file`, a CSV with a column split (train, valid, test) or fold, and a column patient or slide_id.
        group_by: What is never divided: `patient`, `slide_id`, `tile`, or another column of the slides; `auto` takes
            the first three in turn, where patients or slides are too few, and a note says what metrics are worth then.
        seed: Breaks ties.
    """

    kind: Literal["kfold", "holdout", "given", "column", "file"] = "kfold"
    folds: int | None = None
    valid_share: float = 0.2
    test_share: float = 0.2
    column: str | None = None
    file: str | None = None
    group_by: str = "patient"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        folds = 3 if self.folds is None else self.folds
        require(3 <= folds <= 50, f"folds is {folds}; expected 3 to 50: one to test, one to validate on")
        for name in ("valid_share", "test_share"):
            value = getattr(self, name)
            require(0 < value < 1, f"{name} is {value}; expected a share between 0 and 1")
        require(self.valid_share + self.test_share < 1, "valid_share and test_share leave nothing to train on")
        require((self.kind == "column") == (self.column is not None), "split 'column' goes with the name of a column")
        require((self.kind == "file") == (self.file is not None), "split 'file' goes with a CSV file")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Settings):
    """Augmentation of stored vectors inside the training step; everything is off by default.

    It is applied to standardised vectors, so strengths are in standard deviations of each dimension.

    Attributes:
        noise: Standard deviation of Gaussian noise, in standard deviations of each dimension.
        dropout: Share of dimensions set to their mean.
        mixup: Alpha of mixup's beta distribution (Zhang et al. 2018); 0 is off.
        interpolate: z + λ(z' − z) with λ uniform up to this, z' of the same class (DeVries & Taylor 2017).
        extrapolate: z + λ(z − z') with λ uniform up to this, z' of the same class.
        views: Share of draws that take a stored view (`ingest --views`) instead of the original.
        learned: Share of draws that a latent augmenter (`fit-augmenter`) turns into a random view of the tile.
    """

    noise: float = 0.0
    dropout: float = 0.0
    mixup: float = 0.0
    interpolate: float = 0.0
    extrapolate: float = 0.0
    views: float = 0.0
    learned: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, most in (
            ("noise", 10), ("dropout", 0.99), ("mixup", 10), ("interpolate", 1), ("extrapolate", 10), ("views", 1),
            ("learned", 1),
        ):  # fmt: skip
            value = getattr(self, name)
            require(0 <= value <= most, f"augmentation {name} is {value}; expected 0 to {most}")

    @property
    def is_on(self) -> bool:
        return any(dataclasses.astuple(self))

    def __str__(self) -> str:
        """'noise=0.3,mixup=0.2', as `--augment` takes it; 'none' where nothing is on."""
        on = [f"{name}={value:g}" for name, value in dataclasses.asdict(self).items() if value]
        return ",".join(on) or "none"


@dataclass(frozen=True, kw_only=True)
class AugmenterConfig(Settings):
    """How a latent augmenter is trained on a collection's stored views.

    Attributes:
        chunks: Number of tokens into which an embedding is cut.
        width: Length of a token inside the network.
        layers: Number of blocks, each of cross-attention to the transforms and a small MLP.
        heads: Attention heads; `width` is a multiple of them.
        identity: Weight of the loss term that asks for an unchanged tile to keep its vector.
        learning_rate: Learning rate of AdamW, with a short warm-up and a cosine decay to zero.
        weight_decay: Decoupled weight decay of kernels.
        steps: Training steps.
        batch: Views per step.
        test_share: Share of the tiles to test on, by patient.
        valid_share: Share of the tiles to validate on, by patient; they decide which step's parameters are kept.
        evaluate_every: Steps between two evaluations on them.
        bootstrap: Resamples for the confidence intervals.
        seed: Seed of the split, the initial parameters and the batches.
    """

    chunks: int = 16
    width: int = 64
    layers: int = 1
    heads: int = 4
    identity: float = 0.1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    steps: int = 3000
    batch: int = 256
    test_share: float = 0.2
    valid_share: float = 0.1
    evaluate_every: int = 250
    bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("chunks", "width", "layers", "heads", "steps", "batch", "evaluate_every"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; expected 1 or more")
        require(self.width % self.heads == 0, f"width {self.width} is no multiple of {self.heads} attention heads")
        require(self.identity >= 0, f"identity is {self.identity}; expected 0 or more")
        require(self.learning_rate > 0, f"learning_rate is {self.learning_rate}; expected more than 0")
        require(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}; expected 0 or more")
        require(self.bootstrap >= 0, f"bootstrap is {self.bootstrap}; expected 0 (no intervals) or more")
        for name in ("test_share", "valid_share"):
            value = getattr(self, name)
            require(0 < value < 1, f"{name} is {value}; expected a share between 0 and 1")
        require(self.test_share + self.valid_share < 1, "test_share and valid_share leave nothing to train on")


#: What None stands for, by kind of model.
MODEL_DEFAULTS: dict[str, dict[str, Any]] = {
    "tile": {"learning_rates": (1e-3,), "weight_decays": (1e-4, 1e-2, 1.0), "steps": 2000, "batch": 256},
    "abmil": {"learning_rates": (3e-4,), "weight_decays": (1e-2,), "steps": 500, "batch": 16},
}


@dataclass(frozen=True, kw_only=True)
class FitConfig(Settings):
    """How a head is fitted. Together with the data it determines every number of the head.

    Attributes:
        model: `linear` or `mlp` for tiles; `mean`, `max` or `abmil` (gated attention) for slides or patients; with
            `encoder`, `linear` or `mlp` for these.
        level: What a label describes: a `tile`, a `slide` or a `patient`.
        encoder: Fit the vectors of slides of this encoding, which `encode-slides` made, and not those of tiles; of a
            patient with several slides their mean.
        multi_label: A place may belong to several classes.
        positive: In a task of two classes, the one whose probability is thresholded; the second of `classes` when None.
        classes: The classes, in order; those of the labels, sorted by name when None.
        optimizer: `adamw`; `lbfgs`, for linear, mean and max heads; or `auto`, which is lbfgs where the head allows it
            and there are at most 50,000 vectors, stored views included, and adamw otherwise.
        learning_rates: Learning rates for adamw; if several, the best by validation is kept.
        weight_decays: Decoupled weight decays for adamw; if several, the best by validation is kept.
        c: Inverse regularisation strengths for lbfgs, as scikit-learn's LogisticRegression defines C; the best by
            validation is kept.
        seeds: Heads per fold; their mean is the head.
        seed: The first seed.
        steps: Largest number of optimiser steps.
        batch: Tiles or bags per step.
        evaluate_every: Steps between two evaluations on the validation data.
        patience: Evaluations without improvement after which training stops.
        metric: What is compared on the validation data: `loss`, `balanced_accuracy` or `auroc`.
        class_weights: `balanced` weighs classes inversely to their frequency; `none` does not weigh them.
        balanced_sampling: Draw classes equally often, instead of weighing them.
        focal: Exponent of the focal loss (Lin et al. 2017); 0 is cross-entropy.
        hidden: Width of the hidden layer of mlp, and of embedding and attention of abmil.
        dropout: Dropout of the hidden layer while training.
        bag_tiles: Most tiles of a bag in one step, drawn at random for each step; 0 takes all.
        calibrate: Fit a temperature on the validation data (Guo et al. 2017).
        bootstrap: Resamples for the confidence intervals of the metrics.
        split: How patients are divided.
        join: When a tile lies in an annotated area.
        augment: Policies of augmentation; if several, heads are fitted with each and the best by validation is kept.
            `"search"` stands for a set of policies that suits the collection and the model.
            None tries none and, for linear and mlp heads, what the collection's stored views or latent augmenter allow.
        augment_margin: Standard errors, over patients, by which a policy's Brier score on the validation data has to be
            better than that of none, or none is kept; 0 keeps the best. None is 0.5 where `augment` is None, else 0.
        augmenter: The latent augmenter that `learned` uses; the only one of the collection's extractor when None.
    """

    model: Model = "linear"
    level: Literal["tile", "slide", "patient"] = "tile"
    encoder: str | None = None
    multi_label: bool = False
    positive: str | None = None
    classes: tuple[str, ...] | None = None
    optimizer: Literal["auto", "adamw", "lbfgs"] = "auto"
    learning_rates: tuple[float, ...] | None = None
    weight_decays: tuple[float, ...] | None = None
    c: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    seeds: int = 1
    seed: int = 0
    steps: int | None = None
    batch: int | None = None
    evaluate_every: int = 50
    patience: int = 10
    metric: Literal["loss", "balanced_accuracy", "auroc"] = "loss"
    class_weights: Literal["balanced", "none"] = "balanced"
    balanced_sampling: bool = False
    focal: float = 0.0
    hidden: int = 256
    dropout: float = 0.25
    bag_tiles: int = 512
    calibrate: bool = True
    bootstrap: int = 1000
    split: SplitConfig = field(default_factory=SplitConfig)
    join: JoinConfig = field(default_factory=JoinConfig)
    augment: AugmentConfig | Literal["search"] | tuple[AugmentConfig | Literal["search"], ...] | None = None
    augment_margin: float | None = None
    augmenter: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.encoder is None or (self.level != "tile" and self.model in TILE_MODELS),
            f"encoder {self.encoder!r} gives a vector a slide, for linear and mlp heads of slides or patients; found "
            f"model {self.model!r} for a {self.level}",
        )
        require(
            (self.level == "tile") == (self.model in TILE_MODELS) or self.encoder is not None,
            f"model {self.model!r} does not answer for a {self.level}; linear and mlp look at a tile, "
            "mean, max and abmil at a slide or patient (--level); so do linear and mlp with --encoder",
        )
        own = MODEL_DEFAULTS["abmil" if self.model == "abmil" else "tile"]
        for name, value in own.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name, least in (("learning_rates", 1e-12), ("c", 1e-12), ("weight_decays", 0.0)):
            values = getattr(self, name)
            require(len(values) > 0 and min(values) >= least, f"{name} is {values}; expected one or more above 0")
        for name in ("seeds", "steps", "batch", "evaluate_every", "patience", "hidden"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; expected 1 or more")
        require(0 <= self.focal <= 10, f"focal is {self.focal}; expected 0 to 10")
        require(0 <= self.dropout < 1, f"dropout is {self.dropout}; expected 0 to below 1")
        require(self.bag_tiles >= 0, f"bag_tiles is {self.bag_tiles}; expected 0 (all) or more")
        require(self.bootstrap >= 0, f"bootstrap is {self.bootstrap}; expected 0 (no intervals) or more")
        if self.augment is not None and not isinstance(self.augment, tuple):
            object.__setattr__(self, "augment", (self.augment,))
        entries = self._augment_entries
        require(self.augment is None or len(entries) > 0, "augment is empty; expected one AugmentConfig or several")
        require(len(set(entries)) == len(entries), "augment holds the same policy twice; expected each once")
        margin = self.augment_margin or 0.0
        require(0 <= margin <= 100, f"augment_margin is {margin}; expected 0 to 100 standard errors")
        require(
            not margin or self.searches or AugmentConfig() in self.policies,
            "augment_margin is over none, which augment lacks; add none to the policies, or leave augment_margin out",
        )
        require(
            self.model != "abmil" or not (self.augments or self.searches),
            "abmil draws the tiles of its bags again in each step, and augments no vectors; leave augment out",
        )
        require(
            self.fits_tiles or not self.uses("views", "learned"),
            f"a {self.model!r} head of a {self.level} looks at pooled tiles, which have no views; views and learned "
            "are of heads of tiles",
        )
        require(
            self.augmenter is None or self.uses("learned") or self.searches,
            f"augmenter {self.augmenter!r} goes with learned, the share of draws that it takes: augment learned=0.5",
        )
        if self.optimizer == "lbfgs":
            require(self.model in LBFGS_MODELS, f"lbfgs fits {', '.join(LBFGS_MODELS)} heads; use adamw")
            require(
                not self.draws, "lbfgs sees all vectors at once: of augmentation it takes views and learned; use adamw"
            )
            require(self.focal == 0, "lbfgs minimises cross-entropy; use adamw with the focal loss")

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "FitConfig":
        """A configuration from what `as_record` made of it, after a round trip through JSON or not."""
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
        augment = record["augment"]
        entries = augment if isinstance(augment, list | tuple) else [augment]  # one alone in older records
        policies = [
            entry if isinstance(entry, str) else AugmentConfig(**entry) for entry in entries if entry is not None
        ]
        nested: dict[str, Any] = {
            "split": SplitConfig(**record["split"]),
            "join": JoinConfig(**record["join"]),
            "augment": tuple(policies) or None,
        }
        return cls(**{**values, **nested})

    @property
    def fits_tiles(self) -> bool:
        """Whether it is fitted on the vectors of single tiles."""
        return self.model in TILE_MODELS and self.encoder is None

    @property
    def _augment_entries(self) -> tuple[AugmentConfig | Literal["search"], ...]:
        return self.augment if isinstance(self.augment, tuple) else ()

    @property
    def policies(self) -> tuple[AugmentConfig, ...]:
        """Augmentations that heads are fitted with: none where that is left open or to a search."""
        return tuple(entry for entry in self._augment_entries if isinstance(entry, AugmentConfig)) or (AugmentConfig(),)

    @property
    def searches(self) -> bool:
        """Whether policies of augmentation are left to a search; see `resolve_search`."""
        return "search" in self._augment_entries

    def with_search(self, found: tuple[AugmentConfig, ...]) -> "FitConfig":
        """The configuration with the policies that a search tries in the place of `"search"`."""
        policies = [policy for entry in self._augment_entries for policy in (found if entry == "search" else (entry,))]
        return dataclasses.replace(self, augment=tuple(dict.fromkeys(policies)))

    @property
    def augments(self) -> bool:
        """Whether any augmentation is on."""
        return any(policy.is_on for policy in self.policies)

    @property
    def draws(self) -> bool:
        """Whether any augmentation is on that is drawn at random for each batch, instead of being a stored copy."""
        return self.uses("noise", "dropout", "mixup", "interpolate", "extrapolate")

    def uses(self, *kinds: str) -> bool:
        """Whether any of some kinds of augmentation is on."""
        return any(getattr(policy, kind) for policy in self.policies for kind in kinds)


#: Probes whose score may decide the ranking, besides those of a few examples.
PROBES = ("linear", "knn", "nearest_mean")


@dataclass(frozen=True, kw_only=True)
class SelectConfig(Settings):
    """How candidates are compared.

    Attributes:
        level: What a label describes: a `tile`, or a `slide`.
        encoder: At the level of slides, how the tiles of one become its vector: `mean`, or `visual-words` fitted to the
            sample. Others need one extractor alone, so they compare none.
        tiles: Largest number of tiles in the sample; classes are balanced in it as far as possible. At the level of
            slides, of these.
        slide_tiles: At the level of slides, the tiles of each that are embedded, drawn at random.
        rank_by: The probe that decides the ranking: `linear`, `knn`, `nearest_mean`, or a few-shot one (`5-shot`).
        neighbours: Neighbours of the k-NN probe and of the robustness index.
        shots: Examples per class of the few-shot probes.
        draws: How often these examples are drawn.
        c: Inverse regularisation strengths of the linear probe, as in `FitConfig`.
        robust_tiles: Tiles of the sample that are changed (stain, blur, JPEG, rotation) and embedded again.
        site: The column of the slides that names their site or scanner, for the robustness index.
        classes: The classes of the proxy task; all that its labels name when None.
        bootstrap: Resamples for the confidence intervals.
        seed: Seed of the sample, the draws and the resamples.
        split: How patients are divided.
        join: When a tile lies in an annotated area.
    """

    level: Literal["tile", "slide"] = "tile"
    encoder: BuiltinEncoder = "mean"
    tiles: int = 2000
    slide_tiles: int = 100
    rank_by: str = "linear"
    neighbours: int = 20
    shots: tuple[int, ...] = (1, 5, 25)
    draws: int = 50
    c: tuple[float, ...] = FitConfig().c
    robust_tiles: int = 256
    site: str | None = None
    classes: tuple[str, ...] | None = None
    bootstrap: int = 1000
    seed: int = 0
    split: SplitConfig = field(default_factory=SplitConfig)
    join: JoinConfig = field(default_factory=JoinConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (
            ("tiles", 10),
            ("slide_tiles", 1),
            ("neighbours", 1),
            ("draws", 1),
            ("robust_tiles", 0),
            ("bootstrap", 0),
        ):
            require(getattr(self, name) >= least, f"{name} is {getattr(self, name)}; expected {least} or more")
        require(all(shot >= 1 for shot in self.shots), f"shots is {self.shots}; expected examples a class, 1 or more")
        require(len(self.c) > 0 and min(self.c) > 0, f"c is {self.c}; expected one or more above 0")
        require(
            self.level == "slide" or self.encoder == "mean",
            f"encoder {self.encoder!r} makes vectors of slides; it goes with level 'slide'",
        )
        known = (*PROBES, *(few_shot_name(shot) for shot in self.shots))
        require(self.rank_by in known, f"rank_by is {self.rank_by!r}; expected one of {', '.join(known)}")

    def fit(self) -> FitConfig:
        """The configuration of the linear probe, which also says how tiles meet labels and patients are divided."""
        return FitConfig(
            model="linear" if self.level == "tile" else "mean", level=self.level, optimizer="lbfgs", c=self.c,
            classes=self.classes, split=self.split, join=self.join, bootstrap=0, seed=self.seed,
        )  # fmt: skip


#: How tiles are chosen for labelling; the first is the default of a head, the second without one.
Strategy = Literal["uncertain-diverse", "typical", "uncertainty", "diverse", "nearest-to-marks", "random"]
#: Those that need a head.
UNCERTAIN: tuple[Strategy, ...] = ("uncertain-diverse", "uncertainty")


@dataclass(frozen=True, kw_only=True)
class SuggestConfig(Settings):
    """Which tiles are proposed to be labelled next.

    Attributes:
        n: Number of tiles.
        strategy: How they are chosen: `uncertain-diverse`, different ones among those that the head is least certain
            of; `uncertainty`, these alone; `typical`, the middles of groups without a label; `diverse`, the farthest
            from all that is labelled; `nearest-to-marks`, the most similar to the labelled tiles of a class; or
            `random`; uncertain-diverse with a head, typical without when None.
        where: SQL that a tile must satisfy, as of a search.
        per_slide: Largest number of tiles from one slide; twice an even share of a slide or patient when None.
        pool: Tiles that are drawn, the same number from each slide, and chosen among; 0 takes all.
        label: With `nearest-to-marks`, the class; the one with the fewest labelled tiles when None.
        seed: The same seed proposes the same tiles.
    """

    n: int = 20
    strategy: Strategy | None = None
    where: str | None = None
    per_slide: int | None = None
    pool: int = 20_000
    label: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.n <= MOST_SUGGESTED, f"n is {self.n}; expected 1 to {MOST_SUGGESTED:,} tiles")
        require(self.per_slide is None or self.per_slide >= 1, f"per_slide is {self.per_slide}; expected 1 or more")
        require(self.pool >= 0, f"pool is {self.pool}; expected 1 or more tiles, or 0 for all")
        require(self.seed >= 0, f"seed is {self.seed}; expected 0 or more")
        require(
            self.label is None or self.strategy == "nearest-to-marks",
            "label goes with the strategy nearest-to-marks; give both, or leave it out",
        )


#: Where a labelled tile was when a head was fitted; `new`: it had no label then.
Part = Literal["train", "valid", "test", "new"]


@dataclass(frozen=True, kw_only=True)
class MistakesConfig(Settings):
    """Which of the tiles are listed whose labels a head disagrees with.

    Attributes:
        n: Largest number of tiles.
        where: SQL that a tile must satisfy, as of a search.
        label: Only tiles that are labelled with this class.
        predicted: Only tiles that the head takes for this class.
        part: Only tiles of this part of the head's split: `train`, `valid`, `test`, or `new`, labelled since it was
            fitted.
    """

    n: int = 100
    where: str | None = None
    label: str | None = None
    predicted: str | None = None
    part: Part | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.n <= MOST_MISTAKES, f"n is {self.n}; expected 1 to {MOST_MISTAKES:,} tiles")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Settings):
    """How heads are evaluated on slides that they were not fitted on.

    Attributes:
        by: Column of the slides, such as a site: a head is evaluated on the slides of each of its values alone.
        task: The task whose labels are the truth; the head's own when None.
        class_map: For each class of the labels that the head knows by another name, {theirs: the head's}.
        leave_out: Classes of the labels whose places are left out.
        keep_seen: Also count examples of patients and slides that the head was fitted on.
        same_extractor: Take vectors whose extractor has another digest, or an unknown one, for those of the head's
            extractor. The result says so.
        bootstrap: Resamples for the confidence intervals.
        seed: Seed of the resamples.
    """

    by: str | None = None
    task: str | None = None
    class_map: Mapping[str, str] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    keep_seen: bool = False
    same_extractor: bool = False
    bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.bootstrap >= 0, f"bootstrap is {self.bootstrap}; expected 0 (no intervals) or more")
        require(self.seed >= 0, f"seed is {self.seed}; expected 0 or more")
        both = sorted(set(self.class_map) & set(self.leave_out))
        require(not both, f"{', '.join(both)} is in class_map and in leave_out; expected it in one of them")


def few_shot_name(shot: int) -> str:
    """'5-shot'."""
    return f"{shot}-shot"


def default_head_name(task: str, config: FitConfig) -> str:
    """The name of a task's head where none was given: letters, digits, '.', '_' and '-' of the task, encoder, model."""
    encoder = "" if config.encoder is None else f"{config.encoder}-"
    return f"{_plain(task)}-{encoder}{config.model}"


def zero_shot_name(task: str) -> str:
    """The name of a task's head that is made of words, where none was given."""
    return f"{_plain(task)}-zero-shot"


def _plain(task: str) -> str:
    letters = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in task)
    return letters.lstrip("._-") or "task"


def default_augmenter_name(collection: str) -> str:
    """The name of a collection's augmenter where none was given."""
    return f"{collection}-augmenter"
