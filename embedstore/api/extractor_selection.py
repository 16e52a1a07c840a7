"""The comparison of candidates for an extractor, as a table, a picture and a page."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from embedstore.access_errors import tells_access_errors
from embedstore.arguments import checks_arguments
from embedstore.result_table import Table

if TYPE_CHECKING:
    from PIL import Image

    from heads.select import SelectionReport


@tells_access_errors
@checks_arguments
class ExtractorSelection(Table):
    """Candidates for an extractor, a row each, best first; those that could not be tried come last, with their error.

    Attributes:
        report: Everything that was measured.
    """

    def __init__(self, report: "SelectionReport"):
        rows = [
            {
                "rank": candidate.rank,
                "extractor": candidate.name,
                report.rank_by: str(candidate.scores[report.rank_by]) if candidate.error is None else None,
                "tiles_per_s": candidate.tiles_per_s,
                "hours": candidate.hours,
                "gigabytes": candidate.gigabytes,
                "error": candidate.error,
            }
            for candidate in report.candidates
        ]
        super().__init__(pa.Table.from_pylist(rows), title=report.verdict)
        self.report = report

    def plot(self) -> "Image.Image":
        """Scores, cost and robustness of each candidate on one picture."""
        import io

        from PIL import Image

        from heads.select.selection_picture import report_png

        return Image.open(io.BytesIO(report_png(self.report)))

    def write(self, folder: str | Path) -> list[Path]:
        """Write report.html, report.png and report.json into a folder.

        Raises:
            ExportError: nothing can be written there.
        """
        from embedstore.output_files import atomic_write, require_folder
        from heads.select.selection_page import report_page
        from heads.select.selection_picture import report_png

        require_folder(folder)
        record = json.dumps(self.report.as_record(), indent=2, ensure_ascii=False)
        files = {
            "report.html": report_page(self.report).encode(),
            "report.png": report_png(self.report),
            "report.json": record.encode(),
        }
        for name, content in files.items():
            with atomic_write(Path(folder, name)) as part:
                part.write_bytes(content)
        return [Path(folder, name) for name in files]
