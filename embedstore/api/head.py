"""A fitted head: its metrics and curves, its predictions, and what they are exported to."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedstore.api.html import card
from embedstore.api.progress_bar import progress_bar
from embedstore.api.table import Table
from embedstore.progress import OnProgress
from embedstore.store import Store as StoreTables
from embedstore.store import StoredHead
from embedstore.store.removal import remove_head

if TYPE_CHECKING:
    from PIL import Image

    from heads.evaluation.report import Metric, Report
    from heads.predict import Predicted


class Head:
    """A classifier for one task on the embeddings of one extractor.

    Attributes:
        name: Its name in the store.
        task: The question that it answers.
        model: linear, mlp, mean, max or abmil.
        level: What it answers for: a tile, a slide or a patient.
        digest: Of its parameters; the same digest, the same head.
    """

    def __init__(self, tables: StoreTables, stored: StoredHead):
        self._tables, self._stored = tables, stored
        self.name, self.task = stored.name, stored.task
        self.model, self.level, self.digest = stored.model, stored.level, stored.digest

    # -- how good it is ---------------------------------------------------------------------

    @property
    def collection(self) -> str:
        """Name of the collection that it was fitted on."""
        return self._stored.collection

    @property
    def record(self) -> dict[str, Any]:
        """Everything about how it was fitted, as plain values."""
        return self._stored.record

    @property
    def classes(self) -> tuple[str, ...]:
        return self.report.classes

    @cached_property
    def report(self) -> "Report":
        """Its quality on test parts: metrics, confusion, curves."""
        from heads.evaluation.report import Report

        return Report.from_record(self._stored.record["report"])

    @property
    def metrics(self) -> "Mapping[str, Metric]":
        """Metrics on examples that it was not fitted on, with 95 % intervals resampled by patient."""
        return self.report.metrics

    def plot(self) -> "Image.Image":
        """ROC, precision-recall, reliability and confusion on one picture."""
        import io

        from PIL import Image

        from heads.evaluation.plots import curves_png

        return Image.open(io.BytesIO(curves_png(self.report, name=self.name)))

    def write_curves(self, folder: str | Path) -> list[Path]:
        """Write the curves as PNG into FOLDER/NAME, each alone and all on a sheet."""
        from heads.evaluation.plots import write_card

        return write_card(self._stored, Path(folder))

    # -- what it says -----------------------------------------------------------------------

    def predict(
        self,
        *,
        slides: Sequence[str] = (),
        where: str | None = None,
        collection: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> "Predicted":
        """Stream a collection through the head into the store's table of its predictions; no pixel is read.

        Predictions of the same slides are replaced; other slides keep theirs.

        Args:
            slides: Only these; all of the collection when empty.
            where: SQL over the slides' columns; only slides that it holds for.
            collection: Another collection of the same extractor.
            on_progress: See `embedstore.progress`; a progress bar when None.
        Raises:
            HeadMismatchError: the collection's vectors are of another extractor.
            SlideNotInStoreError: a slide is not in the collection.
        """
        from heads.devices import prepare_jax

        prepare_jax()
        from heads.predict import predict

        with progress_bar(on_progress):
            return predict(self._tables, self.name, slides=slides, where=where, collection=collection)

    @property
    def predictions(self) -> Table:
        """A row for each tile, or slide, that it has predicted.

        Raises:
            PredictionsNotFoundError: it has predicted nothing yet.
        """
        predictions = self._tables.predictions(self.name)
        return Table(predictions.table(), title=f"predictions of {self.name}")

    def remove(self) -> None:
        """Take the head and its predictions out of the store."""
        remove_head(self._tables, self.name)

    def __repr__(self) -> str:
        return f"<Head {self.name!r}: {self.model} for {self.task!r}, {self._headline()}>"

    def _repr_html_(self) -> str:
        facts = {"task": self.task, "classes": ", ".join(self.classes), "model": f"{self.model} on a {self.level}"}
        facts |= {name: str(metric) for name, metric in self.metrics.items() if metric.value is not None}
        return card(f"Head {self.name}", {**facts, "measured on": f"{self.report.rows:,} test examples"})

    def _headline(self) -> str:
        name = next((name for name in ("auroc", "balanced_accuracy") if name in self.metrics), "")
        return f"{name} {self.metrics[name]}" if name else "no metric"
