"""Heads on slides that they were not fitted on, as tables, a picture and a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from embedstore.access_errors import tells_access_errors
from embedstore.arguments import checks_arguments
from embedstore.result_table import Table

if TYPE_CHECKING:
    from PIL import Image

    from heads.cohorts.evaluation import CohortEvaluation

#: Metrics that the short table shows, where a head has them.
SHOWN = ("auroc", "balanced_accuracy", "f1", "calibration_error")


@tells_access_errors
@checks_arguments
class Evaluations(Table):
    """How heads do on cohorts: a row for each head and cohort, with metrics beside those of the head's own test parts.

    Attributes:
        evaluations: All that was found, a `CohortEvaluation` each: its report, comparison, calibration and notes.
    """

    shown_text = 120

    def __init__(self, evaluations: "tuple[CohortEvaluation, ...]"):
        rows = [_row(each) for each in evaluations]
        names = dict.fromkeys(name for row in rows for name in row)
        table = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])
        super().__init__(table, title=_title(evaluations))
        self.evaluations = evaluations

    @property
    def metrics(self) -> Table:
        """A row for each head, cohort and metric: here, on the head's test parts, and their difference, with intervals.

        `class` is '' for metrics over all classes; `meaning` is better, worse, alike (no difference can be told) or
        unknown (no interval).
        """
        from heads.cohorts.tables import metric_rows

        return Table(pa.Table.from_pylist(metric_rows(self.evaluations)), title="metrics of heads on cohorts")

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: of all of them, then of each."""
        of_each = [(f"{each.head} on {each.cohort_name}", each.all_notes) for each in self.evaluations if each.report]
        common = [note for note in of_each[0][1] if all(note in notes for _, notes in of_each)] if of_each else []
        own = (f"{name}: {note}" for name, notes in of_each for note in notes if note not in common)
        return (*common, *own)

    def as_record(self) -> list[dict[str, Any]]:
        """Everything as JSON values."""
        return [each.as_record() for each in self.evaluations]

    def plot(self) -> "Image.Image":
        """Of one head and cohort, ROC and reliability beside those of its test parts; else metrics side by side."""
        import io

        from PIL import Image

        from heads.cohorts.evaluation_picture import evaluations_png

        return Image.open(io.BytesIO(evaluations_png(self.evaluations)))

    def write(self, folder: str | Path) -> list[Path]:
        """Write evaluation.html, evaluation.png, evaluation.csv (as `metrics`) and evaluation.json into a folder.

        Raises:
            ExportError: nothing can be written there.
        """
        import json

        from embedstore.export.table_file import write_rows
        from embedstore.output_files import atomic_write, require_folder
        from heads.cohorts.evaluation_page import evaluations_page
        from heads.cohorts.evaluation_picture import evaluations_png

        require_folder(folder)
        paths = [Path(folder, f"evaluation.{ending}") for ending in ("html", "png", "csv", "json")]
        record = json.dumps(self.as_record(), indent=2, ensure_ascii=False)
        made = (evaluations_page(self.evaluations).encode(), evaluations_png(self.evaluations), None, record.encode())
        for path, content in zip(paths, made, strict=True):
            if content is None:
                write_rows(self.metrics.to_arrow(), path, what="metrics")
                continue
            with atomic_write(path) as part:
                part.write_bytes(content)
        return paths


def _row(each: "CohortEvaluation") -> dict[str, Any]:
    row: dict[str, Any] = {
        "head": each.head,
        "collection": each.collection,
        "cohort": each.cohort_name,
        "examples": each.examples,
        "patients": each.patients,
        "seen": each.seen.examples,
    }
    by_name = {comparison.name: comparison for comparison in each.comparison}
    for name in SHOWN:
        if name in by_name:
            row |= {name: str(by_name[name].here), f"{name} of tests": str(by_name[name].own)}
    return {**row, "verdict": each.verdict}


def _title(evaluations: "tuple[CohortEvaluation, ...]") -> str:
    heads = dict.fromkeys(each.head for each in evaluations)
    return f"{', '.join(heads)} on {', '.join(dict.fromkeys(each.cohort_name for each in evaluations))}"
