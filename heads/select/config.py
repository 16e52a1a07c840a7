"""The configuration of a choice between extractors."""

from dataclasses import dataclass, field

from embedstore.config import JoinConfig, require
from heads.config import FitConfig, SplitConfig

#: Probes whose score may decide the ranking, besides those of a few examples.
PROBES = ("linear", "knn", "nearest_mean")


@dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """How candidates are compared.

    Attributes:
        tiles: Most tiles of the sample; classes are as even in it as they can be.
        rank_by: The probe that ranks: `linear`, `knn`, `nearest_mean`, or one of the `shots` such as `5-shot`.
        neighbours: Of the k-NN probe, and of the neighbourhoods that robustness looks at.
        shots: Examples a class of the few-shot probes.
        draws: How often they are drawn.
        c: A grid of inverse strengths of the linear probe, as in `FitConfig`.
        robust_tiles: Tiles of the sample that are changed (stain, blur, JPEG, rotation) and embedded again.
        site: A column of the slides that names their site or scanner, for the robustness index.
        classes: The classes of the proxy task; those that its labels name when None.
        bootstrap: Resamples for the intervals.
        seed: Of the sample, the draws and the resamples.
        split: How patients are parted.
        join: When a tile lies in an annotated area.
    """

    tiles: int = 2000
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
        for name, least in (("tiles", 10), ("neighbours", 1), ("draws", 1), ("robust_tiles", 0), ("bootstrap", 0)):
            require(getattr(self, name) >= least, f"{name} is {getattr(self, name)}; expected {least} or more")
        object.__setattr__(self, "shots", tuple(self.shots))
        object.__setattr__(self, "c", tuple(self.c))
        require(all(shot >= 1 for shot in self.shots), f"shots is {self.shots}; expected examples a class, 1 or more")
        require(len(self.c) > 0 and min(self.c) > 0, f"c is {self.c}; expected one or more above 0")
        known = (*PROBES, *(few_shot_name(shot) for shot in self.shots))
        require(self.rank_by in known, f"rank_by is {self.rank_by!r}; expected one of {', '.join(known)}")

    def fit(self) -> FitConfig:
        """The configuration of the linear probe, which says too how tiles meet labels and patients are parted."""
        return FitConfig(
            optimizer="lbfgs", c=self.c, classes=self.classes, split=self.split, join=self.join, bootstrap=0,
            seed=self.seed,
        )  # fmt: skip


def few_shot_name(shot: int) -> str:
    """'5-shot'."""
    return f"{shot}-shot"
