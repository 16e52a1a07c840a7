"""How a head and an augmenter show themselves in terminals and notebooks, whether of a store or of a service."""

from typing import Any

from embedstore.result_table import card


class ShownHead:
    """Shows a head by its task, its model and its metrics."""

    name: str
    task: str
    model: str
    level: str
    classes: Any
    metrics: Any
    report: Any

    def __repr__(self) -> str:
        named = next((name for name in ("auroc", "balanced_accuracy") if name in self.metrics), None)
        headline = "no metric" if named is None else f"{named} {self.metrics[named]}"
        return f"<Head {self.name!r}: {self.model} for {self.task!r}, {headline}>"

    def _repr_html_(self) -> str:
        facts = {"task": self.task, "classes": ", ".join(self.classes), "model": f"{self.model} on a {self.level}"}
        facts |= {name: str(metric) for name, metric in self.metrics.items() if metric.value is not None}
        return card(f"Head {self.name}", {**facts, "measured on": f"{self.report.rows:,} test examples"})


class ShownAugmenter:
    """Shows an augmenter by what it was made for, and how well it predicts."""

    name: str
    collection: str
    record: Any
    report: Any

    def __repr__(self) -> str:
        return f"<Augmenter {self.name!r} of views of {self.collection!r}>"

    def _repr_html_(self) -> str:
        scores = self.report.overall
        return card(
            f"Augmenter {self.name}",
            {
                "extractor": self.record.extractor.name,
                "views of": self.collection,
                "cosine to the true view, tile's own vector": scores.original,
                "cosine to the true view, predicted": scores.predicted,
            },
        )
