"""The configuration of fitting, checked where it is made and stored with the head."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from embedstore.config import JoinConfig, require

Model = Literal["linear", "mlp", "mean", "max", "abmil"]
#: Models that look at one tile; the others look at all tiles of a slide or patient.
TILE_MODELS = ("linear", "mlp")
#: Models that L-BFGS fits: they are linear in what it optimises.
LBFGS_MODELS = ("linear", "mean", "max")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How patients are parted into those that are trained on, validated on and tested on.

    Attributes:
        kind: `kfold`; `holdout`; `given` (each label's own split); `column` (a fold for each value of `column`, such as
            a site); `file` (a CSV).
        folds: With `kfold`: how many, at least 3; fold i is tested on while fold i + 1 is validated on.
        valid_share: Share of the tiles to validate on, where the kind leaves it open.
        test_share: With `holdout`: share of the tiles to test on.
        column: With `column`: a column of the slides.
        file: With `file`: a CSV with a column `split` (train, valid, test) or `fold`, and one of patient, slide_id.
        group_by: What must not be parted: `patient`, or a column of the slides, `slide_id` or `tile` among them.
        seed: What ties are broken by.
    """

    kind: Literal["kfold", "holdout", "given", "column", "file"] = "kfold"
    folds: int = 5
    valid_share: float = 0.2
    test_share: float = 0.2
    column: str | None = None
    file: str | None = None
    group_by: str = "patient"
    seed: int = 0

    def __post_init__(self) -> None:
        kinds = ("kfold", "holdout", "given", "column", "file")
        require(self.kind in kinds, f"split is {self.kind!r}; expected one of {', '.join(kinds)}")
        require(3 <= self.folds <= 50, f"folds is {self.folds}; expected 3 to 50: one to test, one to validate on")
        for name in ("valid_share", "test_share"):
            value = getattr(self, name)
            require(0 < value < 1, f"{name} is {value}; expected a share between 0 and 1")
        require(self.valid_share + self.test_share < 1, "valid_share and test_share leave nothing to train on")
        require((self.kind == "column") == (self.column is not None), "split 'column' goes with the name of a column")
        require((self.kind == "file") == (self.file is not None), "split 'file' goes with a CSV file")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Augmentation of stored vectors, inside the training step; everything is off by default.

    Vectors are standardised when it is applied, so that strengths are in standard deviations of each dimension.

    Attributes:
        noise: Standard deviation of Gaussian noise, in standard deviations of each dimension.
        dropout: Share of dimensions set to their mean.
        mixup: Alpha of mixup's beta distribution (Zhang et al. 2018); 0 is off.
        interpolate: z + λ(z' − z) with λ uniform up to this, z' of the same class (DeVries & Taylor 2017).
        extrapolate: z + λ(z − z') with λ uniform up to this, z' of the same class.
        views: Share of draws that take a stored view (`ingest --views`) instead of the original.
        learned: Share of draws that a latent augmenter (`fit-augmenter`) takes to a view of the tile, drawn anew.
    """

    noise: float = 0.0
    dropout: float = 0.0
    mixup: float = 0.0
    interpolate: float = 0.0
    extrapolate: float = 0.0
    views: float = 0.0
    learned: float = 0.0

    def __post_init__(self) -> None:
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
class AugmenterConfig:
    """How a latent augmenter is trained on a collection's stored views.

    Attributes:
        chunks: Tokens that an embedding is cut into.
        width: Length of a token inside.
        layers: Blocks of cross-attention to the transforms and a small MLP.
        heads: Attention heads; they divide `width`.
        identity: Weight of the term that a tile with nothing done to it must stay as it is.
        learning_rate: Of AdamW, with a short warm-up and a cosine to zero.
        weight_decay: Decoupled, of kernels.
        steps: Steps.
        batch: Views a step.
        test_share: Share of the tiles that it is judged on, by patient.
        valid_share: Share of the tiles that decide which steps' parameters are kept, by patient.
        evaluate_every: Steps between two looks at them.
        bootstrap: Resamples for the intervals.
        seed: Of the split, the start and the batches.
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


#: What a model is fitted with unless something else is asked for.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "tile": {"learning_rates": (1e-3,), "weight_decays": (1e-4, 1e-2, 1.0), "steps": 2000, "batch": 256},
    "abmil": {"learning_rates": (3e-4,), "weight_decays": (1e-2,), "steps": 500, "batch": 16},
}


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a head is fitted; with the data it decides every number of the head.

    Attributes:
        model: `linear` or `mlp` on tiles; `mean`, `max` or `abmil` (gated attention) on slides or patients.
        level: What a label of a bag model is about: `slide` or `patient`; `tile` for tile models.
        multi_label: A place may be of several classes.
        positive: The class whose probability is thresholded in a task of two; the second by name when None.
        classes: The classes in order; those that the labels name, sorted, when None.
        optimizer: `adamw`, `lbfgs` (linear, mean and max heads; of augmentation `views` and `learned`), or `auto`:
            `lbfgs` where it can be and there are at most 50,000 vectors, copies counted, else `adamw`.
        learning_rates: A grid; the best by validation is kept. Not used by `lbfgs`.
        weight_decays: A grid, decoupled decay (AdamW).
        c: A grid of inverse strengths of regularisation, as scikit-learn's LogisticRegression has it; for `lbfgs`.
        seeds: Heads a fold, of which the mean is taken.
        seed: The first of them.
        steps: Most steps of the optimiser.
        batch: Tiles a step, or bags a step.
        evaluate_every: Steps between two looks at the validation data.
        patience: Looks without a gain after which a head stops.
        metric: What validation goes by: `loss`, `balanced_accuracy` or `auroc`.
        class_weights: `balanced` weighs classes against their frequency; `none` does not.
        balanced_sampling: Draw classes equally often, instead of weighing them.
        focal: Exponent of the focal loss (Lin et al. 2017); 0 is cross-entropy.
        hidden: Width of the hidden layer (mlp), or of embedding and attention (abmil).
        dropout: Dropout of the hidden layer while training.
        bag_tiles: Most tiles of a bag that one step looks at, drawn anew each time; all when 0.
        calibrate: Fit a temperature on validation data (Guo et al. 2017).
        bootstrap: Resamples for the intervals of the metrics.
        split: How patients are parted.
        join: When a tile lies in an annotated area.
        augment: Augmentation of vectors, or several: heads are fitted with each, the best by validation is kept. Where
            it is None, linear and MLP heads take the views and the augmenter that the store has for the collection.
        augmenter: The latent augmenter of `learned`; the only one of the collection's extractor when None.
    """

    model: Model = "linear"
    level: Literal["tile", "slide", "patient"] = "tile"
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
    augment: tuple[AugmentConfig, ...] | None = None
    augmenter: str | None = None

    def __post_init__(self) -> None:
        models = ("linear", "mlp", "mean", "max", "abmil")
        require(self.model in models, f"model is {self.model!r}; expected one of {', '.join(models)}")
        require(self.level in ("tile", "slide", "patient"), f"level is {self.level!r}; expected tile, slide or patient")
        require(
            (self.level == "tile") == (self.model in TILE_MODELS),
            f"model {self.model!r} does not answer for a {self.level}; linear and mlp look at a tile, "
            "mean, max and abmil at a slide or patient (--level)",
        )
        require(self.optimizer in ("auto", "adamw", "lbfgs"), f"optimizer is {self.optimizer!r}; expected adamw, lbfgs")
        own = _DEFAULTS["abmil" if self.model == "abmil" else "tile"]
        for name, value in own.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name, least in (("learning_rates", 1e-12), ("c", 1e-12), ("weight_decays", 0.0)):
            values = tuple(getattr(self, name))
            require(len(values) > 0 and min(values) >= least, f"{name} is {values}; expected one or more above 0")
            object.__setattr__(self, name, values)
        for name in ("seeds", "steps", "batch", "evaluate_every", "patience", "hidden"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; expected 1 or more")
        metrics = ("loss", "balanced_accuracy", "auroc")
        require(self.metric in metrics, f"metric is {self.metric!r}; expected one of {', '.join(metrics)}")
        require(self.class_weights in ("balanced", "none"), "class_weights: expected 'balanced' or 'none'")
        require(0 <= self.focal <= 10, f"focal is {self.focal}; expected 0 to 10")
        require(0 <= self.dropout < 1, f"dropout is {self.dropout}; expected 0 to below 1")
        require(self.bag_tiles >= 0, f"bag_tiles is {self.bag_tiles}; expected 0 (all) or more")
        require(self.bootstrap >= 0, f"bootstrap is {self.bootstrap}; expected 0 (no intervals) or more")
        require(len(self.policies) > 0, "augment is empty; expected one AugmentConfig or several")
        require(len(set(self.policies)) == len(self.policies), "augment holds the same twice; expected each once")
        require(
            self.model != "abmil" or not self.augments,
            "abmil draws tiles of its bags anew in each step, and augments no vectors; leave augment out",
        )
        require(
            self.model in TILE_MODELS or not self.uses("views", "learned"),
            f"model {self.model!r} looks at pooled tiles, which have no views; views and learned are of linear, mlp",
        )
        require(
            self.augmenter is None or self.uses("learned"),
            f"augmenter {self.augmenter!r} goes with learned, the share of draws that it takes: augment learned=0.5",
        )
        if self.optimizer == "lbfgs":
            require(self.model in LBFGS_MODELS, f"lbfgs fits {', '.join(LBFGS_MODELS)} heads; use adamw")
            require(
                not self.draws, "lbfgs sees all vectors at once: of augmentation it takes views and learned; use adamw"
            )
            require(self.focal == 0, "lbfgs minimises cross-entropy; use adamw with the focal loss")

    @property
    def policies(self) -> tuple[AugmentConfig, ...]:
        """Augmentations that heads are fitted with: none where that is left open."""
        return (AugmentConfig(),) if self.augment is None else self.augment

    @property
    def augments(self) -> bool:
        """Whether any augmentation is on."""
        return any(policy.is_on for policy in self.policies)

    @property
    def draws(self) -> bool:
        """Whether any augmentation is on that is drawn anew for each batch, and is not a copy of a vector."""
        return self.uses("noise", "dropout", "mixup", "interpolate", "extrapolate")

    def uses(self, *kinds: str) -> bool:
        """Whether any of some kinds of augmentation is on."""
        return any(getattr(policy, kind) for policy in self.policies for kind in kinds)
