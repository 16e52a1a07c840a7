"""How good an augmenter is: while it was trained, and on patients that it has not seen."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from heads.evaluation.report import Metric


@dataclass(frozen=True, kw_only=True)
class ValidationScore:
    """An evaluation on the validation part during training.

    Attributes:
        explained: Share of the change from tile to view that is explained.
    """

    step: int
    explained: float


#: Name of the row of all views; the others are transforms.
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class ViewScores:
    """How some views are predicted; cosines are of vectors as they are stored, means over views.

    Attributes:
        views: How many.
        predicted: Cosine of the predicted and the true vector of a view.
        original: Cosine of the tile's own vector and the true vector of the view.
        gain: The first less the second, paired.
        transform_gain: `predicted` less the same with the parameters of another view: what knowing the transform
            brings. The rest of the gain is that the expected view of a tile is nearer to the mean than the tile is.
        explained: Share of the squared standardised change from tile to view that is predicted; 0 is no better than
            the tile itself, 1 is all of it.
    """

    views: int
    predicted: Metric
    original: Metric
    gain: Metric
    transform_gain: Metric
    explained: Metric


@dataclass(frozen=True, kw_only=True)
class AugmenterReport:
    """The result of `evaluate_augmenter` on the test part.

    Attributes:
        tiles, groups: Numbers of tiles and patients that it was evaluated on.
        scores: Scores on `all` views, and on those that have each transform.
    """

    tiles: int
    groups: int
    scores: Mapping[str, ViewScores]

    @property
    def overall(self) -> ViewScores:
        """Scores on all views."""
        return self.scores[ALL]

    @property
    def beats_original(self) -> bool:
        """Whether the whole interval of the gain is above 0; without an interval, whether its value is."""
        gain = self.overall.gain
        least = gain.value if gain.low is None else gain.low
        return least is not None and least > 0

    def as_record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "AugmenterReport":
        """A report from what `as_record` gave, after a round trip through JSON or not."""
        metrics = [field.name for field in fields(ViewScores) if field.name != "views"]
        return cls(
            tiles=record["tiles"],
            groups=record["groups"],
            scores={
                name: ViewScores(views=scores["views"], **{metric: _metric(scores, metric) for metric in metrics})
                for name, scores in record["scores"].items()
            },
        )


def _metric(scores: Mapping[str, Any], name: str) -> Metric:
    """A metric of a record; older records have `transform_gain` under the name `hears`."""
    return Metric(**(scores["hears"] if name == "transform_gain" and "hears" in scores else scores[name]))
