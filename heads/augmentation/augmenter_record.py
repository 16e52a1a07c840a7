"""What is stored of an augmenter beside its parameters: what it was trained on, and how good it is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from embedstore.config import ViewConfig, as_record
from embedstore.extractor_ref import ExtractorRef
from embedstore.store.schema import FORMAT_VERSION
from heads.augmentation.augmenter_report import AugmenterReport, ValidationScore
from heads.augmentation.view_pairs import TilesAndGroups
from heads.config import AugmenterConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class AugmenterRecord:
    """What is known of a stored augmenter.

    Attributes:
        embedstore: The version that trained it.
        extractor: Of the vectors that it takes.
        parameters: Names of the parameters of views that it takes.
        collection_version, views_version: Of the tables that it was trained on.
        view_config: The views that it was trained on.
        config: How.
        where: SQL that chose the slides; all when None.
        device: What it was trained on.
        tiles: How many tiles, of all parts.
        parts: Tiles and patients of `train`, `valid` and `test`.
        evaluations: On the validation part.
        step: Of the parameters that were kept; 0 where none was better than the tile's own vector.
        report: On the test part.
        beats_original: Whether it predicts views better than the tile's own vector does.
        notes: What the user should know.
        seconds: How long each stage took.
    """

    embedstore: str
    extractor: ExtractorRef
    parameters: tuple[str, ...]
    collection_version: int
    views_version: int
    view_config: ViewConfig
    config: AugmenterConfig
    where: str | None
    device: str
    tiles: int
    parts: Mapping[str, TilesAndGroups]
    evaluations: tuple[ValidationScore, ...]
    step: int
    report: AugmenterReport
    beats_original: bool
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    def as_record(self) -> dict[str, Any]:
        """Plain values, as JSON has them; `from_record` takes them back."""
        return {
            "format": FORMAT_VERSION,
            "embedstore": self.embedstore,
            "extractor": self.extractor.as_record(),
            "parameters": list(self.parameters),
            "collection_version": self.collection_version,
            "views": {"version": self.views_version, "config": as_record(self.view_config)},
            "config": as_record(self.config),
            "where": self.where,
            "device": self.device,
            "tiles": self.tiles,
            "parts": {name: asdict(part) for name, part in self.parts.items()},
            "looks": [asdict(evaluation) for evaluation in self.evaluations],
            "step": self.step,
            "report": self.report.as_record(),
            "beats_original": self.beats_original,
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "AugmenterRecord":
        """A record from what `as_record` gave, after a round trip through JSON or not."""
        return cls(
            embedstore=record["embedstore"],
            extractor=ExtractorRef.from_record(record["extractor"]),
            parameters=tuple(record["parameters"]),
            collection_version=record["collection_version"],
            views_version=record["views"]["version"],
            view_config=ViewConfig(**record["views"]["config"]),
            config=AugmenterConfig(**record["config"]),
            where=record["where"],
            device=record["device"],
            tiles=record["tiles"],
            parts={name: TilesAndGroups(**part) for name, part in record["parts"].items()},
            evaluations=tuple(ValidationScore(**evaluation) for evaluation in record["looks"]),
            step=record["step"],
            report=AugmenterReport.from_record(record["report"]),
            beats_original=record["beats_original"],
            notes=tuple(record["notes"]),
            seconds=dict(record["seconds"]),
        )
